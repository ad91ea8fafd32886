package rules

import (
	"fmt"
	"net"

	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

func errUnknownPortType(port intstr.IntOrString) error {
	return fmt.Errorf("unknown type: %v", port.Type)
}

// IP reports what is not an address. The forms that upstream still accepts in
// long-lived fields (leading zeros, IPv4 in IPv6) pass.
func IP(address string, path *field.Path) field.ErrorList {
	return validation.IsValidIPForLegacyField(path, address, false, nil)
}

// CIDR reports what is not an address range, as leniently as [IP].
func CIDR(cidr string, path *field.Path) field.ErrorList {
	return validation.IsValidCIDRForLegacyField(path, cidr, false, nil)
}

// NewIP reports what is not an address in a form that says one thing to everybody: no
// leading zeros, no IPv4 in IPv6 (KEP-4858). Forms that the object holds already may
// stay.
func NewIP(address string, held []string, path *field.Path) field.ErrorList {
	return validation.IsValidIPForLegacyField(path, address, true, held)
}

// NewCIDR is NewIP of an address range, which besides has no bits beyond its mask.
func NewCIDR(cidr string, held []string, path *field.Path) field.ErrorList {
	return validation.IsValidCIDRForLegacyField(path, cidr, true, held)
}

func specialIP(address string, path *field.Path) field.ErrorList {
	ip := netutils.ParseIPSloppy(address)
	if ip == nil {
		return field.ErrorList{field.Invalid(path, address, "must be a valid IP address")}
	}
	var errs field.ErrorList
	for _, special := range []struct {
		is   func(net.IP) bool
		what string
	}{
		{net.IP.IsUnspecified, fmt.Sprintf("may not be unspecified (%v)", address)},
		{net.IP.IsLoopback, "may not be in the loopback range (127.0.0.0/8, ::1/128)"},
		{net.IP.IsLinkLocalUnicast, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"},
		{net.IP.IsLinkLocalMulticast, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"},
	} {
		if special.is(ip) {
			errs = append(errs, field.Invalid(path, address, special.what))
		}
	}
	return errs
}

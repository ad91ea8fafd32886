package discovery

import (
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// Limits of one slice.
const (
	maxAddresses = 100
	maxEndpoints = 1000
	maxPorts     = 20000
	maxTopology  = 16
	maxHints     = 8
)

// validateSlice checks a slice; old is nil on create. Endpoints that do not change
// are not checked again: older servers let more pass.
func validateSlice(s, old *discoveryv1.EndpointSlice) field.ErrorList {
	at := field.NewPath("addressType")
	errs := rules.Enum(s.AddressType, at, discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)
	errs = append(errs, validatePorts(s.Ports, field.NewPath("ports"))...)
	if wrong := validateEndpoints(s, field.NewPath("endpoints")); len(wrong) > 0 {
		if old == nil || !apiequality.Semantic.DeepEqual(s.Endpoints, old.Endpoints) {
			errs = append(errs, wrong...)
		}
	}
	if old != nil && s.AddressType != old.AddressType {
		// Upstream does not show it.
		errs = append(errs, field.Invalid(at, nil, apivalidation.FieldImmutableErrorMsg))
	}
	return errs
}

func validateEndpoints(s *discoveryv1.EndpointSlice, path *field.Path) field.ErrorList {
	if len(s.Endpoints) > maxEndpoints {
		return field.ErrorList{field.TooMany(path, len(s.Endpoints), maxEndpoints)}
	}
	var errs field.ErrorList
	for i := range s.Endpoints {
		errs = append(errs, validateEndpoint(&s.Endpoints[i], s.AddressType, path.Index(i))...)
	}
	return errs
}

func validateEndpoint(e *discoveryv1.Endpoint, family discoveryv1.AddressType, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("addresses")
	switch n := len(e.Addresses); {
	case n == 0:
		errs = append(errs, field.Required(at, ""))
	case n > maxAddresses:
		errs = append(errs, field.TooMany(at, n, maxAddresses))
	}
	for i, a := range e.Addresses {
		switch family {
		case discoveryv1.AddressTypeIPv4:
			errs = append(errs, validateAddress(a, rules.NewIP(a, nil, at.Index(i)), false, at, i)...)
		case discoveryv1.AddressTypeIPv6:
			errs = append(errs, validateAddress(a, validation.IsValidIP(at.Index(i), a), true, at, i)...)
		case discoveryv1.AddressTypeFQDN:
			errs = append(errs, validation.IsFullyQualifiedDomainName(at.Index(i), a)...)
		}
	}
	if e.NodeName != nil {
		errs = append(errs, rules.Subdomain(*e.NodeName, path.Child("nodeName"))...)
	}
	topology := path.Child("deprecatedTopology")
	if len(e.DeprecatedTopology) > maxTopology {
		errs = append(errs, field.TooMany(topology, len(e.DeprecatedTopology), maxTopology))
	}
	errs = append(errs, rules.Labels(e.DeprecatedTopology, topology)...)
	if _, has := e.DeprecatedTopology[corev1.LabelTopologyZone]; has {
		errs = append(errs, field.InternalError(topology.Key(corev1.LabelTopologyZone), fmt.Errorf("reserved key was not removed in conversion")))
	}
	if e.Hostname != nil {
		errs = append(errs, rules.Label(*e.Hostname, path.Child("hostname"))...)
	}
	if e.Hints != nil {
		errs = append(errs, validateHints(e.Hints, path.Child("hints"))...)
	}
	return errs
}

// validateAddress takes what is wrong with the form of an address, and else looks at
// the address.
func validateAddress(address string, form field.ErrorList, v6 bool, path *field.Path, i int) field.ErrorList {
	if len(form) > 0 {
		return form
	}
	var errs field.ErrorList
	if strings.Contains(address, ":") != v6 {
		family := discoveryv1.AddressTypeIPv4
		if v6 {
			family = discoveryv1.AddressTypeIPv6
		}
		errs = append(errs, field.Invalid(path, address, fmt.Sprintf("must be an %s address", family)))
	}
	return append(errs, rules.NonZeroIP(address, path.Index(i))...)
}

func validateHints(h *discoveryv1.EndpointHints, path *field.Path) field.ErrorList {
	var zones, nodes []string
	for _, z := range h.ForZones {
		zones = append(zones, z.Name)
	}
	for _, n := range h.ForNodes {
		nodes = append(nodes, n.Name)
	}
	var errs field.ErrorList
	for _, list := range []struct {
		names []string
		path  *field.Path
		check func(string) []string
	}{
		{zones, path.Child("forZones"), validation.IsValidLabelValue}, {nodes, path.Child("forNodes"), validation.IsDNS1123Subdomain},
	} {
		if len(list.names) > maxHints {
			return append(errs, field.TooMany(list.path, len(list.names), maxHints))
		}
		for i, name := range list.names {
			at := list.path.Index(i).Child("name")
			if slices.Contains(list.names[:i], name) {
				errs = append(errs, field.Duplicate(at, name))
			}
			errs = append(errs, rules.Matches(name, at, list.check(name))...)
		}
	}
	return errs
}

func validatePorts(ports []discoveryv1.EndpointPort, path *field.Path) field.ErrorList {
	if len(ports) > maxPorts {
		return field.ErrorList{field.TooMany(path, len(ports), maxPorts)}
	}
	var errs field.ErrorList
	names := map[string]bool{}
	for i, p := range ports {
		at := path.Index(i)
		name := ptr.Deref(p.Name, "")
		if name != "" {
			errs = append(errs, rules.Label(name, at.Child("name"))...)
		}
		if names[name] {
			errs = append(errs, field.Duplicate(at.Child("name"), name))
		}
		names[name] = true
		if p.Protocol == nil {
			errs = append(errs, field.Required(at.Child("protocol"), ""))
		} else {
			errs = append(errs, rules.OneOf(*p.Protocol, at.Child("protocol"), corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		}
		if p.AppProtocol != nil {
			errs = append(errs, rules.Matches(*p.AppProtocol, at.Child("appProtocol"), validation.IsQualifiedName(*p.AppProtocol))...)
		}
	}
	return errs
}

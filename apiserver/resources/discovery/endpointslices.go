// Package discovery declares the resources of discovery.k8s.io/v1: endpoint
// slices, in which service proxies find the pods of services.
package discovery

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// Limits of one slice.
const (
	maxAddresses = 100
	maxEndpoints = 1000
	maxPorts     = 20000
	maxZoneHints = 8
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{{
		GVK: discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), Plural: "endpointslices", Singular: "endpointslice",
		Namespaced: true, StoragePrefix: "endpointslices",
		New:     func() runtime.Object { return &discoveryv1.EndpointSlice{} },
		NewList: func() runtime.Object { return &discoveryv1.EndpointSliceList{} },
		Strategy: resource.Strategy{
			Default:          func(obj runtime.Object) { defaultSlice(obj.(*discoveryv1.EndpointSlice)) },
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) { obj.(*discoveryv1.EndpointSlice).Generation = 1 },
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				s, was := obj.(*discoveryv1.EndpointSlice), old.(*discoveryv1.EndpointSlice)
				s.Generation = was.Generation
				same := apiequality.Semantic.DeepEqual(s.Endpoints, was.Endpoints) && apiequality.Semantic.DeepEqual(s.Ports, was.Ports) &&
					apiequality.Semantic.DeepEqual(s.Labels, was.Labels)
				if !same {
					s.Generation++
				}
			},
			Validate: func(obj runtime.Object) field.ErrorList { return validateSlice(obj.(*discoveryv1.EndpointSlice)) },
			ValidateUpdate: func(obj, old runtime.Object) field.ErrorList {
				return rules.Immutable(obj.(*discoveryv1.EndpointSlice).AddressType, old.(*discoveryv1.EndpointSlice).AddressType, field.NewPath("addressType"))
			},
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
		},
		Table: resource.Table{Columns: sliceColumns(), Cells: sliceCells},
	}}
}

func defaultSlice(s *discoveryv1.EndpointSlice) {
	for i := range s.Ports {
		p := &s.Ports[i]
		if p.Name == nil {
			p.Name = ptr.To("")
		}
		if p.Protocol == nil {
			p.Protocol = ptr.To(corev1.ProtocolTCP)
		}
	}
}

func validateSlice(s *discoveryv1.EndpointSlice) field.ErrorList {
	errs := rules.Enum(s.AddressType, field.NewPath("addressType"),
		discoveryv1.AddressTypeFQDN, discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6)
	path := field.NewPath("endpoints")
	if len(s.Endpoints) > maxEndpoints {
		return append(errs, field.TooMany(path, len(s.Endpoints), maxEndpoints))
	}
	for i := range s.Endpoints {
		errs = append(errs, validateEndpoint(&s.Endpoints[i], s.AddressType, path.Index(i))...)
	}
	return append(errs, validatePorts(s.Ports, field.NewPath("ports"))...)
}

func validateEndpoint(e *discoveryv1.Endpoint, family discoveryv1.AddressType, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("addresses")
	switch n := len(e.Addresses); {
	case n == 0:
		errs = append(errs, field.Required(at, "must contain at least 1 address"))
	case n > maxAddresses:
		errs = append(errs, field.TooMany(at, n, maxAddresses))
	}
	for i, a := range e.Addresses {
		switch family {
		case discoveryv1.AddressTypeIPv4, discoveryv1.AddressTypeIPv6:
			errs = append(errs, validateAddress(a, family, at.Index(i))...)
		case discoveryv1.AddressTypeFQDN:
			errs = append(errs, validation.IsFullyQualifiedDomainName(at.Index(i), a)...)
		}
	}
	if e.NodeName != nil {
		errs = append(errs, rules.Subdomain(*e.NodeName, path.Child("nodeName"))...)
	}
	errs = append(errs, rules.Labels(e.DeprecatedTopology, path.Child("deprecatedTopology"))...)
	if _, has := e.DeprecatedTopology[corev1.LabelTopologyZone]; has {
		errs = append(errs, field.InternalError(path.Child("deprecatedTopology").Key(corev1.LabelTopologyZone), fmt.Errorf("reserved key was not removed in conversion")))
	}
	if e.Hostname != nil {
		errs = append(errs, rules.Label(*e.Hostname, path.Child("hostname"))...)
	}
	if e.Hints == nil {
		return errs
	}
	zones := path.Child("hints", "forZones")
	if len(e.Hints.ForZones) > maxZoneHints {
		return append(errs, field.TooMany(zones, len(e.Hints.ForZones), maxZoneHints))
	}
	seen := sets.New[string]()
	for i, z := range e.Hints.ForZones {
		if seen.Has(z.Name) {
			errs = append(errs, field.Duplicate(zones.Index(i), z.Name))
		}
		seen.Insert(z.Name)
		errs = append(errs, rules.Matches(z.Name, zones, validation.IsValidLabelValue(z.Name))...)
	}
	return errs
}

func validateAddress(address string, family discoveryv1.AddressType, path *field.Path) field.ErrorList {
	errs := rules.IP(address, path)
	if len(errs) > 0 {
		return errs
	}
	if v6 := strings.Contains(address, ":"); v6 != (family == discoveryv1.AddressTypeIPv6) {
		return field.ErrorList{field.Invalid(path, address, fmt.Sprintf("must be an %s address", family))}
	}
	return rules.NonZeroIP(address, path)
}

func validatePorts(ports []discoveryv1.EndpointPort, path *field.Path) field.ErrorList {
	if len(ports) > maxPorts {
		return field.ErrorList{field.TooMany(path, len(ports), maxPorts)}
	}
	var errs field.ErrorList
	names := sets.New[string]()
	for i, p := range ports {
		at := path.Index(i)
		name := ptr.Deref(p.Name, "")
		if name != "" {
			errs = append(errs, rules.Label(name, at.Child("name"))...)
		}
		if names.Has(name) {
			errs = append(errs, field.Duplicate(at.Child("name"), name))
		}
		names.Insert(name)
		if p.Protocol == nil {
			errs = append(errs, field.Required(at.Child("protocol"), ""))
		} else {
			errs = append(errs, rules.OneOf(*p.Protocol, at.Child("protocol"), corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
		}
		if p.Port != nil {
			errs = append(errs, rules.Port(*p.Port, at.Child("port"))...)
		}
		if p.AppProtocol != nil {
			errs = append(errs, rules.Matches(*p.AppProtocol, at.Child("appProtocol"), validation.IsQualifiedName(*p.AppProtocol))...)
		}
	}
	return errs
}

func sliceColumns() []metav1.TableColumnDefinition {
	doc := discoveryv1.EndpointSlice{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(),
		columns.String("AddressType", doc["addressType"]),
		columns.String("Ports", doc["ports"]),
		columns.String("Endpoints", doc["endpoints"]),
		columns.Created(),
	}
}

func sliceCells(obj runtime.Object, now time.Time) []any {
	s := obj.(*discoveryv1.EndpointSlice)
	var ports, addresses []string
	for _, p := range s.Ports {
		switch {
		case p.Port != nil:
			ports = append(ports, fmt.Sprint(*p.Port))
		case ptr.Deref(p.Name, "") != "":
			ports = append(ports, *p.Name)
		default:
			ports = append(ports, "*")
		}
	}
	for _, e := range s.Endpoints {
		addresses = append(addresses, e.Addresses...)
	}
	return []any{s.Name, string(s.AddressType), few(ports), few(addresses), columns.Age(s.CreationTimestamp, now)}
}

func few(items []string) string {
	if len(items) == 0 {
		return "<unset>"
	}
	return columns.FirstFew(items, 3)
}

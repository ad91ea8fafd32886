// Package discovery declares the resources of discovery.k8s.io/v1: endpoint
// slices, in which service proxies find the pods of services.
package discovery

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{{
		GVK: discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), Plural: "endpointslices", Singular: "endpointslice",
		Namespaced: true, StoragePrefix: "endpointslices",
		New:     func() runtime.Object { return &discoveryv1.EndpointSlice{} },
		NewList: func() runtime.Object { return &discoveryv1.EndpointSliceList{} },
		Strategy: resource.Strategy{
			Default: func(obj runtime.Object) { defaultSlice(obj.(*discoveryv1.EndpointSlice)) },
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				obj.(*discoveryv1.EndpointSlice).Generation = 1
				dropTopology(obj.(*discoveryv1.EndpointSlice), nil)
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				s, was := obj.(*discoveryv1.EndpointSlice), old.(*discoveryv1.EndpointSlice)
				s.Generation = was.Generation
				same := apiequality.Semantic.DeepEqual(s.Endpoints, was.Endpoints) && apiequality.Semantic.DeepEqual(s.Ports, was.Ports) &&
					apiequality.Semantic.DeepEqual(s.Labels, was.Labels) &&
					s.AddressType == was.AddressType
				if !same {
					s.Generation++
				}
				dropTopology(s, was)
			},
			Validate:                 typed.Validate(func(s *discoveryv1.EndpointSlice) field.ErrorList { return validateSlice(s, nil) }),
			ValidateChange:           typed.Change(validateSlice),
			NameError:                apivalidation.NameIsDNSSubdomain,
			Warnings:                 typed.Warnings(sliceWarnings),
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

// dropTopology: the topology that slices once had is not written any more, only
// kept where the endpoints stay as they are. A node's name that stood there before
// becomes the endpoint's.
func dropTopology(s, old *discoveryv1.EndpointSlice) {
	if old != nil && apiequality.Semantic.DeepEqual(s.Endpoints, old.Endpoints) {
		return
	}
	nodes := map[string]bool{}
	if old != nil {
		for i := range old.Endpoints {
			nodes[old.Endpoints[i].DeprecatedTopology[corev1.LabelHostname]] = true
		}
	}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		if name, ok := e.DeprecatedTopology[corev1.LabelHostname]; ok && e.NodeName == nil && nodes[name] && len(validation.IsDNS1123Subdomain(name)) == 0 {
			e.NodeName = &name
		}
		e.DeprecatedTopology = nil
	}
}

// The controllers whose slices need no warnings: what they write is in order.
const (
	slicesController    = "endpointslice-controller.k8s.io"
	mirroringController = "endpointslicemirroring-controller.k8s.io"
)

func sliceWarnings(s, old *discoveryv1.EndpointSlice) []string {
	var out []string
	if old == nil && s.AddressType == discoveryv1.AddressTypeFQDN {
		out = append(out, "spec.addressType: FQDN endpoints are deprecated")
	}
	if by := s.Labels[discoveryv1.LabelManagedBy]; by == slicesController || by == mirroringController {
		return out
	}
	for i := range s.Endpoints {
		for j, address := range s.Endpoints[i].Addresses {
			out = append(out, validation.GetWarningsForIP(field.NewPath("endpoints").Index(i).Child("addresses").Index(j), address)...)
		}
	}
	return out
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

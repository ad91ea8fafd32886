package core

import (
	"fmt"
	"net"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

func endpoints() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("Endpoints"), Plural: "endpoints", Singular: "endpoints", ShortNames: []string{"ep"},
		Namespaced: true, StoragePrefix: "services/endpoints",
		Deprecated: "v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice",
		New:        func() runtime.Object { return &corev1.Endpoints{} },
		NewList:    func() runtime.Object { return &corev1.EndpointsList{} },
		Strategy: resource.Strategy{
			Default:                  func(obj runtime.Object) { defaultEndpoints(obj.(*corev1.Endpoints)) },
			Validate:                 func(obj runtime.Object) field.ErrorList { return validateEndpoints(obj.(*corev1.Endpoints)) },
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowCreateOnUpdate:      true,
			AllowUnconditionalUpdate: true,
			// Subsets that stay as they are were right when they were written.
			ValidateChange: func(obj, old runtime.Object) field.ErrorList {
				e, was := obj.(*corev1.Endpoints), old.(*corev1.Endpoints)
				if apiequality.Semantic.DeepEqual(e.Subsets, was.Subsets) {
					return nil
				}
				return validateEndpoints(e)
			},
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("Endpoints", corev1.Endpoints{}.SwaggerDoc()["subsets"]), columns.Created(),
			},
			Cells: func(obj runtime.Object, now time.Time) []any {
				e := obj.(*corev1.Endpoints)
				return []any{e.Name, endpointAddresses(e), columns.Age(e.CreationTimestamp, now)}
			},
		},
	}
}

func defaultEndpoints(e *corev1.Endpoints) {
	for i := range e.Subsets {
		for j := range e.Subsets[i].Ports {
			if p := &e.Subsets[i].Ports[j]; p.Protocol == "" {
				p.Protocol = corev1.ProtocolTCP
			}
		}
	}
}

func validateEndpoints(e *corev1.Endpoints) field.ErrorList {
	var errs field.ErrorList
	for i := range e.Subsets {
		s, at := &e.Subsets[i], field.NewPath("subsets").Index(i)
		if len(s.Addresses) == 0 && len(s.NotReadyAddresses) == 0 {
			errs = append(errs, field.Required(at, "must specify `addresses` or `notReadyAddresses`"))
		}
		for j := range s.Addresses {
			errs = append(errs, validateEndpointAddress(&s.Addresses[j], at.Child("addresses").Index(j))...)
		}
		for j := range s.NotReadyAddresses {
			errs = append(errs, validateEndpointAddress(&s.NotReadyAddresses[j], at.Child("notReadyAddresses").Index(j))...)
		}
		for j, p := range s.Ports {
			port := at.Child("ports").Index(j)
			if p.Name == "" && len(s.Ports) > 1 {
				errs = append(errs, field.Required(port.Child("name"), ""))
			} else if p.Name != "" {
				errs = append(errs, rules.Label(p.Name, port.Child("name"))...)
			}
			errs = append(errs, rules.Port(p.Port, port.Child("port"))...)
			errs = append(errs, rules.Enum(p.Protocol, port.Child("protocol"), corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
			if p.AppProtocol != nil {
				errs = append(errs, rules.Matches(*p.AppProtocol, port.Child("appProtocol"), validation.IsQualifiedName(*p.AppProtocol))...)
			}
		}
	}
	return errs
}

func validateEndpointAddress(a *corev1.EndpointAddress, path *field.Path) field.ErrorList {
	errs := rules.NewIP(a.IP, nil, path.Child("ip"))
	if a.Hostname != "" {
		errs = append(errs, rules.Label(a.Hostname, path.Child("hostname"))...)
	}
	if a.NodeName != nil {
		errs = append(errs, rules.Subdomain(*a.NodeName, path.Child("nodeName"))...)
	}
	return append(errs, rules.NonZeroIP(a.IP, path.Child("ip"))...)
}

// endpointAddresses prints the first three ready ones.
func endpointAddresses(e *corev1.Endpoints) string {
	if len(e.Subsets) == 0 {
		return "<none>"
	}
	const most = 3
	var first []string
	total := 0
	add := func(s string) {
		if total < most {
			first = append(first, s)
		}
		total++
	}
	for i := range e.Subsets {
		s := &e.Subsets[i]
		for _, a := range s.Addresses {
			if len(s.Ports) == 0 {
				add(a.IP)
			}
		}
		for _, p := range s.Ports {
			for _, a := range s.Addresses {
				add(net.JoinHostPort(a.IP, strconv.Itoa(int(p.Port))))
			}
		}
	}
	out := columns.FirstFew(first, most)
	if total > most {
		out = fmt.Sprintf("%s + %d more...", out, total-most)
	}
	return out
}

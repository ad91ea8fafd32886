// Package networking declares the resources of networking.k8s.io/v1: ingresses and
// their classes, network policies, and the addresses that services hold with the
// ranges that they come from. The objects of the latter are what
// apiserver/allocator writes.
package networking

import (
	"fmt"
	"strings"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// Resources are the resources of the group that are served.
func Resources() []*resource.Resource {
	return []*resource.Resource{ingressClasses(), ingresses(), ipAddresses(), networkPolicies(), serviceCIDRs()}
}

func ipAddresses() *resource.Resource {
	return &resource.Resource{
		GVK: networkingv1.SchemeGroupVersion.WithKind("IPAddress"), Plural: "ipaddresses", Singular: "ipaddress",
		ShortNames: []string{"ip"}, StoragePrefix: "ipaddresses",
		New:     func() runtime.Object { return &networkingv1.IPAddress{} },
		NewList: func() runtime.Object { return &networkingv1.IPAddressList{} },
		Strategy: resource.Strategy{
			Validate: func(obj runtime.Object) field.ErrorList {
				return validateParent(obj.(*networkingv1.IPAddress).Spec.ParentRef, field.NewPath("spec", "parentRef"))
			},
			ValidateUpdate: func(obj, old runtime.Object) field.ErrorList {
				if apiequality.Semantic.DeepEqual(obj.(*networkingv1.IPAddress).Spec.ParentRef, old.(*networkingv1.IPAddress).Spec.ParentRef) {
					return nil
				}
				// Upstream does not show it.
				return field.ErrorList{field.Invalid(field.NewPath("spec", "parentRef"), nil, apivalidation.FieldImmutableErrorMsg)}
			},
			NameError: func(name string, _ bool) []string {
				var out []string
				for _, err := range validation.IsValidIP(nil, name) {
					out = append(out, err.Detail)
				}
				return out
			},
			AllowUnconditionalUpdate: true,
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("ParentRef", networkingv1.IPAddressSpec{}.SwaggerDoc()["parentRef"]), columns.Created(),
			},
			Cells: func(obj runtime.Object, now time.Time) []any {
				ip := obj.(*networkingv1.IPAddress)
				return []any{ip.Name, parentText(ip.Spec.ParentRef), columns.Age(ip.CreationTimestamp, now)}
			},
		},
		SelectableFields: func(obj runtime.Object) fields.Set {
			out := fields.Set{"spec.parentRef.group": "", "spec.parentRef.resource": "", "spec.parentRef.namespace": "", "spec.parentRef.name": ""}
			if p := obj.(*networkingv1.IPAddress).Spec.ParentRef; p != nil {
				out["spec.parentRef.group"], out["spec.parentRef.resource"] = p.Group, p.Resource
				out["spec.parentRef.namespace"], out["spec.parentRef.name"] = p.Namespace, p.Name
			}
			return out
		},
	}
}

func validateParent(p *networkingv1.ParentReference, at *field.Path) field.ErrorList {
	if p == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	var errs field.ErrorList
	if p.Group != "" {
		errs = append(errs, rules.Subdomain(p.Group, at.Child("group"))...)
	}
	if p.Resource == "" {
		errs = append(errs, field.Required(at.Child("resource"), ""))
	} else {
		errs = append(errs, rules.Matches(p.Resource, at.Child("resource"), path.IsValidPathSegmentName(p.Resource))...)
	}
	if p.Name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	} else {
		errs = append(errs, rules.Matches(p.Name, at.Child("name"), path.IsValidPathSegmentName(p.Name))...)
	}
	if p.Namespace != "" {
		errs = append(errs, rules.Matches(p.Namespace, at.Child("namespace"), path.IsValidPathSegmentName(p.Namespace))...)
	}
	return errs
}

func parentText(p *networkingv1.ParentReference) string {
	if p == nil {
		return "<none>"
	}
	kind := p.Resource
	if p.Group != "" {
		kind += "." + p.Group
	}
	if p.Namespace != "" {
		return fmt.Sprintf("%s/%s/%s", kind, p.Namespace, p.Name)
	}
	return kind + "/" + p.Name
}

func serviceCIDRs() *resource.Resource {
	return &resource.Resource{
		GVK: networkingv1.SchemeGroupVersion.WithKind("ServiceCIDR"), Plural: "servicecidrs", Singular: "servicecidr",
		StoragePrefix: "servicecidrs",
		New:           func() runtime.Object { return &networkingv1.ServiceCIDR{} },
		NewList:       func() runtime.Object { return &networkingv1.ServiceCIDRList{} },
		Strategy: resource.Strategy{
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				obj.(*networkingv1.ServiceCIDR).Status = networkingv1.ServiceCIDRStatus{}
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				obj.(*networkingv1.ServiceCIDR).Status = old.(*networkingv1.ServiceCIDR).Status
			},
			Validate: func(obj runtime.Object) field.ErrorList {
				return validateCIDRs(obj.(*networkingv1.ServiceCIDR).Spec.CIDRs, field.NewPath("spec", "cidrs"))
			},
			ValidateChange: func(obj, old runtime.Object) field.ErrorList {
				return validateCIDRUpdate(obj.(*networkingv1.ServiceCIDR).Spec.CIDRs, old.(*networkingv1.ServiceCIDR).Spec.CIDRs, field.NewPath("spec", "cidrs"))
			},
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
			ResetFields:              fieldpath.NewSet(fieldpath.MakePathOrDie("status")),
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("CIDRs", networkingv1.ServiceCIDRSpec{}.SwaggerDoc()["cidrs"]), columns.Created(),
			},
			Cells: func(obj runtime.Object, now time.Time) []any {
				c := obj.(*networkingv1.ServiceCIDR)
				return []any{c.Name, strings.Join(c.Spec.CIDRs, ","), columns.Age(c.CreationTimestamp, now)}
			},
		},
		Subresources: []resource.Subresource{{Name: "status", View: &resource.View{
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				c, was := obj.(*networkingv1.ServiceCIDR), old.(*networkingv1.ServiceCIDR)
				c.Spec = was.Spec
				metav1.ResetObjectMetaForStatus(c, was)
			},
			ResetFields: fieldpath.NewSet(fieldpath.MakePathOrDie("metadata"), fieldpath.MakePathOrDie("spec")),
		}}},
	}
}

func validateCIDRs(cidrs []string, at *field.Path) field.ErrorList {
	switch {
	case len(cidrs) == 0:
		return field.ErrorList{field.Required(at, "at least one CIDR required")}
	case len(cidrs) > 2:
		// Upstream shows the whole spec, by its Go names.
		return field.ErrorList{field.Invalid(at, struct{ CIDRs []string }{cidrs}, "may only hold up to 2 values")}
	}
	var errs field.ErrorList
	for i, c := range cidrs {
		errs = append(errs, validation.IsValidCIDR(at.Index(i), c)...)
	}
	if len(cidrs) == 2 && len(errs) == 0 && strings.Contains(cidrs[0], ":") == strings.Contains(cidrs[1], ":") {
		errs = append(errs, field.Invalid(at, cidrs, "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64"))
	}
	return errs
}

// validateCIDRUpdate: a second family may come to the first, nothing else.
func validateCIDRUpdate(cidrs, old []string, at *field.Path) field.ErrorList {
	second := len(old) == 1 && len(cidrs) == 2
	if len(cidrs) != len(old) && !second {
		return rules.Immutable(cidrs, old, at)
	}
	var errs field.ErrorList
	for i := range old {
		errs = append(errs, rules.Immutable(cidrs[i], old[i], at.Index(i))...)
	}
	if second {
		errs = append(errs, validateCIDRs(cidrs, at)...)
	}
	return errs
}

package dynamicresource

import (
	"context"
	"strings"
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func resourceClaims() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("ResourceClaim"), Plural: "resourceclaims", Singular: "resourceclaim", Namespaced: true, StoragePrefix: "resourceclaims",
		New: typed.New[resourcev1.ResourceClaim], NewList: typed.New[resourcev1.ResourceClaimList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(c *resourcev1.ResourceClaim) {
				defaultClaim(&c.Spec)
				if a := c.Status.Allocation; a != nil {
					for i := range a.Devices.Results {
						defaultTolerations(a.Devices.Results[i].Tolerations)
					}
				}
			}),
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				c := obj.(*resourcev1.ResourceClaim)
				c.Status = resourcev1.ResourceClaimStatus{}
				dropFromSpec(&c.Spec, nil)
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				c, was := obj.(*resourcev1.ResourceClaim), old.(*resourcev1.ResourceClaim)
				c.Status = was.Status
				dropFromSpec(&c.Spec, &was.Spec)
			},
			Validate: typed.Validate(func(c *resourcev1.ResourceClaim) field.ErrorList {
				return validateClaim(&c.Spec.Devices, field.NewPath("spec", "devices"))
			}),
			// The spec does not change, so it is not looked at again: what was right
			// when it was written stays.
			ValidateChange: typed.Change(func(c, old *resourcev1.ResourceClaim) field.ErrorList {
				if !apiequality.Semantic.DeepEqual(c.Spec, old.Spec) {
					return field.ErrorList{field.Invalid(field.NewPath("spec"), nil, "field is immutable")}
				}
				return nil
			}),
			ValidateAmong: func(ctx context.Context, obj, old runtime.Object, objects resource.Objects) field.ErrorList {
				if old != nil {
					return nil
				}
				c := obj.(*resourcev1.ResourceClaim)
				return adminAccess(ctx, c.Namespace, adminRequested(c.Spec.Devices.Requests), objects)
			},
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true, ReturnsDeleted: true,
			ResetFields: typed.Reset("status"),
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("State", "A summary of the current state (allocated, pending, reserved, etc.)."), columns.Created(),
			},
			Cells: typed.Cells(func(c *resourcev1.ResourceClaim, now time.Time) []any {
				return []any{c.Name, claimState(c), columns.Age(c.CreationTimestamp, now)}
			}),
		},
		Subresources: []resource.Subresource{{Name: "status", View: &resource.View{
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				c, was := obj.(*resourcev1.ResourceClaim), old.(*resourcev1.ResourceClaim)
				c.Spec = was.Spec
				metav1.ResetObjectMetaForStatus(c, was)
				forgetDeallocated(&c.Status, &was.Status)
				dropFromStatus(&c.Status, &was.Status)
			},
			Validate: typed.Change(validateClaimStatus),
			ValidateAmong: func(ctx context.Context, obj, old runtime.Object, objects resource.Objects) field.ErrorList {
				c, was := obj.(*resourcev1.ResourceClaim), old.(*resourcev1.ResourceClaim)
				if adminGranted(was.Status.Allocation) != nil {
					return nil
				}
				return adminAccess(ctx, c.Namespace, adminGranted(c.Status.Allocation), objects)
			},
			ResetFields: typed.Reset("spec"),
		}}},
	}
}

func claimState(c *resourcev1.ResourceClaim) string {
	var states []string
	if c.DeletionTimestamp != nil {
		states = append(states, "deleted")
	}
	switch {
	case c.Status.Allocation == nil && c.DeletionTimestamp == nil:
		states = append(states, "pending")
	case c.Status.Allocation != nil && len(c.Status.ReservedFor) > 0:
		states = append(states, "allocated", "reserved")
	case c.Status.Allocation != nil:
		states = append(states, "allocated")
	}
	return strings.Join(states, ",")
}

func resourceClaimTemplates() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("ResourceClaimTemplate"), Plural: "resourceclaimtemplates", Singular: "resourceclaimtemplate", Namespaced: true,
		StoragePrefix: "resourceclaimtemplates",
		New:           typed.New[resourcev1.ResourceClaimTemplate], NewList: typed.New[resourcev1.ResourceClaimTemplateList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(t *resourcev1.ResourceClaimTemplate) { defaultClaim(&t.Spec.Spec) }),
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				dropFromSpec(&obj.(*resourcev1.ResourceClaimTemplate).Spec.Spec, nil)
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				dropFromSpec(&obj.(*resourcev1.ResourceClaimTemplate).Spec.Spec, &old.(*resourcev1.ResourceClaimTemplate).Spec.Spec)
			},
			Validate: typed.Validate(func(t *resourcev1.ResourceClaimTemplate) field.ErrorList {
				path := field.NewPath("spec")
				errs := rules.TemplateMeta(&t.Spec.ObjectMeta, path.Child("metadata"))
				return append(errs, validateClaim(&t.Spec.Spec.Devices, path.Child("spec", "devices"))...)
			}),
			ValidateUpdate: typed.Change(func(t, old *resourcev1.ResourceClaimTemplate) field.ErrorList {
				return rules.ImmutableInternal(t.Spec, old.Spec, field.NewPath("spec"))
			}),
			ValidateAmong: func(ctx context.Context, obj, old runtime.Object, objects resource.Objects) field.ErrorList {
				if old != nil {
					return nil
				}
				t := obj.(*resourcev1.ResourceClaimTemplate)
				return adminAccess(ctx, t.Namespace, adminRequested(t.Spec.Spec.Devices.Requests), objects)
			},
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true, ReturnsDeleted: true,
		},
		Table: resource.Table{Columns: nameAndAge(), Cells: typed.Cells(func(t *resourcev1.ResourceClaimTemplate, now time.Time) []any {
			return []any{t.Name, columns.Age(t.CreationTimestamp, now)}
		})},
	}
}

func defaultClaim(spec *resourcev1.ResourceClaimSpec) {
	mode := func(mode *resourcev1.DeviceAllocationMode, count *int64) {
		if *mode == "" {
			*mode = resourcev1.DeviceAllocationModeExactCount
		}
		if *mode == resourcev1.DeviceAllocationModeExactCount && *count == 0 {
			*count = 1
		}
	}
	for i := range spec.Devices.Requests {
		r := &spec.Devices.Requests[i]
		if e := r.Exactly; e != nil {
			mode(&e.AllocationMode, &e.Count)
			defaultTolerations(e.Tolerations)
		}
		for j := range r.FirstAvailable {
			sub := &r.FirstAvailable[j]
			mode(&sub.AllocationMode, &sub.Count)
			defaultTolerations(sub.Tolerations)
		}
	}
}

func defaultTolerations(all []resourcev1.DeviceToleration) {
	for i := range all {
		if all[i].Operator == "" {
			all[i].Operator = resourcev1.DeviceTolerationOpEqual
		}
	}
}

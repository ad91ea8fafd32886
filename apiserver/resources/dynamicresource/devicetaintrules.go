package dynamicresource

import (
	"time"

	resourcev1 "k8s.io/api/resource/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	unversioned "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func deviceTaintRules() *resource.Resource {
	halves := typed.SpecAndStatus(func(r *resourcev1.DeviceTaintRule) (*resourcev1.DeviceTaintRuleSpec, *resourcev1.DeviceTaintRuleStatus) {
		return &r.Spec, &r.Status
	})
	return &resource.Resource{
		GVK:        gvk("DeviceTaintRule"),
		StoredForm: &resource.StoredForm{Version: "v1beta2"},
		Plural:     "devicetaintrules", Singular: "devicetaintrule", StoragePrefix: "devicetaintrules",
		New: typed.New[resourcev1.DeviceTaintRule], NewList: typed.New[resourcev1.DeviceTaintRuleList],
		Strategy: resource.Strategy{
			PrepareForCreate: func(req resource.Request, obj runtime.Object) {
				halves.Create(req, obj)
				stamp(&obj.(*resourcev1.DeviceTaintRule).Spec.Taint)
			},
			PrepareForUpdate: func(req resource.Request, obj, old runtime.Object) {
				t, was := &obj.(*resourcev1.DeviceTaintRule).Spec.Taint, &old.(*resourcev1.DeviceTaintRule).Spec.Taint
				if t.Effect != was.Effect && t.TimeAdded.Equal(was.TimeAdded) {
					t.TimeAdded = nil
				}
				stamp(t)
				halves.Update(req, obj, old)
			},
			Validate: typed.Validate(func(r *resourcev1.DeviceTaintRule) field.ErrorList { return validateTaintRule(&r.Spec, nil) }),
			ValidateChange: typed.Change(func(r, old *resourcev1.DeviceTaintRule) field.ErrorList {
				return validateTaintRule(&r.Spec, &old.Spec.Taint)
			}),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
			ResetFields:              typed.Reset("status"),
		},
		Table: resource.Table{Columns: nameAndAge(), Cells: typed.Cells(func(r *resourcev1.DeviceTaintRule, now time.Time) []any {
			return []any{r.Name, columns.Age(r.CreationTimestamp, now)}
		})},
		Subresources: []resource.Subresource{typed.StatusView(halves, func(r, _ *resourcev1.DeviceTaintRule) field.ErrorList {
			at := field.NewPath("status", "conditions")
			errs := unversioned.ValidateConditions(r.Status.Conditions, at)
			if n := len(r.Status.Conditions); n > resourcev1.DeviceTaintRuleStatusMaxConditions {
				errs = append(errs, field.TooMany(at, n, resourcev1.DeviceTaintRuleStatusMaxConditions))
			}
			return errs
		})},
	}
}

// stamp says when a taint was added, where that is not said.
func stamp(t *resourcev1.DeviceTaint) {
	if t.TimeAdded == nil {
		t.TimeAdded = ptr.To(metav1.NewTime(time.Now().Truncate(time.Second)))
	}
}

func validateTaintRule(spec *resourcev1.DeviceTaintRuleSpec, old *resourcev1.DeviceTaint) field.ErrorList {
	path := field.NewPath("spec")
	var errs field.ErrorList
	if s := spec.DeviceSelector; s != nil {
		at := path.Child("deviceSelector")
		if s.Driver != nil {
			errs = append(errs, driverName(*s.Driver, at.Child("driver"))...)
		}
		if s.Pool != nil {
			errs = append(errs, poolName(*s.Pool, at.Child("pool"))...)
		}
		if s.Device != nil {
			errs = append(errs, rules.Label(*s.Device, at.Child("device"))...)
		}
	}
	return append(errs, taint(spec.Taint, old, path.Child("taint"))...)
}

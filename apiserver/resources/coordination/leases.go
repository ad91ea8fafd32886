// Package coordination declares the resources of coordination.k8s.io/v1: leases,
// by which nodes show that they live and leaders that they lead.
package coordination

import (
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{{
		GVK: coordinationv1.SchemeGroupVersion.WithKind("Lease"), Plural: "leases", Singular: "lease",
		Namespaced: true, StoragePrefix: "leases",
		New:     func() runtime.Object { return &coordinationv1.Lease{} },
		NewList: func() runtime.Object { return &coordinationv1.LeaseList{} },
		Strategy: resource.Strategy{
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) { dropDisabled(&obj.(*coordinationv1.Lease).Spec, nil) },
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				dropDisabled(&obj.(*coordinationv1.Lease).Spec, &old.(*coordinationv1.Lease).Spec)
			},
			Validate: func(obj runtime.Object) field.ErrorList {
				return validateLease(&obj.(*coordinationv1.Lease).Spec, field.NewPath("spec"))
			},
			NameError:           apivalidation.NameIsDNSSubdomain,
			AllowCreateOnUpdate: true,
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("Holder", coordinationv1.LeaseSpec{}.SwaggerDoc()["holderIdentity"]), columns.Created(),
			},
			Cells: func(obj runtime.Object, now time.Time) []any {
				l := obj.(*coordinationv1.Lease)
				return []any{l.Name, ptr.Deref(l.Spec.HolderIdentity, ""), columns.Age(l.CreationTimestamp, now)}
			},
		},
	}}
}

// dropDisabled clears what v1.37 does not serve by default, coordinated leader
// election; old is nil on create.
func dropDisabled(s, old *coordinationv1.LeaseSpec) {
	if old == nil || old.Strategy == nil {
		s.Strategy = nil
	}
	if old == nil || old.PreferredHolder == nil {
		s.PreferredHolder = nil
	}
}

func validateLease(s *coordinationv1.LeaseSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if d := s.LeaseDurationSeconds; d != nil && *d <= 0 {
		errs = append(errs, field.Invalid(path.Child("leaseDurationSeconds"), *d, "must be greater than 0"))
	}
	if t := s.LeaseTransitions; t != nil && *t < 0 {
		errs = append(errs, field.Invalid(path.Child("leaseTransitions"), *t, "must be greater than or equal to 0"))
	}
	if s.Strategy != nil {
		errs = append(errs, rules.OneOf(*s.Strategy, path.Child("strategy"), coordinationv1.OldestEmulationVersion)...)
	}
	if s.PreferredHolder != nil && *s.PreferredHolder != "" && (s.Strategy == nil || *s.Strategy == "") {
		errs = append(errs, field.Forbidden(path.Child("preferredHolder"), "may only be specified if `strategy` is defined"))
	}
	return errs
}

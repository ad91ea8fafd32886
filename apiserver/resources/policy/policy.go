// Package policy declares the resources of policy/v1: pod disruption budgets. The
// evictions that they govern are a sub-resource of pods, in package core.
package policy

import (
	"time"

	policyv1 "k8s.io/api/policy/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	unversioned "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	halves := typed.SpecAndStatus(func(b *policyv1.PodDisruptionBudget) (*policyv1.PodDisruptionBudgetSpec, *policyv1.PodDisruptionBudgetStatus) {
		return &b.Spec, &b.Status
	})
	return []*resource.Resource{{
		GVK: policyv1.SchemeGroupVersion.WithKind("PodDisruptionBudget"), Plural: "poddisruptionbudgets", Singular: "poddisruptionbudget",
		ShortNames: []string{"pdb"}, Namespaced: true, StoragePrefix: "poddisruptionbudgets",
		New: typed.New[policyv1.PodDisruptionBudget], NewList: typed.New[policyv1.PodDisruptionBudgetList],
		Strategy: resource.Strategy{
			PrepareForCreate: halves.Create,
			PrepareForUpdate: halves.Update,
			Validate: typed.Validate(func(b *policyv1.PodDisruptionBudget) field.ErrorList {
				return validateBudget(&b.Spec, field.NewPath("spec"))
			}),
			NameError:   apivalidation.NameIsDNSSubdomain,
			ResetFields: typed.Reset("status"),
		},
		Table: resource.Table{Columns: budgetColumns(), Cells: typed.Cells(budgetCells)},
		Subresources: []resource.Subresource{typed.StatusView(halves, func(b, _ *policyv1.PodDisruptionBudget) field.ErrorList {
			return validateBudgetStatus(&b.Status, field.NewPath("status"))
		})},
	}}
}

func validateBudget(s *policyv1.PodDisruptionBudgetSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.MinAvailable != nil && s.MaxUnavailable != nil {
		errs = append(errs, field.Invalid(path, rules.Internal(s), "minAvailable and maxUnavailable cannot be both set"))
	}
	for _, one := range []struct {
		name  string
		value *intstr.IntOrString
	}{{"minAvailable", s.MinAvailable}, {"maxUnavailable", s.MaxUnavailable}} {
		if one.value != nil {
			errs = append(errs, rules.IntOrPercent(*one.value, path.Child(one.name))...)
			errs = append(errs, rules.AtMostAll(*one.value, path.Child(one.name))...)
		}
	}
	errs = append(errs, rules.Selector(s.Selector, path.Child("selector"))...)
	if s.UnhealthyPodEvictionPolicy != nil {
		errs = append(errs, rules.OneOf(*s.UnhealthyPodEvictionPolicy, path.Child("unhealthyPodEvictionPolicy"),
			policyv1.AlwaysAllow, policyv1.IfHealthyBudget)...)
	}
	return errs
}

func validateBudgetStatus(s *policyv1.PodDisruptionBudgetStatus, path *field.Path) field.ErrorList {
	errs := unversioned.ValidateConditions(s.Conditions, path.Child("conditions"))
	for _, one := range []struct {
		name  string
		value int32
	}{
		{"disruptionsAllowed", s.DisruptionsAllowed}, {"currentHealthy", s.CurrentHealthy},
		{"desiredHealthy", s.DesiredHealthy}, {"expectedPods", s.ExpectedPods},
	} {
		errs = append(errs, rules.NonNegative(int64(one.value), path.Child(one.name))...)
	}
	return errs
}

func budgetColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Min Available", "The minimum number of pods that must be available."),
		columns.String("Max Unavailable", "The maximum number of pods that may be unavailable."),
		columns.Integer("Allowed Disruptions", "Calculated number of pods that may be disrupted at this time."), columns.Created(),
	}
}

func budgetCells(b *policyv1.PodDisruptionBudget, now time.Time) []any {
	text := func(v *intstr.IntOrString) string {
		if v == nil {
			return "N/A"
		}
		return v.String()
	}
	return []any{b.Name, text(b.Spec.MinAvailable), text(b.Spec.MaxUnavailable), int64(b.Status.DisruptionsAllowed), columns.Age(b.CreationTimestamp, now)}
}

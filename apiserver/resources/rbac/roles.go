package rbac

import (
	"context"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	pathvalidation "k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func roles(c Config) *resource.Resource {
	return &resource.Resource{
		GVK: gvk("Role"), Plural: "roles", Singular: "role", Namespaced: true, StoragePrefix: "roles",
		New: typed.New[rbacv1.Role], NewList: typed.New[rbacv1.RoleList],
		Strategy: resource.Strategy{
			Validate:  typed.Validate(func(r *rbacv1.Role) field.ErrorList { return validateRules(r.Rules, true, field.NewPath("rules")) }),
			NameError: pathvalidation.ValidatePathSegmentName,
			Begin: func(ctx context.Context, req resource.Request, obj, old runtime.Object) (func(bool), error) {
				role, ok := obj.(*rbacv1.Role)
				if !ok {
					return nil, nil // a deletion gives nothing
				}
				if o, ok := old.(*rbacv1.Role); ok && sameButOwners(role, o) {
					return nil, nil
				}
				return nil, c.mayWrite(ctx, req, "roles", role.Name, role.Rules, false)
			},
			AllowCreateOnUpdate: true, AllowUnconditionalUpdate: true,
		},
		Table: resource.Table{Columns: roleColumns(), Cells: typed.Cells(func(r *rbacv1.Role, _ time.Time) []any {
			return []any{r.Name, createdAt(r.CreationTimestamp)}
		})},
	}
}

func clusterRoles(c Config) *resource.Resource {
	return &resource.Resource{
		GVK: gvk("ClusterRole"), Plural: "clusterroles", Singular: "clusterrole", StoragePrefix: "clusterroles",
		New: typed.New[rbacv1.ClusterRole], NewList: typed.New[rbacv1.ClusterRoleList],
		Strategy: resource.Strategy{
			Validate: typed.Validate(func(r *rbacv1.ClusterRole) field.ErrorList {
				errs := validateRules(r.Rules, false, field.NewPath("rules"))
				if r.AggregationRule == nil {
					return errs
				}
				at := field.NewPath("aggregationRule", "clusterRoleSelectors")
				if len(r.AggregationRule.ClusterRoleSelectors) == 0 {
					return append(errs, field.Required(at, "at least one clusterRoleSelector required if aggregationRule is non-nil"))
				}
				for i := range r.AggregationRule.ClusterRoleSelectors {
					errs = append(errs, rules.Selector(&r.AggregationRule.ClusterRoleSelectors[i], at.Index(i))...)
					if _, err := metav1.LabelSelectorAsSelector(&r.AggregationRule.ClusterRoleSelectors[i]); err != nil {
						errs = append(errs, field.Invalid(at.Index(i), nil, "invalid label selector."))
					}
				}
				return errs
			}),
			NameError: pathvalidation.ValidatePathSegmentName,
			Begin: func(ctx context.Context, req resource.Request, obj, old runtime.Object) (func(bool), error) {
				role, ok := obj.(*rbacv1.ClusterRole)
				if !ok {
					return nil, nil
				}
				aggregates := role.AggregationRule != nil
				if o, ok := old.(*rbacv1.ClusterRole); ok {
					if sameButOwners(role, o) {
						return nil, nil
					}
					aggregates = aggregates || o.AggregationRule != nil
				}
				return nil, c.mayWrite(ctx, req, "clusterroles", role.Name, role.Rules, aggregates)
			},
			AllowCreateOnUpdate: true, AllowUnconditionalUpdate: true,
		},
		Table: resource.Table{Columns: roleColumns(), Cells: typed.Cells(func(r *rbacv1.ClusterRole, _ time.Time) []any {
			return []any{r.Name, createdAt(r.CreationTimestamp)}
		})},
	}
}

func roleColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Created At", metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"]),
	}
}

func createdAt(t metav1.Time) string { return t.UTC().Format(time.RFC3339) }

func validateRules(list []rbacv1.PolicyRule, namespaced bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range list {
		r, at := &list[i], path.Index(i)
		if len(r.Verbs) == 0 {
			errs = append(errs, field.Required(at.Child("verbs"), ""))
		}
		if len(r.NonResourceURLs) > 0 {
			if namespaced {
				errs = append(errs, field.Invalid(at.Child("nonResourceURLs"), r.NonResourceURLs, "namespaced rules cannot apply to non-resource URLs"))
			}
			if len(r.APIGroups) > 0 || len(r.Resources) > 0 || len(r.ResourceNames) > 0 {
				errs = append(errs, field.Invalid(at.Child("nonResourceURLs"), r.NonResourceURLs, "rules cannot apply to both regular resources and non-resource URLs"))
			}
			continue
		}
		if len(r.APIGroups) == 0 {
			errs = append(errs, field.Required(at.Child("apiGroups"), "resource rules must supply at least one api group"))
		}
		if len(r.Resources) == 0 {
			errs = append(errs, field.Required(at.Child("resources"), "resource rules must supply at least one resource"))
		}
	}
	return errs
}

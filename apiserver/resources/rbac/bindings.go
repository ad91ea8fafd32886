package rbac

import (
	"context"
	"strings"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	pathvalidation "k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func roleBindings(c Config) *resource.Resource {
	return &resource.Resource{
		GVK: gvk("RoleBinding"), Plural: "rolebindings", Singular: "rolebinding", Namespaced: true, StoragePrefix: "rolebindings",
		New: typed.New[rbacv1.RoleBinding], NewList: typed.New[rbacv1.RoleBindingList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(b *rbacv1.RoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) }),
			Validate: typed.Validate(func(b *rbacv1.RoleBinding) field.ErrorList {
				return validateBinding(b.RoleRef, b.Subjects, true)
			}),
			ValidateUpdate: typed.Change(func(b, old *rbacv1.RoleBinding) field.ErrorList { return sameRole(b.RoleRef, old.RoleRef) }),
			NameError:      pathvalidation.ValidatePathSegmentName,
			Begin: func(ctx context.Context, req resource.Request, obj, old runtime.Object) (func(bool), error) {
				b, ok := obj.(*rbacv1.RoleBinding)
				if !ok {
					return nil, nil // a deletion gives nothing
				}
				if o, ok := old.(*rbacv1.RoleBinding); ok && sameButOwners(b, o) {
					return nil, nil
				}
				return nil, c.mayBind(ctx, req, "rolebindings", b.Name, b.RoleRef)
			},
			AllowCreateOnUpdate: true, AllowUnconditionalUpdate: true,
		},
		Table: resource.Table{Columns: bindingColumns(), Cells: typed.Cells(func(b *rbacv1.RoleBinding, now time.Time) []any {
			return bindingCells(b.Name, b.RoleRef, b.Subjects, b.CreationTimestamp, now)
		})},
	}
}

func clusterRoleBindings(c Config) *resource.Resource {
	return &resource.Resource{
		GVK: gvk("ClusterRoleBinding"), Plural: "clusterrolebindings", Singular: "clusterrolebinding", StoragePrefix: "clusterrolebindings",
		New: typed.New[rbacv1.ClusterRoleBinding], NewList: typed.New[rbacv1.ClusterRoleBindingList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(b *rbacv1.ClusterRoleBinding) { defaultBinding(&b.RoleRef, b.Subjects) }),
			Validate: typed.Validate(func(b *rbacv1.ClusterRoleBinding) field.ErrorList {
				return validateBinding(b.RoleRef, b.Subjects, false)
			}),
			ValidateUpdate: typed.Change(func(b, old *rbacv1.ClusterRoleBinding) field.ErrorList { return sameRole(b.RoleRef, old.RoleRef) }),
			NameError:      pathvalidation.ValidatePathSegmentName,
			Begin: func(ctx context.Context, req resource.Request, obj, old runtime.Object) (func(bool), error) {
				b, ok := obj.(*rbacv1.ClusterRoleBinding)
				if !ok {
					return nil, nil
				}
				if o, ok := old.(*rbacv1.ClusterRoleBinding); ok && sameButOwners(b, o) {
					return nil, nil
				}
				return nil, c.mayBind(ctx, req, "clusterrolebindings", b.Name, b.RoleRef)
			},
			AllowCreateOnUpdate: true, AllowUnconditionalUpdate: true,
		},
		Table: resource.Table{Columns: bindingColumns(), Cells: typed.Cells(func(b *rbacv1.ClusterRoleBinding, now time.Time) []any {
			return bindingCells(b.Name, b.RoleRef, b.Subjects, b.CreationTimestamp, now)
		})},
	}
}

func defaultBinding(ref *rbacv1.RoleRef, subjects []rbacv1.Subject) {
	if ref.APIGroup == "" {
		ref.APIGroup = rbacv1.GroupName
	}
	for i := range subjects {
		s := &subjects[i]
		if s.APIGroup == "" && (s.Kind == rbacv1.UserKind || s.Kind == rbacv1.GroupKind) {
			s.APIGroup = rbacv1.GroupName
		}
	}
}

func validateBinding(ref rbacv1.RoleRef, subjects []rbacv1.Subject, namespaced bool) field.ErrorList {
	at := field.NewPath("roleRef")
	errs := rules.OneOf(ref.APIGroup, at.Child("apiGroup"), rbacv1.GroupName)
	kinds := []string{"ClusterRole"}
	if namespaced {
		kinds = []string{"Role", "ClusterRole"}
	}
	errs = append(errs, rules.OneOf(ref.Kind, at.Child("kind"), kinds...)...)
	if ref.Name == "" {
		errs = append(errs, field.Required(at.Child("name"), ""))
	} else {
		errs = append(errs, rules.Matches(ref.Name, at.Child("name"), pathvalidation.IsValidPathSegmentName(ref.Name))...)
	}
	for i, s := range subjects {
		errs = append(errs, validateSubject(s, namespaced, field.NewPath("subjects").Index(i))...)
	}
	return errs
}

func validateSubject(s rbacv1.Subject, namespaced bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	switch s.Kind {
	case rbacv1.ServiceAccountKind:
		if s.Name != "" {
			errs = append(errs, rules.Matches(s.Name, path.Child("name"), validation.IsDNS1123Subdomain(s.Name))...)
		}
		if s.APIGroup != "" {
			errs = append(errs, field.NotSupported(path.Child("apiGroup"), s.APIGroup, []string{""}))
		}
		if !namespaced && s.Namespace == "" {
			errs = append(errs, field.Required(path.Child("namespace"), ""))
		}
	case rbacv1.UserKind, rbacv1.GroupKind:
		errs = append(errs, rules.OneOf(s.APIGroup, path.Child("apiGroup"), rbacv1.GroupName)...)
	default:
		errs = append(errs, field.NotSupported(path.Child("kind"), s.Kind, []string{rbacv1.ServiceAccountKind, rbacv1.UserKind, rbacv1.GroupKind}))
	}
	return errs
}

func sameRole(ref, old rbacv1.RoleRef) field.ErrorList {
	if ref == old {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("roleRef"), rules.Internal(ref), apivalidation.FieldImmutableErrorMsg)}
}

func bindingColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Role", rbacv1.RoleBinding{}.SwaggerDoc()["roleRef"]), columns.Created(),
		columns.Wide(columns.String("Users", "Users in the binding")),
		columns.Wide(columns.String("Groups", "Groups in the binding")),
		columns.Wide(columns.String("ServiceAccounts", "ServiceAccounts in the binding")),
	}
}

func bindingCells(name string, ref rbacv1.RoleRef, subjects []rbacv1.Subject, created metav1.Time, now time.Time) []any {
	var users, groups, accounts []string
	for _, s := range subjects {
		switch s.Kind {
		case rbacv1.UserKind:
			users = append(users, s.Name)
		case rbacv1.GroupKind:
			groups = append(groups, s.Name)
		case rbacv1.ServiceAccountKind:
			accounts = append(accounts, s.Namespace+"/"+s.Name)
		}
	}
	return []any{
		name, ref.Kind + "/" + ref.Name, columns.Age(created, now),
		strings.Join(users, ", "), strings.Join(groups, ", "), strings.Join(accounts, ", "),
	}
}

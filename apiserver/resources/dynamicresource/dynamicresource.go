// Package dynamicresource declares the resources of resource.k8s.io/v1, dynamic
// resource allocation (KEP-4381): what devices drivers have on nodes (ResourceSlice,
// DeviceTaintRule), the classes that administrators make of them (DeviceClass), and
// who wants which (ResourceClaim, ResourceClaimTemplate).
//
// It serves what a v1.37 server does with its default feature gates: fields of
// alpha features (disabled.go) are dropped from what clients write.
package dynamicresource

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/operation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{deviceClasses(), deviceTaintRules(), resourceClaims(), resourceClaimTemplates(), resourceSlices()}
}

func gvk(kind string) schema.GroupVersionKind { return resourcev1.SchemeGroupVersion.WithKind(kind) }

func nameAndAge() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{columns.Name(), columns.Created()}
}

// format is one of upstream's declared string formats.
type format[T ~string] func(ctx context.Context, op operation.Operation, path *field.Path, value, old *T) field.ErrorList

// is reports a value that is not of a format.
func is[T ~string](value T, of format[T], path *field.Path) field.ErrorList {
	return of(context.Background(), operation.Operation{}, path, &value, nil)
}

// required reports a value that is missing, or else not of a format.
func required[T ~string](value T, of format[T], path *field.Path) field.ErrorList {
	if value == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	return is(value, of, path)
}

// list reports a list that is too long, or else what is wrong with its items. A long
// list costs no more than to be counted.
func list[T any](items []T, most int, check func(item T, path *field.Path) field.ErrorList, path *field.Path) field.ErrorList {
	if len(items) > most {
		return field.ErrorList{field.TooMany(path, len(items), most)}
	}
	var errs field.ErrorList
	for i, item := range items {
		errs = append(errs, check(item, path.Index(i))...)
	}
	return errs
}

// set is a list in which no two items have the same key. What is shown of a second
// one is what show says.
func set[T any, K comparable](items []T, most int, key func(T) K, show func(T) any, check func(item T, path *field.Path) field.ErrorList, path *field.Path) field.ErrorList {
	errs := list(items, most, check, path)
	if len(items) > most {
		return errs
	}
	seen := make(map[K]bool, len(items))
	for i, item := range items {
		k := key(item)
		if seen[k] {
			errs = append(errs, field.Duplicate(path.Index(i), show(item)))
		}
		seen[k] = true
	}
	return errs
}

func whole[T any](item T) any { return item }

func itself[T any](item T) T { return item }

// adminAccess refuses what asks for access to devices that are in use, unless the
// namespace is meant for such claims. at is where it is asked for, nil for nowhere.
func adminAccess(ctx context.Context, namespace string, at *field.Path, objects resource.Objects) field.ErrorList {
	if at == nil {
		return nil
	}
	obj, err := objects.Get(ctx, schema.GroupResource{Resource: "namespaces"}, "", namespace)
	if err != nil {
		return field.ErrorList{field.InternalError(at, fmt.Errorf("could not retrieve namespace to verify admin access: %w", err))}
	}
	if ns, ok := obj.(*corev1.Namespace); ok && ns.Labels[resourcev1.DRAAdminNamespaceLabelKey] == "true" {
		return nil
	}
	return field.ErrorList{field.Forbidden(at, fmt.Sprintf(
		"admin access to devices requires the `%s: true` label on the containing namespace", resourcev1.DRAAdminNamespaceLabelKey))}
}

// adminRequested is where a claim asks for admin access; nil is nowhere.
func adminRequested(requests []resourcev1.DeviceRequest) *field.Path {
	for i, r := range requests {
		if r.Exactly != nil && ptr.Deref(r.Exactly.AdminAccess, false) {
			return field.NewPath("spec", "devices", "requests").Index(i).Child("adminAccess")
		}
	}
	return nil
}

// adminGranted is where an allocation grants admin access; nil is nowhere.
func adminGranted(allocation *resourcev1.AllocationResult) *field.Path {
	if allocation == nil {
		return nil
	}
	for i, r := range allocation.Devices.Results {
		if ptr.Deref(r.AdminAccess, false) {
			return field.NewPath("status", "allocation", "devices", "results").Index(i).Child("adminAccess")
		}
	}
	return nil
}

// Package flowcontrol declares the resources of flowcontrol.apiserver.k8s.io/v1, flow
// schemas and priority levels, and says which of them every cluster has from the start
// (KEP-1040).
//
// The objects are served, kept and mended as upstream's are; package fairness has the
// server follow them.
package flowcontrol

import (
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{flowSchemas(), priorityLevels()}
}

func gvk(kind string) schema.GroupVersionKind { return flowcontrolv1.SchemeGroupVersion.WithKind(kind) }

// statusView is a status sub-resource that leaves all metadata alone but the managed
// fields.
func statusView[T typed.Object](keep func(obj, old T), check func(obj, old T) field.ErrorList) resource.Subresource {
	return resource.Subresource{Name: "status", View: &resource.View{
		PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
			now, was := obj.(T), old.(T)
			managed := now.GetManagedFields()
			keep(now, was)
			now.SetManagedFields(managed)
		},
		Validate:    typed.Change(check),
		ResetFields: typed.Reset("spec", "metadata"),
	}}
}

// condition checks the type of one of the conditions of a status.
func condition[T ~string](kind T, seen map[T]bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if seen[kind] {
		errs = append(errs, field.Duplicate(path.Child("type"), kind))
	}
	seen[kind] = true
	if kind == "" {
		errs = append(errs, field.Required(path.Child("type"), ""))
	}
	return errs
}

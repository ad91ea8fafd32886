package apps

import (
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

func controllerRevisions() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("ControllerRevision"), Plural: "controllerrevisions", Singular: "controllerrevision",
		Namespaced: true, StoragePrefix: "controllerrevisions",
		New:     func() runtime.Object { return &appsv1.ControllerRevision{} },
		NewList: func() runtime.Object { return &appsv1.ControllerRevisionList{} },
		Strategy: resource.Strategy{
			Validate: func(obj runtime.Object) field.ErrorList {
				r := obj.(*appsv1.ControllerRevision)
				var errs field.ErrorList
				if r.Data.Raw == nil && r.Data.Object == nil {
					errs = append(errs, field.Required(field.NewPath("data"), "data is mandatory"))
				}
				return append(errs, rules.NonNegative(r.Revision, field.NewPath("revision"))...)
			},
			ValidateUpdate: func(obj, old runtime.Object) field.ErrorList {
				return rules.Immutable(obj.(*appsv1.ControllerRevision).Data, old.(*appsv1.ControllerRevision).Data, field.NewPath("data"))
			},
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(),
				columns.String("Controller", "Controller of the object"),
				columns.String("Revision", appsv1.ControllerRevision{}.SwaggerDoc()["revision"]),
				columns.Created(),
			},
			Cells: func(obj runtime.Object, now time.Time) []any {
				r := obj.(*appsv1.ControllerRevision)
				return []any{r.Name, controllerOf(r), r.Revision, columns.Age(r.CreationTimestamp, now)}
			},
		},
	}
}

// controllerOf prints the owner as kubectl names it: daemonset.apps/name.
func controllerOf(r *appsv1.ControllerRevision) string {
	ref := metav1.GetControllerOf(r)
	if ref == nil {
		return "<none>"
	}
	kind := strings.ToLower(ref.Kind)
	if gv, err := schema.ParseGroupVersion(ref.APIVersion); err == nil && gv.Group != "" {
		kind += "." + gv.Group
	}
	return kind + "/" + ref.Name
}

package apps

import (
	"encoding/json"
	"fmt"
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
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func controllerRevisions() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("ControllerRevision"), Plural: "controllerrevisions", Singular: "controllerrevision",
		Namespaced: true, StoragePrefix: "controllerrevisions",
		New:     func() runtime.Object { return &appsv1.ControllerRevision{} },
		NewList: func() runtime.Object { return &appsv1.ControllerRevisionList{} },
		Strategy: resource.Strategy{
			Validate: typed.Validate(func(r *appsv1.ControllerRevision) field.ErrorList {
				errs := rules.NonNegative(r.Revision, field.NewPath("revision"))
				return append(errs, validateRevisionData(&r.Data, field.NewPath("data"))...)
			}),
			ValidateChange: typed.Change(func(r, old *appsv1.ControllerRevision) field.ErrorList {
				errs := rules.NonNegative(r.Revision, field.NewPath("revision"))
				return append(errs, rules.Immutable(r.Data, old.Data, field.NewPath("data"))...)
			}),
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

// validateRevisionData: a revision holds an object, of whatever kind.
func validateRevisionData(data *runtime.RawExtension, path *field.Path) field.ErrorList {
	if data.Object != nil {
		return nil
	}
	if data.Raw == nil {
		return field.ErrorList{field.Required(path, "data is mandatory")}
	}
	var v any
	if err := json.Unmarshal(data.Raw, &v); err != nil {
		return field.ErrorList{field.Invalid(path, "<value omitted>", fmt.Sprintf("error parsing data: %v", err))}
	}
	if v == nil {
		return field.ErrorList{field.Required(path, "data is mandatory")}
	}
	if _, ok := v.(map[string]any); !ok {
		return field.ErrorList{field.Required(path, "data must be a valid JSON object")}
	}
	return nil
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

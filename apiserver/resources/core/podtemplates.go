package core

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func podTemplates() *resource.Resource {
	counted := typed.Counted(func(t *corev1.PodTemplate) *corev1.PodTemplateSpec { return &t.Template })
	return &resource.Resource{
		GVK: gvk("PodTemplate"), Plural: "podtemplates", Singular: "podtemplate", Namespaced: true, StoragePrefix: "podtemplates",
		New: typed.New[corev1.PodTemplate], NewList: typed.New[corev1.PodTemplateList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(t *corev1.PodTemplate) { podspec.DefaultTemplate(&t.Template) }),
			PrepareForCreate: func(req resource.Request, obj runtime.Object) {
				podspec.DropDisabledTemplate(&obj.(*corev1.PodTemplate).Template, nil)
				counted.Create(req, obj)
			},
			PrepareForUpdate: func(req resource.Request, obj, old runtime.Object) {
				podspec.DropDisabledTemplate(&obj.(*corev1.PodTemplate).Template, &old.(*corev1.PodTemplate).Template)
				counted.Update(req, obj, old)
			},
			Validate: typed.Validate(func(t *corev1.PodTemplate) field.ErrorList {
				return podspec.ValidateTemplate(&t.Template, field.NewPath("template"))
			}),
			NameError: apivalidation.NameIsDNSSubdomain,
			Warnings: typed.Warnings(func(t, old *corev1.PodTemplate) []string {
				if old != nil && t.Generation == old.Generation {
					return nil
				}
				return podspec.TemplateWarnings(&t.Template, field.NewPath("template"))
			}),
			AllowUnconditionalUpdate: true, ReturnsDeleted: true,
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("Containers", "Names of each container in the template."),
				columns.String("Images", "Images referenced by each container in the template."),
				columns.String("Pod Labels", "The labels for the pod template."),
			},
			Cells: typed.Cells(func(t *corev1.PodTemplate, _ time.Time) []any {
				names, images := columns.Containers(t.Template.Spec.Containers)
				return []any{t.Name, names, images, columns.Labels(t.Template.Labels)}
			}),
		},
	}
}

// Package node declares the resources of node.k8s.io/v1: runtime classes.
package node

import (
	"fmt"
	"time"

	nodev1 "k8s.io/api/node/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{{
		GVK: nodev1.SchemeGroupVersion.WithKind("RuntimeClass"), Plural: "runtimeclasses", Singular: "runtimeclass", StoragePrefix: "runtimeclasses",
		New: typed.New[nodev1.RuntimeClass], NewList: typed.New[nodev1.RuntimeClassList],
		Strategy: resource.Strategy{
			Validate: typed.Validate(validateRuntimeClass),
			ValidateUpdate: typed.Change(func(c, old *nodev1.RuntimeClass) field.ErrorList {
				if c.Handler == old.Handler {
					return nil
				}
				// Upstream does not show it.
				return field.ErrorList{field.Invalid(field.NewPath("handler"), nil, apivalidation.FieldImmutableErrorMsg)}
			}),
			NameError: apivalidation.NameIsDNSSubdomain, AllowCreateOnUpdate: true,
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("Handler", nodev1.RuntimeClass{}.SwaggerDoc()["handler"]), columns.Created(),
			},
			Cells: typed.Cells(func(c *nodev1.RuntimeClass, now time.Time) []any {
				return []any{c.Name, c.Handler, columns.Age(c.CreationTimestamp, now)}
			}),
		},
	}}
}

func validateRuntimeClass(c *nodev1.RuntimeClass) field.ErrorList {
	var errs field.ErrorList
	switch at := field.NewPath("handler"); {
	case c.Handler == "":
		errs = append(errs, field.Required(at, ""))
	case len(c.Handler) > validation.DNS1123LabelMaxLength:
		errs = append(errs, field.Invalid(at, c.Handler, fmt.Sprintf("must be no more than %d bytes", validation.DNS1123LabelMaxLength)))
	default:
		errs = rules.Label(c.Handler, at)
	}
	if c.Overhead != nil {
		errs = append(errs, podspec.ValidateOverhead(c.Overhead.PodFixed, field.NewPath("overhead"))...)
	}
	if s := c.Scheduling; s != nil {
		path := field.NewPath("scheduling")
		errs = append(errs, rules.Labels(s.NodeSelector, path.Child("nodeSelector"))...)
		errs = append(errs, podspec.ValidateTolerations(s.Tolerations, path.Child("tolerations"))...)
		for i := range s.Tolerations {
			for j := range i {
				if s.Tolerations[i].MatchToleration(&s.Tolerations[j]) {
					errs = append(errs, field.Duplicate(path.Child("tolerations").Index(i), rules.Internal(s.Tolerations[i])))
					break
				}
			}
		}
	}
	return errs
}

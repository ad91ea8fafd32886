// Package scheduling declares the resources of scheduling.k8s.io/v1: priority
// classes.
package scheduling

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// HighestUserPriority is the most that a class of a user's may be worth; system
// classes begin at twice that.
const (
	HighestUserPriority = 1_000_000_000
	systemPrefix        = "system-"
)

// SystemClasses are the classes that every cluster has.
func SystemClasses() []*schedulingv1.PriorityClass {
	return []*schedulingv1.PriorityClass{
		{
			ObjectMeta: metav1.ObjectMeta{Name: "system-node-critical"}, Value: 2*HighestUserPriority + 1000,
			Description: "Used for system critical pods that must not be moved from their current node.",
		},
		{
			ObjectMeta: metav1.ObjectMeta{Name: "system-cluster-critical"}, Value: 2 * HighestUserPriority,
			Description: "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
		},
	}
}

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{{
		GVK: schedulingv1.SchemeGroupVersion.WithKind("PriorityClass"), Plural: "priorityclasses", Singular: "priorityclass",
		ShortNames: []string{"pc"}, StoragePrefix: "priorityclasses",
		New: typed.New[schedulingv1.PriorityClass], NewList: typed.New[schedulingv1.PriorityClassList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(c *schedulingv1.PriorityClass) {
				if c.PreemptionPolicy == nil {
					c.PreemptionPolicy = ptr.To(corev1.PreemptLowerPriority)
				}
			}),
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) { obj.(*schedulingv1.PriorityClass).Generation = 1 },
			Validate:         typed.Validate(validateClass),
			ValidateChange: typed.Change(func(c, old *schedulingv1.PriorityClass) field.ErrorList {
				var errs field.ErrorList
				if c.Value != old.Value {
					errs = append(errs, field.Forbidden(field.NewPath("value"), "may not be changed in an update."))
				}
				return append(errs, rules.Immutable(c.PreemptionPolicy, old.PreemptionPolicy, field.NewPath("preemptionPolicy"))...)
			}),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
		},
		Table: resource.Table{Columns: classColumns(), Cells: typed.Cells(func(c *schedulingv1.PriorityClass, now time.Time) []any {
			return []any{c.Name, int64(c.Value), c.GlobalDefault, columns.Age(c.CreationTimestamp, now), string(ptr.Deref(c.PreemptionPolicy, ""))}
		})},
	}}
}

func validateClass(c *schedulingv1.PriorityClass) field.ErrorList {
	var errs field.ErrorList
	if strings.HasPrefix(c.Name, systemPrefix) {
		system := SystemClasses()
		i := slices.IndexFunc(system, func(s *schedulingv1.PriorityClass) bool { return s.Name == c.Name })
		refuse := func(why string) {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "name"),
				"priority class names with '"+systemPrefix+"' prefix are reserved for system use only. error: "+why))
		}
		switch {
		case i < 0:
			refuse(fmt.Sprintf("%v is not a known system priority class", c.Name))
		case c.Value != system[i].Value:
			refuse(fmt.Sprintf("value of %v PriorityClass must be %v", c.Name, system[i].Value))
		case c.GlobalDefault:
			refuse(fmt.Sprintf("globalDefault of %v PriorityClass must be %v", c.Name, false))
		}
	} else if c.Value > HighestUserPriority {
		errs = append(errs, field.Forbidden(field.NewPath("value"), fmt.Sprintf("maximum allowed value of a user defined priority is %v", HighestUserPriority)))
	}
	if c.PreemptionPolicy != nil {
		errs = append(errs, rules.Enum(*c.PreemptionPolicy, field.NewPath("preemptionPolicy"), corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	return errs
}

func classColumns() []metav1.TableColumnDefinition {
	doc := schedulingv1.PriorityClass{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.Integer("Value", doc["value"]), columns.Boolean("Global-Default", doc["globalDefault"]), columns.Created(),
		columns.String("PreemptionPolicy", doc["preemptionPolicy"]),
	}
}

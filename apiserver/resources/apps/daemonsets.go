package apps

import (
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func daemonSets() *resource.Resource {
	halves := typed.SpecAndStatus(func(d *appsv1.DaemonSet) (*appsv1.DaemonSetSpec, *appsv1.DaemonSetStatus) {
		return &d.Spec, &d.Status
	})
	writeStatus := halves.Status
	halves.Status = func(req resource.Request, obj, old runtime.Object) {
		writeStatus(req, obj, old)
		setTemplateGeneration(obj.(*appsv1.DaemonSet), templateGeneration(old.(*appsv1.DaemonSet)))
	}
	return &resource.Resource{
		GVK: gvk("DaemonSet"), Plural: "daemonsets", Singular: "daemonset", ShortNames: []string{"ds"},
		Categories: []string{"all"}, Namespaced: true, StoragePrefix: "daemonsets",
		New: typed.New[appsv1.DaemonSet], NewList: typed.New[appsv1.DaemonSetList],
		Strategy: resource.Strategy{
			Default: typed.Default(defaultDaemonSet),
			PrepareForCreate: func(req resource.Request, obj runtime.Object) {
				podspec.DropDisabledTemplate(&obj.(*appsv1.DaemonSet).Spec.Template, nil)
				halves.Create(req, obj)
				setTemplateGeneration(obj.(*appsv1.DaemonSet), max(1, templateGeneration(obj.(*appsv1.DaemonSet))))
			},
			PrepareForUpdate: func(req resource.Request, obj, old runtime.Object) {
				d, was := obj.(*appsv1.DaemonSet), old.(*appsv1.DaemonSet)
				podspec.DropDisabledTemplate(&d.Spec.Template, &was.Spec.Template)
				halves.Update(req, obj, old)
				n := templateGeneration(was)
				if !apiequality.Semantic.DeepEqual(d.Spec.Template, was.Spec.Template) {
					n++
				}
				setTemplateGeneration(d, n)
			},
			Validate: typed.Validate(func(d *appsv1.DaemonSet) field.ErrorList {
				return validateDaemonSet(&d.Spec, field.NewPath("spec"))
			}),
			ValidateUpdate: typed.Change(func(d, old *appsv1.DaemonSet) field.ErrorList {
				return rules.Immutable(d.Spec.Selector, old.Spec.Selector, field.NewPath("spec", "selector"))
			}),
			NameError: apivalidation.NameIsDNSSubdomain,
			Warnings: typed.Warnings(func(d, old *appsv1.DaemonSet) []string {
				if old != nil && templateGeneration(d) == templateGeneration(old) {
					return nil
				}
				return podspec.TemplateWarnings(&d.Spec.Template, field.NewPath("spec", "template"))
			}),
			AllowUnconditionalUpdate: true,
			ResetFields:              statusReset(),
		},
		Table: resource.Table{Columns: daemonSetColumns(), Cells: typed.Cells(daemonSetCells)},
		Subresources: []resource.Subresource{
			typed.StatusView(halves, func(d, old *appsv1.DaemonSet) field.ErrorList {
				return validateDaemonSetStatus(&d.Status, &old.Status, field.NewPath("status"))
			}),
		},
	}
}

// templateGeneration is what v1beta1 had as a field: how often the template has
// changed. apps/v1 shows it in an annotation.
func templateGeneration(d *appsv1.DaemonSet) int64 {
	n, err := strconv.ParseInt(d.Annotations[appsv1.DeprecatedTemplateGeneration], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func setTemplateGeneration(d *appsv1.DaemonSet, n int64) {
	if d.Annotations == nil {
		d.Annotations = map[string]string{}
	}
	d.Annotations[appsv1.DeprecatedTemplateGeneration] = strconv.FormatInt(n, 10)
}

func defaultDaemonSet(d *appsv1.DaemonSet) {
	// Whoever writes a daemon set owns the annotation, as with a field.
	setTemplateGeneration(d, templateGeneration(d))
	podspec.DefaultTemplate(&d.Spec.Template)
	s := &d.Spec.UpdateStrategy
	if s.Type == "" {
		s.Type = appsv1.RollingUpdateDaemonSetStrategyType
	}
	if s.Type == appsv1.RollingUpdateDaemonSetStrategyType {
		if s.RollingUpdate == nil {
			s.RollingUpdate = &appsv1.RollingUpdateDaemonSet{}
		}
		if s.RollingUpdate.MaxUnavailable == nil {
			s.RollingUpdate.MaxUnavailable = ptr.To(intstr.FromInt32(1))
		}
		if s.RollingUpdate.MaxSurge == nil {
			s.RollingUpdate.MaxSurge = ptr.To(intstr.FromInt32(0))
		}
	}
	if d.Spec.RevisionHistoryLimit == nil {
		d.Spec.RevisionHistoryLimit = ptr.To(int32(10))
	}
}

func validateDaemonSet(spec *appsv1.DaemonSetSpec, path *field.Path) field.ErrorList {
	at := path.Child("selector")
	errs := rules.Selector(spec.Selector, at)
	var selected func(map[string]string) bool
	// No selector selects nothing, and a broken one says nothing of the template.
	if selector, err := metav1.LabelSelectorAsSelector(spec.Selector); err == nil {
		selected = func(l map[string]string) bool { return selector.Matches(labels.Set(l)) }
	}
	if spec.Selector != nil && len(spec.Selector.MatchLabels)+len(spec.Selector.MatchExpressions) == 0 {
		errs = append(errs, field.Invalid(at, spec.Selector, "empty selector is invalid for daemonset"))
	}
	errs = append(errs, podspec.ValidateTemplateFor("DaemonSet", &spec.Template, selected, path.Child("template"))...)
	errs = append(errs, rules.NonNegative(int64(spec.MinReadySeconds), path.Child("minReadySeconds"))...)
	errs = append(errs, validateDaemonStrategy(&spec.UpdateStrategy, path.Child("updateStrategy"))...)
	if spec.RevisionHistoryLimit != nil {
		errs = append(errs, rules.NonNegative(int64(*spec.RevisionHistoryLimit), path.Child("revisionHistoryLimit"))...)
	}
	return errs
}

func validateDaemonStrategy(s *appsv1.DaemonSetUpdateStrategy, path *field.Path) field.ErrorList {
	switch s.Type {
	case appsv1.OnDeleteDaemonSetStrategyType:
		return nil
	case appsv1.RollingUpdateDaemonSetStrategyType:
		at := path.Child("rollingUpdate")
		if s.RollingUpdate == nil {
			return field.ErrorList{field.Required(at, "")}
		}
		unavailable, surge := ptr.Deref(s.RollingUpdate.MaxUnavailable, intstr.IntOrString{}), ptr.Deref(s.RollingUpdate.MaxSurge, intstr.IntOrString{})
		errs := rules.IntOrPercent(unavailable, at.Child("maxUnavailable"))
		errs = append(errs, rules.IntOrPercent(surge, at.Child("maxSurge"))...)
		errs = append(errs, rules.AtMostAll(unavailable, at.Child("maxUnavailable"))...)
		errs = append(errs, rules.AtMostAll(surge, at.Child("maxSurge"))...)
		switch {
		case rules.Amount(unavailable) != 0 && rules.Amount(surge) != 0:
			errs = append(errs, field.Invalid(at.Child("maxSurge"), surge, "may not be set when maxUnavailable is non-zero"))
		case rules.Amount(unavailable) == 0 && rules.Amount(surge) == 0:
			errs = append(errs, field.Required(at.Child("maxUnavailable"), "cannot be 0 when maxSurge is 0"))
		}
		return errs
	}
	return field.ErrorList{field.NotSupported(path, rules.Internal(s), []appsv1.DaemonSetUpdateStrategyType{appsv1.RollingUpdateDaemonSetStrategyType, appsv1.OnDeleteDaemonSetStrategyType})}
}

func validateDaemonSetStatus(s, old *appsv1.DaemonSetStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, c := range []struct {
		name  string
		value int64
	}{
		{"currentNumberScheduled", int64(s.CurrentNumberScheduled)}, {"numberMisscheduled", int64(s.NumberMisscheduled)},
		{"desiredNumberScheduled", int64(s.DesiredNumberScheduled)}, {"numberReady", int64(s.NumberReady)},
		{"observedGeneration", s.ObservedGeneration}, {"updatedNumberScheduled", int64(s.UpdatedNumberScheduled)},
		{"numberAvailable", int64(s.NumberAvailable)}, {"numberUnavailable", int64(s.NumberUnavailable)},
	} {
		errs = append(errs, rules.NonNegative(c.value, path.Child(c.name))...)
	}
	return append(errs, validateCollisions(s.CollisionCount, old.CollisionCount, path)...)
}

func daemonSetColumns() []metav1.TableColumnDefinition {
	status := appsv1.DaemonSetStatus{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(),
		columns.Integer("Desired", status["desiredNumberScheduled"]),
		columns.Integer("Current", status["currentNumberScheduled"]),
		columns.Integer("Ready", status["numberReady"]),
		columns.Integer("Up-to-date", status["updatedNumberScheduled"]),
		columns.Integer("Available", status["numberAvailable"]),
		columns.String("Node Selector", "NodeSelector is a selector which must be true for the pod to fit on a node."),
		columns.Created(),
		columns.Wide(columns.String("Containers", "Names of each container in the template.")),
		columns.Wide(columns.String("Images", "Images referenced by each container in the template.")),
		columns.Wide(columns.String("Selector", appsv1.DaemonSetSpec{}.SwaggerDoc()["selector"])),
	}
}

func daemonSetCells(d *appsv1.DaemonSet, now time.Time) []any {
	names, images := columns.Containers(d.Spec.Template.Spec.Containers)
	return []any{
		d.Name, int64(d.Status.DesiredNumberScheduled), int64(d.Status.CurrentNumberScheduled), int64(d.Status.NumberReady),
		int64(d.Status.UpdatedNumberScheduled), int64(d.Status.NumberAvailable), columns.Labels(d.Spec.Template.Spec.NodeSelector),
		columns.Age(d.CreationTimestamp, now), names, images, columns.Selector(d.Spec.Selector),
	}
}

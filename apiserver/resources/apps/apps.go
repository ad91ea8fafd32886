// Package apps declares the resources of apps/v1: deployments, replica sets,
// stateful sets, daemon sets and controller revisions.
//
// Their pod templates are checked by apiserver/resources/podspec as the pods
// are that will come of them.
package apps

import (
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{controllerRevisions(), daemonSets(), deployments(), replicaSets(), statefulSets()}
}

func gvk(kind string) schema.GroupVersionKind { return appsv1.SchemeGroupVersion.WithKind(kind) }

func statusReset() *fieldpath.Set { return fieldpath.NewSet(fieldpath.MakePathOrDie("status")) }

func specReset() *fieldpath.Set { return fieldpath.NewSet(fieldpath.MakePathOrDie("spec")) }

// validateSelectorAndTemplate checks what deployments and replica sets have alike.
func validateSelectorAndTemplate(selector *metav1.LabelSelector, template *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	return validateSelected("deployment", "ReplicaSet", selector, template, path)
}

// validateSelected checks what most workloads have: a selector that is there and
// says something, and a template whose pods it selects. Messages name the workload
// in lower case and as a kind.
func validateSelected(name, kind string, selector *metav1.LabelSelector, template *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	at := path.Child("selector")
	if selector == nil {
		errs = append(errs, field.Required(at, ""))
	} else {
		errs = append(errs, rules.Selector(selector, at)...)
		if len(selector.MatchLabels)+len(selector.MatchExpressions) == 0 {
			errs = append(errs, field.Invalid(at, selector, "empty selector is invalid for "+name))
		}
	}
	if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
		return append(errs, field.Invalid(at, selector, "invalid label selector"))
	}
	return append(errs, podspec.ValidateTemplateFor(kind, template, podspec.SelectorMatcher(selector), path.Child("template"))...)
}

// validateTerminating checks how many pods are on their way out, where that is known.
func validateTerminating(n *int32, path *field.Path) field.ErrorList {
	if n == nil {
		return nil
	}
	return rules.NonNegative(int64(*n), path.Child("terminatingReplicas"))
}

// validateCollisions: the count of hash collisions only grows.
func validateCollisions(now, old *int32, path *field.Path) field.ErrorList {
	at := path.Child("collisionCount")
	var errs field.ErrorList
	if now != nil {
		errs = rules.NonNegative(int64(*now), at)
	}
	if old != nil && ptr.Deref(now, 0) < *old {
		errs = append(errs, field.Invalid(at, ptr.Deref(now, 0), "cannot be decremented"))
	}
	return errs
}

// selectorText is a selector as a Scale shows it.
func selectorText(s *metav1.LabelSelector) (string, error) {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil {
		return "", fmt.Errorf("invalid label selector: %w", err)
	}
	return selector.String(), nil
}

// count is one number of a status.
type count struct {
	name  string
	value int32
}

// validateCounts: no number is negative, and none exceeds the first, the number
// of replicas.
func validateCounts(path *field.Path, counts ...count) field.ErrorList {
	var errs field.ErrorList
	for _, c := range counts {
		errs = append(errs, rules.NonNegative(int64(c.value), path.Child(c.name))...)
	}
	replicas := counts[0].value
	for _, c := range counts[1:] {
		if c.value > replicas {
			errs = append(errs, field.Invalid(path.Child(c.name), c.value, "cannot be greater than status.replicas"))
		}
	}
	return errs
}

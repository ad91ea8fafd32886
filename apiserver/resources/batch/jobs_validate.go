package batch

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// Bounds of indexed jobs, upstream's: what is kept about indexes must fit into a
// status.
const (
	maxIndexedParallelism = 100_000
	maxFailedIndexes      = 100_000
	limitedCompletions    = 100_000
	limitedParallelism    = 10_000
	limitedFailedIndexes  = 10_000
	maxManagedBy          = 63
)

func validateJob(j *batchv1.Job) field.ErrorList {
	errs := validateSelected(j)
	if j.Spec.Selector != nil {
		errs = append(errs, validateGenerated(j, field.NewPath("spec"))...)
	}
	return errs
}

// validateSelected checks a job but for what was generated for it, which is looked
// at once, when it is created.
func validateSelected(j *batchv1.Job) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateJobSpec(&j.Spec, path)
	if j.Spec.Selector == nil {
		errs = append(errs, field.Required(path.Child("selector"), ""))
	} else {
		errs = append(errs, rules.Selector(j.Spec.Selector, path.Child("selector"))...)
	}
	if selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !selector.Matches(labels.Set(j.Spec.Template.Labels)) {
		errs = append(errs, field.Invalid(path.Child("template", "metadata", "labels"), j.Spec.Template.Labels, "`selector` does not match template `labels`"))
	}
	if indexed(&j.Spec) && ptr.Deref(j.Spec.Completions, 0) > 0 {
		if last := fmt.Sprintf("%s-%d", j.Name, *j.Spec.Completions-1); len(validation.IsDNS1123Label(last)) > 0 {
			errs = append(errs, field.Invalid(field.NewPath("metadata").Child("name"), j.Name, fmt.Sprintf("will not able to create pod with invalid DNS label: %s", last)))
		}
	}
	return errs
}

// validateGenerated finds labels of the user's that are not those generated.
func validateGenerated(j *batchv1.Job, path *field.Path) field.ErrorList {
	if ptr.Deref(j.Spec.ManualSelector, false) {
		return nil
	}
	var errs field.ErrorList
	want := generatedLabels(j)
	at := path.Child("template", "metadata", "labels")
	for _, key := range []string{batchv1.ControllerUidLabel, batchv1.JobNameLabel, "controller-uid", "job-name"} {
		switch have, set := j.Spec.Template.Labels[key]; {
		case !set:
			errs = append(errs, field.Required(at.Key(key), fmt.Sprintf("must be '%s'", want[key])))
		case have != want[key]:
			errs = append(errs, field.Invalid(at.Key(key), j.Spec.Template.Labels, fmt.Sprintf("must be '%s'", want[key])))
		}
	}
	if selector, err := metav1.LabelSelectorAsSelector(j.Spec.Selector); err == nil && !selector.Matches(labels.Set(want)) {
		errs = append(errs, field.Invalid(path.Child("selector"), j.Spec.Selector, "`selector` not auto-generated"))
	}
	return errs
}

func indexed(s *batchv1.JobSpec) bool {
	return ptr.Deref(s.CompletionMode, "") == batchv1.IndexedCompletion
}

// validateJobSpec checks what jobs and the templates of jobs have alike.
func validateJobSpec(s *batchv1.JobSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, one := range []struct {
		name  string
		value *int32
	}{
		{"parallelism", s.Parallelism}, {"completions", s.Completions}, {"backoffLimit", s.BackoffLimit},
		{"ttlSecondsAfterFinished", s.TTLSecondsAfterFinished}, {"backoffLimitPerIndex", s.BackoffLimitPerIndex}, {"maxFailedIndexes", s.MaxFailedIndexes},
	} {
		if one.value != nil {
			errs = append(errs, rules.NonNegative(int64(*one.value), path.Child(one.name))...)
		}
	}
	if s.ActiveDeadlineSeconds != nil {
		errs = append(errs, rules.NonNegative(*s.ActiveDeadlineSeconds, path.Child("activeDeadlineSeconds"))...)
	}
	if s.MaxFailedIndexes != nil && s.BackoffLimitPerIndex == nil {
		errs = append(errs, field.Required(path.Child("backoffLimitPerIndex"), "when maxFailedIndexes is specified"))
	}
	if s.ManagedBy != nil {
		at := path.Child("managedBy")
		errs = append(errs, validation.IsDomainPrefixedPath(at, *s.ManagedBy)...)
		if len(*s.ManagedBy) > maxManagedBy {
			errs = append(errs, field.TooLong(at, "", maxManagedBy))
		}
	}
	errs = append(errs, validateCompletionMode(s, path)...)
	if s.PodFailurePolicy != nil {
		errs = append(errs, validateFailurePolicy(s, path.Child("podFailurePolicy"))...)
	}
	if s.SuccessPolicy != nil {
		errs = append(errs, validateSuccessPolicy(s, path)...)
	}
	if s.PodReplacementPolicy != nil {
		allowed := []batchv1.PodReplacementPolicy{batchv1.Failed, batchv1.TerminatingOrFailed}
		if s.PodFailurePolicy != nil {
			allowed = allowed[:1]
		}
		errs = append(errs, rules.OneOf(*s.PodReplacementPolicy, path.Child("podReplacementPolicy"), allowed...)...)
	}
	errs = append(errs, podspec.ValidateTemplate(&s.Template, path.Child("template"))...)
	switch at, policy := path.Child("template", "spec", "restartPolicy"), s.Template.Spec.RestartPolicy; {
	case policy == corev1.RestartPolicyAlways || policy == "":
		errs = append(errs, field.Required(at, fmt.Sprintf("valid values: %q, %q", corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)))
	case policy != corev1.RestartPolicyOnFailure && policy != corev1.RestartPolicyNever:
		errs = append(errs, field.NotSupported(at, policy, []corev1.RestartPolicy{corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}))
	case policy != corev1.RestartPolicyNever && s.PodFailurePolicy != nil:
		errs = append(errs, field.Invalid(at, policy, fmt.Sprintf("only %q is supported when podFailurePolicy is specified", corev1.RestartPolicyNever)))
	}
	return errs
}

func validateCompletionMode(s *batchv1.JobSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s.CompletionMode != nil {
		errs = append(errs, rules.OneOf(*s.CompletionMode, path.Child("completionMode"), batchv1.NonIndexedCompletion, batchv1.IndexedCompletion)...)
	}
	invalid := func(name string, value *int32, message string) {
		errs = append(errs, field.Invalid(path.Child(name), *value, message))
	}
	if ptr.Deref(s.CompletionMode, batchv1.NonIndexedCompletion) == batchv1.NonIndexedCompletion {
		if s.BackoffLimitPerIndex != nil {
			invalid("backoffLimitPerIndex", s.BackoffLimitPerIndex, "requires indexed completion mode")
		}
		if s.MaxFailedIndexes != nil {
			invalid("maxFailedIndexes", s.MaxFailedIndexes, "requires indexed completion mode")
		}
	}
	if !indexed(s) {
		return errs
	}
	if s.Completions == nil {
		errs = append(errs, field.Required(path.Child("completions"), fmt.Sprintf("when completion mode is %s", batchv1.IndexedCompletion)))
	}
	if ptr.Deref(s.Parallelism, 0) > maxIndexedParallelism {
		invalid("parallelism", s.Parallelism, fmt.Sprintf("must be less than or equal to %d when completion mode is %s", maxIndexedParallelism, batchv1.IndexedCompletion))
	}
	if s.Completions != nil && ptr.Deref(s.MaxFailedIndexes, 0) > *s.Completions {
		invalid("maxFailedIndexes", s.MaxFailedIndexes, "must be less than or equal to completions")
	}
	if ptr.Deref(s.MaxFailedIndexes, 0) > maxFailedIndexes {
		invalid("maxFailedIndexes", s.MaxFailedIndexes, fmt.Sprintf("must be less than or equal to %d", maxFailedIndexes))
	}
	if ptr.Deref(s.Completions, 0) > limitedCompletions && s.BackoffLimitPerIndex != nil {
		if s.MaxFailedIndexes == nil {
			errs = append(errs, field.Required(path.Child("maxFailedIndexes"), fmt.Sprintf("must be specified when completions is above %d", limitedCompletions)))
		}
		const limited = "must be less than or equal to %d when completions are above %d and used with backoff limit per index"
		if ptr.Deref(s.Parallelism, 0) > limitedParallelism {
			invalid("parallelism", s.Parallelism, fmt.Sprintf(limited, limitedParallelism, limitedCompletions))
		}
		if ptr.Deref(s.MaxFailedIndexes, 0) > limitedFailedIndexes {
			invalid("maxFailedIndexes", s.MaxFailedIndexes, fmt.Sprintf(limited, limitedFailedIndexes, limitedCompletions))
		}
	}
	return errs
}

func validateJobUpdate(j, old *batchv1.Job) field.ErrorList {
	path, now, was := field.NewPath("spec"), &j.Spec, &old.Spec
	errs := append(validateSelected(j), validateCompletionsUpdate(now, was, path)...)
	errs = append(errs, rules.Immutable(now.Selector, was.Selector, path.Child("selector"))...)
	errs = append(errs, validateJobTemplateUpdate(j, old, path.Child("template"))...)
	errs = append(errs, rules.Immutable(now.CompletionMode, was.CompletionMode, path.Child("completionMode"))...)
	errs = append(errs, rules.ImmutableInternal(now.PodFailurePolicy, was.PodFailurePolicy, path.Child("podFailurePolicy"))...)
	errs = append(errs, rules.Immutable(now.BackoffLimitPerIndex, was.BackoffLimitPerIndex, path.Child("backoffLimitPerIndex"))...)
	errs = append(errs, rules.Immutable(now.ManagedBy, was.ManagedBy, path.Child("managedBy"))...)
	return append(errs, rules.ImmutableInternal(now.SuccessPolicy, was.SuccessPolicy, path.Child("successPolicy"))...)
}

// validateCompletionsUpdate: an indexed job may grow and shrink while it runs all
// its indexes at once.
func validateCompletionsUpdate(now, was *batchv1.JobSpec, path *field.Path) field.ErrorList {
	at := path.Child("completions")
	if !indexed(now) {
		return rules.Immutable(now.Completions, was.Completions, at)
	}
	// An indexed job without completions is found fault with elsewhere.
	if apiequality.Semantic.DeepEqual(now.Completions, was.Completions) || now.Completions == nil {
		return nil
	}
	if *now.Completions != ptr.Deref(now.Parallelism, -1) {
		return field.ErrorList{field.Invalid(at, now.Completions, fmt.Sprintf("can only be modified in tandem with %s", path.Child("parallelism").String()))}
	}
	return nil
}

// validateJobTemplateUpdate: while a suspended job has no pods, where they go and
// what they need may still be changed (KEP-2926, KEP-5440).
func validateJobTemplateUpdate(j, old *batchv1.Job, path *field.Path) field.ErrorList {
	now, was := &j.Spec.Template, &old.Spec.Template
	idle := old.Status.Active == 0 && (old.Status.StartTime == nil || hasCondition(&old.Status, batchv1.JobSuspended))
	if !ptr.Deref(old.Spec.Suspend, false) || !idle {
		return rules.Immutable(*now, *was, path)
	}
	as := was.DeepCopy()
	as.Annotations, as.Labels = now.Annotations, now.Labels
	as.Spec.NodeSelector, as.Spec.Tolerations, as.Spec.SchedulingGates = now.Spec.NodeSelector, now.Spec.Tolerations, now.Spec.SchedulingGates
	switch to := now.Spec.Affinity; {
	case as.Spec.Affinity == nil && to != nil:
		as.Spec.Affinity = &corev1.Affinity{NodeAffinity: to.NodeAffinity}
	case to != nil:
		as.Spec.Affinity.NodeAffinity = to.NodeAffinity
	case as.Spec.Affinity != nil && as.Spec.Affinity.PodAffinity == nil && as.Spec.Affinity.PodAntiAffinity == nil:
		as.Spec.Affinity = nil
	}
	for i := range as.Spec.Containers {
		if i < len(now.Spec.Containers) {
			as.Spec.Containers[i].Resources = now.Spec.Containers[i].Resources
		}
	}
	for i := range as.Spec.InitContainers {
		if i < len(now.Spec.InitContainers) {
			as.Spec.InitContainers[i].Resources = now.Spec.InitContainers[i].Resources
		}
	}
	if errs := rules.Immutable(now.Spec, as.Spec, path.Child("spec")); len(errs) > 0 {
		return errs
	}
	return rules.Immutable(*now, *as, path)
}

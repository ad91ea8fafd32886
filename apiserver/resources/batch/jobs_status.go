package batch

import (
	"fmt"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// A job may be run by a controller that is not the control plane's (managedBy), and
// what clients rely on must hold of it too: what is finished stays finished, counts do
// not fall, conditions agree. Most rules are checked only where what they are about
// changed, so that a status which breaks one can still be written in other parts
// (KEP-4368).
func validateJobStatus(j, old *batchv1.Job, path *field.Path) field.ErrorList {
	s := &j.Status
	var errs field.ErrorList
	for _, one := range []struct {
		name  string
		value int32
	}{
		{"active", s.Active}, {"succeeded", s.Succeeded}, {"failed", s.Failed},
		{"ready", ptr.Deref(s.Ready, 0)}, {"terminating", ptr.Deref(s.Terminating, 0)},
	} {
		errs = append(errs, rules.NonNegative(int64(one.value), path.Child(one.name))...)
	}
	errs = append(errs, validateUncounted(s.UncountedTerminatedPods, path.Child("uncountedTerminatedPods"))...)
	errs = append(errs, validateJobConditions(j, old, path.Child("conditions"))...)
	errs = append(errs, validateJobTimes(j, old, path)...)
	errs = append(errs, validateFinished(j, old, path)...)
	errs = append(errs, validateIndexes(j, old, path)...)
	if (!ptr.Equal(s.Ready, old.Status.Ready) || s.Active != old.Status.Active) && ptr.Deref(s.Ready, 0) > s.Active {
		errs = append(errs, field.Invalid(path.Child("ready"), *s.Ready, "cannot set more ready pods than active"))
	}
	return append(errs, validateJobCounters(j, old, path)...)
}

func validateUncounted(pods *batchv1.UncountedTerminatedPods, path *field.Path) field.ErrorList {
	if pods == nil {
		return nil
	}
	var errs field.ErrorList
	seen := map[types.UID]bool{}
	check := func(uids []types.UID, path *field.Path) {
		for i, uid := range uids {
			switch {
			case uid == "":
				errs = append(errs, field.Invalid(path.Index(i), uid, "must not be empty"))
			case seen[uid]:
				errs = append(errs, field.Duplicate(path.Index(i), uid))
			default:
				seen[uid] = true
			}
		}
	}
	check(pods.Succeeded, path.Child("succeeded"))
	check(pods.Failed, path.Child("failed"))
	return errs
}

// state is what the conditions of a job say.
type state struct{ complete, failed, failing, succeeding bool }

func stateOf(s *batchv1.JobStatus) state {
	return state{
		complete: hasCondition(s, batchv1.JobComplete), failed: hasCondition(s, batchv1.JobFailed),
		failing: hasCondition(s, batchv1.JobFailureTarget), succeeding: hasCondition(s, batchv1.JobSuccessCriteriaMet),
	}
}

func (s state) finished() bool { return s.complete || s.failed }

func validateJobConditions(j, old *batchv1.Job, path *field.Path) field.ErrorList {
	now, was := stateOf(&j.Status), stateOf(&old.Status)
	completeChanged, failedChanged := now.complete != was.complete, now.failed != was.failed
	failingChanged, succeedingChanged := now.failing != was.failing, now.succeeding != was.succeeding
	var errs field.ErrorList
	for _, rule := range []struct {
		broken  bool
		message string
	}{
		{(completeChanged || failedChanged) && now.complete && now.failed, "cannot set Complete=True and Failed=true conditions"},
		{(completeChanged || failingChanged) && now.complete && now.failing, "cannot set Complete=True and FailureTarget=true conditions"},
		{(failedChanged || failingChanged) && now.failed && !now.failing, "cannot set Failed=True condition without the FailureTarget=true condition"},
		{(completeChanged || succeedingChanged) && now.complete && !now.succeeding, "cannot set Complete=True condition without the SuccessCriteriaMet=true condition"},
		{now.succeeding && now.failed, "cannot set Failed=True and SuccessCriteriaMet=true conditions"},
		{now.succeeding && now.failing, "cannot set FailureTarget=True and SuccessCriteriaMet=true conditions"},
		{j.Spec.SuccessPolicy != nil && !now.succeeding && now.complete, "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=true"},
		{was.failed && !now.failed, "cannot disable the terminal Failed=True condition"},
		{was.complete && !now.complete, "cannot disable the terminal Complete=True condition"},
		{was.failing && !now.failing, "cannot disable the terminal FailureTarget=True condition"},
		{was.succeeding && !now.succeeding, "cannot disable the SuccessCriteriaMet=True condition"},
		{was.complete && !was.succeeding && now.succeeding, "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions"},
		{was.failed && !was.succeeding && now.succeeding, "cannot set SuccessCriteriaMet=True for Job already has Failed=true conditions"},
	} {
		if rule.broken {
			errs = append(errs, field.Invalid(path, field.OmitValueType{}, rule.message))
		}
	}
	return errs
}

func validateJobTimes(j, old *batchv1.Job, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	s, was := &j.Status, &old.Status
	now, before := stateOf(s), stateOf(was)
	startChanged := !s.StartTime.Equal(was.StartTime)
	endChanged := !s.CompletionTime.Equal(was.CompletionTime)
	end := path.Child("completionTime")
	if now.complete != before.complete || endChanged {
		if s.CompletionTime != nil && !now.complete {
			errs = append(errs, field.Invalid(end, s.CompletionTime, "cannot set completionTime when there is no Complete=True condition"))
		}
		if s.CompletionTime == nil && now.complete {
			errs = append(errs, field.Required(end, "completionTime is required for Complete jobs"))
		}
	}
	if (startChanged || endChanged) && s.StartTime != nil && s.CompletionTime != nil && s.CompletionTime.Before(s.StartTime) {
		errs = append(errs, field.Invalid(end, s.CompletionTime, "completionTime cannot be set before startTime"))
	}
	if s.CompletionTime != nil && was.CompletionTime != nil && endChanged {
		errs = append(errs, field.Invalid(end, s.CompletionTime, "field is immutable"))
	}
	if startChanged && was.StartTime != nil && !ptr.Deref(j.Spec.Suspend, false) {
		errs = append(errs, field.Required(path.Child("startTime"), "startTime cannot be removed for unsuspended job"))
	}
	return errs
}

// validateFinished: nothing of a job that is finished runs any more, and all of it is
// counted.
func validateFinished(j, old *batchv1.Job, path *field.Path) field.ErrorList {
	s, was := &j.Status, &old.Status
	finished := stateOf(s).finished()
	if !finished {
		return nil
	}
	var errs field.ErrorList
	changed := !stateOf(was).finished()
	if (changed || s.Active != was.Active) && s.Active > 0 {
		errs = append(errs, field.Invalid(path.Child("active"), s.Active, "active>0 is invalid for finished job"))
	}
	// A suspended job of nothing is complete without having begun.
	nothing := ptr.Deref(j.Spec.Suspend, false) && j.Spec.Completions != nil && *j.Spec.Completions == 0
	if (changed || !s.StartTime.Equal(was.StartTime)) && s.StartTime == nil && !nothing {
		errs = append(errs, field.Required(path.Child("startTime"), "startTime is required for finished job"))
	}
	if u := s.UncountedTerminatedPods; (changed || !apiequality.Semantic.DeepEqual(u, was.UncountedTerminatedPods)) && u != nil && len(u.Failed)+len(u.Succeeded) > 0 {
		errs = append(errs, field.Invalid(path.Child("uncountedTerminatedPods"), u, "uncountedTerminatedPods needs to be empty for finished job"))
	}
	if (changed || !ptr.Equal(s.Terminating, was.Terminating)) && ptr.Deref(s.Terminating, 0) > 0 {
		errs = append(errs, field.Invalid(path.Child("terminating"), *s.Terminating, "terminating>0 is invalid for finished job"))
	}
	return errs
}

func validateIndexes(j, old *batchv1.Job, path *field.Path) field.ErrorList {
	s, was := &j.Status, &old.Status
	var errs field.ErrorList
	completed, failed := path.Child("completedIndexes"), path.Child("failedIndexes")
	completedChanged, failedChanged := s.CompletedIndexes != was.CompletedIndexes, !ptr.Equal(s.FailedIndexes, was.FailedIndexes)
	if completedChanged {
		if j.Spec.Completions != nil {
			if _, err := countIndexes(s.CompletedIndexes, *j.Spec.Completions); err != nil {
				errs = append(errs, field.Invalid(completed, s.CompletedIndexes, fmt.Sprintf("error parsing completedIndexes: %s", err.Error())))
			}
		}
		if s.CompletedIndexes != "" && !indexed(&j.Spec) {
			errs = append(errs, field.Invalid(completed, s.CompletedIndexes, "cannot set non-empty completedIndexes when non-indexed completion mode"))
		}
	}
	if failedChanged && s.FailedIndexes != nil {
		if j.Spec.Completions != nil && j.Spec.BackoffLimitPerIndex != nil {
			if _, err := countIndexes(*s.FailedIndexes, *j.Spec.Completions); err != nil {
				errs = append(errs, field.Invalid(failed, *s.FailedIndexes, fmt.Sprintf("error parsing failedIndexes: %s", err.Error())))
			}
		}
		if j.Spec.BackoffLimitPerIndex == nil {
			errs = append(errs, field.Invalid(failed, *s.FailedIndexes, "cannot set non-null failedIndexes when backoffLimitPerIndex is null"))
		}
	}
	if (completedChanged || failedChanged) && s.FailedIndexes != nil && j.Spec.Completions != nil {
		if one, both := commonIndex(s.CompletedIndexes, *s.FailedIndexes, *j.Spec.Completions); both {
			errs = append(errs, field.Invalid(failed, *s.FailedIndexes, fmt.Sprintf("failedIndexes and completedIndexes overlap at index: %d", one)))
		}
	}
	return errs
}

// validateJobCounters: what is counted once is not taken back, but where an indexed
// job is made smaller.
func validateJobCounters(j, old *batchv1.Job, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if j.Status.Failed < old.Status.Failed {
		errs = append(errs, field.Invalid(path.Child("failed"), j.Status.Failed, "cannot decrease the failed counter"))
	}
	elastic := indexed(&j.Spec) && ptr.Equal(j.Spec.Completions, j.Spec.Parallelism)
	if !elastic && j.Status.Succeeded < old.Status.Succeeded {
		errs = append(errs, field.Invalid(path.Child("succeeded"), j.Status.Succeeded, "cannot decrease the succeeded counter"))
	}
	return errs
}

func hasCondition(s *batchv1.JobStatus, of batchv1.JobConditionType) bool {
	for _, c := range s.Conditions {
		if c.Type == of {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

package batch

import (
	"fmt"
	"math"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func jobs() *resource.Resource {
	halves := typed.SpecAndStatus(func(j *batchv1.Job) (*batchv1.JobSpec, *batchv1.JobStatus) { return &j.Spec, &j.Status })
	return &resource.Resource{
		GVK: gvk("Job"), Plural: "jobs", Singular: "job", Categories: []string{"all"}, Namespaced: true, StoragePrefix: "jobs",
		New: typed.New[batchv1.Job], NewList: typed.New[batchv1.JobList],
		Strategy: resource.Strategy{
			Default: typed.Default(defaultJob),
			PrepareForCreate: func(req resource.Request, obj runtime.Object) {
				dropDisabled(&obj.(*batchv1.Job).Spec, nil)
				halves.Create(req, obj)
				generateSelector(obj.(*batchv1.Job))
			},
			PrepareForUpdate: func(req resource.Request, obj, old runtime.Object) {
				dropDisabled(&obj.(*batchv1.Job).Spec, &old.(*batchv1.Job).Spec)
				halves.Update(req, obj, old)
			},
			Validate:       typed.Validate(validateJob),
			ValidateChange: typed.Change(validateJobUpdate),
			NameError:      apivalidation.NameIsDNSSubdomain,
			Warnings: typed.Warnings(func(j, old *batchv1.Job) []string {
				var out []string
				if old != nil && j.Generation == old.Generation {
					return nil
				}
				if messages := validation.IsDNS1123Label(j.Name); len(messages) > 0 && old == nil {
					out = append(out, fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", messages))
				}
				return append(out, jobWarnings(&j.Spec, field.NewPath("spec"))...)
			}),
			AllowUnconditionalUpdate: true,
			// Jobs leave their pods behind, so that what they said can be read.
			DefaultPropagation: metav1.DeletePropagationOrphan,
			ResetFields:        typed.Reset("status"),
		},
		Table: resource.Table{Columns: jobColumns(), Cells: typed.Cells(jobCells)},
		SelectableFields: typed.Fields(func(j *batchv1.Job) fields.Set {
			return fields.Set{"status.successful": strconv.Itoa(int(j.Status.Succeeded))}
		}),
		Subresources: []resource.Subresource{typed.StatusView(halves, func(j, old *batchv1.Job) field.ErrorList {
			return validateJobStatus(j, old, field.NewPath("status"))
		})},
	}
}

// dropDisabled clears what v1.37 does not serve by default; old is nil on create.
func dropDisabled(s, old *batchv1.JobSpec) {
	var was *corev1.PodTemplateSpec
	if old != nil {
		was = &old.Template
	}
	podspec.DropDisabledTemplate(&s.Template, was)
	if s.Scheduling != nil && (old == nil || old.Scheduling == nil) {
		s.Scheduling = nil
	}
}

func defaultJob(j *batchv1.Job) {
	s := &j.Spec
	podspec.DefaultTemplate(&s.Template)
	if s.Completions == nil && s.Parallelism == nil {
		s.Completions = ptr.To(int32(1))
	}
	setDefault(&s.Parallelism, 1)
	if s.BackoffLimitPerIndex != nil {
		setDefault(&s.BackoffLimit, math.MaxInt32)
	}
	setDefault(&s.BackoffLimit, 6)
	if s.Template.Labels != nil && len(j.Labels) == 0 {
		// One map, as with upstream: what is generated for the pods is the job's too.
		j.Labels = s.Template.Labels
	}
	setDefault(&s.CompletionMode, batchv1.NonIndexedCompletion)
	setDefault(&s.Suspend, false)
	setDefault(&s.ManualSelector, false)
	if s.PodFailurePolicy == nil {
		setDefault(&s.PodReplacementPolicy, batchv1.TerminatingOrFailed)
		return
	}
	setDefault(&s.PodReplacementPolicy, batchv1.Failed)
	defaultConditions(s.PodFailurePolicy)
}

// defaultConditions: a condition that a rule looks for is one that is true.
func defaultConditions(p *batchv1.PodFailurePolicy) {
	if p == nil {
		return
	}
	for i := range p.Rules {
		for k := range p.Rules[i].OnPodConditions {
			if c := &p.Rules[i].OnPodConditions[k]; c.Status == "" {
				c.Status = corev1.ConditionTrue
			}
		}
	}
}

func setDefault[T any](field **T, value T) {
	if *field == nil {
		*field = ptr.To(value)
	}
}

// generatedLabels are what tells a job's pods from those of others: the names with
// the group's prefix, and those of before it had one.
func generatedLabels(j *batchv1.Job) map[string]string {
	const oldUID, oldName = "controller-uid", "job-name"
	return map[string]string{
		oldUID: string(j.UID), batchv1.ControllerUidLabel: string(j.UID), oldName: j.Name, batchv1.JobNameLabel: j.Name,
	}
}

// generateSelector makes a job select its own pods and no others, unless the user
// wants to see to that.
func generateSelector(j *batchv1.Job) {
	if ptr.Deref(j.Spec.ManualSelector, false) {
		return
	}
	if j.Spec.Template.Labels == nil {
		j.Spec.Template.Labels = map[string]string{}
	}
	for key, value := range generatedLabels(j) {
		if _, set := j.Spec.Template.Labels[key]; !set {
			j.Spec.Template.Labels[key] = value
		}
	}
	if len(j.Labels) == 0 {
		// As reading it from the store would say.
		j.Labels = j.Spec.Template.Labels
	}
	if j.Spec.Selector == nil {
		j.Spec.Selector = &metav1.LabelSelector{}
	}
	if j.Spec.Selector.MatchLabels == nil {
		j.Spec.Selector.MatchLabels = map[string]string{}
	}
	if _, set := j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel]; !set {
		j.Spec.Selector.MatchLabels[batchv1.ControllerUidLabel] = string(j.UID)
	}
}

func jobWarnings(s *batchv1.JobSpec, path *field.Path) []string {
	var out []string
	if ptr.Deref(s.CompletionMode, "") == batchv1.IndexedCompletion && ptr.Deref(s.Completions, 0) > limitedCompletions &&
		ptr.Deref(s.Parallelism, 0) > limitedParallelism {
		out = append(out, "In Indexed Jobs with a number of completions higher than 10^5 and a parallelism higher than 10^4, Kubernetes might not be able to track completedIndexes when a big number of indexes fail")
	}
	return append(out, podspec.TemplateWarnings(&s.Template, path.Child("template"))...)
}

func jobColumns() []metav1.TableColumnDefinition {
	status := batchv1.JobStatus{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Status", "Status of the job."), columns.String("Completions", status["succeeded"]),
		columns.String("Duration", "Time required to complete the job."), columns.Created(),
		columns.Wide(columns.String("Containers", "Names of each container in the template.")),
		columns.Wide(columns.String("Images", "Images referenced by each container in the template.")),
		columns.Wide(columns.String("Selector", batchv1.JobSpec{}.SwaggerDoc()["selector"])),
	}
}

func jobCells(j *batchv1.Job, now time.Time) []any {
	names, images := columns.Containers(j.Spec.Template.Spec.Containers)
	return []any{
		j.Name, jobState(j), jobCompletions(j), jobDuration(j, now), columns.Age(j.CreationTimestamp, now), names, images, columns.Selector(j.Spec.Selector),
	}
}

func jobState(j *batchv1.Job) string {
	switch {
	case hasCondition(&j.Status, batchv1.JobComplete):
		return "Complete"
	case hasCondition(&j.Status, batchv1.JobFailed):
		return "Failed"
	case j.DeletionTimestamp != nil:
		return "Terminating"
	case hasCondition(&j.Status, batchv1.JobSuspended):
		return "Suspended"
	case hasCondition(&j.Status, batchv1.JobFailureTarget):
		return "FailureTarget"
	case hasCondition(&j.Status, batchv1.JobSuccessCriteriaMet):
		return "SuccessCriteriaMet"
	}
	return "Running"
}

func jobCompletions(j *batchv1.Job) string {
	switch parallel := ptr.Deref(j.Spec.Parallelism, 0); {
	case j.Spec.Completions != nil:
		return fmt.Sprintf("%d/%d", j.Status.Succeeded, *j.Spec.Completions)
	case parallel > 1:
		return fmt.Sprintf("%d/1 of %d", j.Status.Succeeded, parallel)
	}
	return fmt.Sprintf("%d/1", j.Status.Succeeded)
}

func jobDuration(j *batchv1.Job, now time.Time) string {
	switch start, end := j.Status.StartTime, j.Status.CompletionTime; {
	case start == nil:
		return ""
	case end == nil:
		return duration.HumanDuration(now.Sub(start.Time))
	default:
		return duration.HumanDuration(end.Sub(start.Time))
	}
}

package batch

import (
	"fmt"
	"strings"
	"time"
	_ "time/tzdata" // schedules name time zones, and machines may lack the database

	"github.com/robfig/cron/v3"
	batchv1 "k8s.io/api/batch/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func cronJobs() *resource.Resource {
	halves := typed.SpecAndStatus(func(c *batchv1.CronJob) (*batchv1.CronJobSpec, *batchv1.CronJobStatus) { return &c.Spec, &c.Status })
	return &resource.Resource{
		GVK: gvk("CronJob"), Plural: "cronjobs", Singular: "cronjob", ShortNames: []string{"cj"}, Categories: []string{"all"},
		Namespaced: true, StoragePrefix: "cronjobs",
		New: typed.New[batchv1.CronJob], NewList: typed.New[batchv1.CronJobList],
		Strategy: resource.Strategy{
			Default: typed.Default(defaultCronJob),
			PrepareForCreate: func(req resource.Request, obj runtime.Object) {
				dropDisabled(&obj.(*batchv1.CronJob).Spec.JobTemplate.Spec, nil)
				halves.Create(req, obj)
			},
			PrepareForUpdate: func(req resource.Request, obj, old runtime.Object) {
				dropDisabled(&obj.(*batchv1.CronJob).Spec.JobTemplate.Spec, &old.(*batchv1.CronJob).Spec.JobTemplate.Spec)
				halves.Update(req, obj, old)
			},
			Validate: typed.Validate(func(c *batchv1.CronJob) field.ErrorList {
				return append(validateCronJob(c), cronNameErrors(c.Name)...)
			}),
			// A schedule that names its zone itself was allowed once, and stays so for
			// those that have one.
			ValidateChange: typed.Change(func(c, old *batchv1.CronJob) field.ErrorList {
				if zoned(old.Spec.Schedule) && c.Spec.Schedule == old.Spec.Schedule && c.Spec.TimeZone == nil {
					plain := c.DeepCopy()
					plain.Spec.Schedule = withoutZone(c.Spec.Schedule)
					return validateCronJob(plain)
				}
				return validateCronJob(c)
			}),
			NameError: apivalidation.NameIsDNSSubdomain,
			Warnings: typed.Warnings(func(c, old *batchv1.CronJob) []string {
				var out []string
				if old == nil {
					if messages := validation.IsDNS1123Label(c.Name); len(messages) > 0 {
						out = append(out, fmt.Sprintf("metadata.name: this is used in Pod names and hostnames, which can result in surprising behavior; a DNS label is recommended: %v", messages))
					}
				} else if c.Generation == old.Generation {
					return nil
				}
				if zoned(c.Spec.Schedule) {
					out = append(out, fmt.Sprintf("cannot use %s or %s in %s, use %s instead", "TZ", "CRON_TZ", "spec.schedule", "spec.timeZone"))
				}
				return append(out, jobWarnings(&c.Spec.JobTemplate.Spec, field.NewPath("spec", "jobTemplate", "spec"))...)
			}),
			AllowUnconditionalUpdate: true,
			ResetFields:              typed.Reset("status"),
		},
		Table:        resource.Table{Columns: cronColumns(), Cells: typed.Cells(cronCells)},
		Subresources: []resource.Subresource{typed.StatusView[*batchv1.CronJob](halves, nil)},
	}
}

func defaultCronJob(c *batchv1.CronJob) {
	s := &c.Spec
	podspec.DefaultTemplate(&s.JobTemplate.Spec.Template)
	defaultConditions(s.JobTemplate.Spec.PodFailurePolicy)
	if s.ConcurrencyPolicy == "" {
		s.ConcurrencyPolicy = batchv1.AllowConcurrent
	}
	setDefault(&s.Suspend, false)
	setDefault(&s.SuccessfulJobsHistoryLimit, 3)
	setDefault(&s.FailedJobsHistoryLimit, 1)
}

// maxCronName leaves room for the eleven characters that a job's name adds.
const maxCronName = 52

func cronNameErrors(name string) field.ErrorList {
	if len(name) > maxCronName {
		return field.ErrorList{field.Invalid(field.NewPath("metadata").Child("name"), name, "must be no more than 52 characters")}
	}
	return nil
}

func validateCronJob(c *batchv1.CronJob) field.ErrorList {
	path, s := field.NewPath("spec"), &c.Spec
	errs := validateSchedule(s, path)
	if s.StartingDeadlineSeconds != nil {
		errs = append(errs, rules.NonNegative(*s.StartingDeadlineSeconds, path.Child("startingDeadlineSeconds"))...)
	}
	errs = append(errs, rules.Enum(s.ConcurrencyPolicy, path.Child("concurrencyPolicy"),
		batchv1.AllowConcurrent, batchv1.ForbidConcurrent, batchv1.ReplaceConcurrent)...)
	job := path.Child("jobTemplate", "spec")
	errs = append(errs, validateJobSpec(&s.JobTemplate.Spec, job)...)
	if s.JobTemplate.Spec.Selector != nil {
		errs = append(errs, field.Invalid(job.Child("selector"), s.JobTemplate.Spec.Selector, "`selector` will be auto-generated"))
	}
	if ptr.Deref(s.JobTemplate.Spec.ManualSelector, false) {
		errs = append(errs, field.NotSupported(job.Child("manualSelector"), *s.JobTemplate.Spec.ManualSelector, []string{"nil", "false"}))
	}
	for _, one := range []struct {
		name  string
		value *int32
	}{{"successfulJobsHistoryLimit", s.SuccessfulJobsHistoryLimit}, {"failedJobsHistoryLimit", s.FailedJobsHistoryLimit}} {
		if one.value != nil {
			errs = append(errs, rules.NonNegative(int64(*one.value), path.Child(one.name))...)
		}
	}
	return errs
}

// maxSchedule bounds what is parsed, in bytes; no schedule of any use is longer.
const maxSchedule = 1024

func validateSchedule(s *batchv1.CronJobSpec, path *field.Path) field.ErrorList {
	at := path.Child("schedule")
	var errs field.ErrorList
	switch {
	case s.Schedule == "":
		errs = append(errs, field.Required(at, ""))
	case len(s.Schedule) > maxSchedule:
		errs = append(errs, field.TooLong(at, "", maxSchedule))
	case zoned(s.Schedule):
		errs = append(errs, field.Invalid(at, s.Schedule, "cannot use TZ or CRON_TZ in schedule, use timeZone field instead"))
	default:
		if _, err := cron.ParseStandard(s.Schedule); err != nil {
			errs = append(errs, field.Invalid(at, s.Schedule, err.Error()))
		}
	}
	zone := path.Child("timeZone")
	switch {
	case s.TimeZone == nil:
	case *s.TimeZone == "":
		errs = append(errs, field.Invalid(zone, s.TimeZone, "timeZone must be nil or non-empty string"))
	case strings.EqualFold(*s.TimeZone, "Local"):
		errs = append(errs, field.Invalid(zone, s.TimeZone, "timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones"))
	default:
		if _, err := time.LoadLocation(*s.TimeZone); err != nil {
			errs = append(errs, field.Invalid(zone, s.TimeZone, err.Error()))
		}
	}
	return errs
}

func zoned(schedule string) bool { return strings.Contains(schedule, "TZ") }

func withoutZone(schedule string) string {
	if _, rest, ok := strings.Cut(schedule, " "); ok {
		return strings.TrimSpace(rest)
	}
	return schedule
}

func cronColumns() []metav1.TableColumnDefinition {
	spec, status := batchv1.CronJobSpec{}.SwaggerDoc(), batchv1.CronJobStatus{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Schedule", spec["schedule"]), columns.String("Timezone", spec["timeZone"]),
		columns.Boolean("Suspend", spec["suspend"]), columns.Integer("Active", status["active"]),
		columns.String("Last Schedule", status["lastScheduleTime"]), columns.Created(),
		columns.Wide(columns.String("Containers", "Names of each container in the template.")),
		columns.Wide(columns.String("Images", "Images referenced by each container in the template.")),
		columns.Wide(columns.String("Selector", batchv1.JobSpec{}.SwaggerDoc()["selector"])),
	}
}

func cronCells(c *batchv1.CronJob, now time.Time) []any {
	last := "<none>"
	if c.Status.LastScheduleTime != nil {
		last = columns.Age(*c.Status.LastScheduleTime, now)
	}
	names, images := columns.Containers(c.Spec.JobTemplate.Spec.Template.Spec.Containers)
	return []any{
		c.Name, c.Spec.Schedule, ptr.Deref(c.Spec.TimeZone, "<none>"), printBool(c.Spec.Suspend),
		int64(len(c.Status.Active)), last, columns.Age(c.CreationTimestamp, now), names, images, columns.Selector(c.Spec.JobTemplate.Spec.Selector),
	}
}

// printBool is a flag in the words of kubectl's column.
func printBool(b *bool) string {
	if ptr.Deref(b, false) {
		return "True"
	}
	return "False"
}

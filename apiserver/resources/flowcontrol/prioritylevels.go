package flowcontrol

import (
	"fmt"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/api/flowcontrol/v1beta3"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/util/shufflesharding"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// What a limited level gets that says nothing.
const (
	defaultShares      = 30
	defaultQueues      = 64
	defaultHandSize    = 8
	defaultQueueLength = 50
)

const maxQueues = 10_000_000

func priorityLevels() *resource.Resource {
	halves := typed.SpecAndStatus(func(l *flowcontrolv1.PriorityLevelConfiguration) (*flowcontrolv1.PriorityLevelConfigurationSpec, *flowcontrolv1.PriorityLevelConfigurationStatus) {
		return &l.Spec, &l.Status
	})
	return &resource.Resource{
		GVK: gvk("PriorityLevelConfiguration"), Plural: "prioritylevelconfigurations", Singular: "prioritylevelconfiguration",
		StoragePrefix: "prioritylevelconfigurations",
		New:           typed.New[flowcontrolv1.PriorityLevelConfiguration], NewList: typed.New[flowcontrolv1.PriorityLevelConfigurationList],
		Strategy: resource.Strategy{
			Default:                  typed.Default(defaultLevel),
			PrepareForCreate:         halves.Create,
			PrepareForUpdate:         halves.Update,
			Validate:                 typed.Validate(validateLevel),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
			ResetFields:              typed.Reset("status"),
		},
		Table: resource.Table{Columns: levelColumns(), Cells: typed.Cells(levelCells)},
		Subresources: []resource.Subresource{statusView(
			func(l, old *flowcontrolv1.PriorityLevelConfiguration) {
				l.ObjectMeta, l.Spec = old.ObjectMeta, old.Spec
			},
			func(l, _ *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
				var errs field.ErrorList
				seen := map[flowcontrolv1.PriorityLevelConfigurationConditionType]bool{}
				for i, c := range l.Status.Conditions {
					errs = append(errs, condition(c.Type, seen, field.NewPath("status", "conditions").Index(i))...)
				}
				return errs
			},
		)},
	}
}

func defaultLevel(l *flowcontrolv1.PriorityLevelConfiguration) {
	or := func(p **int32, value int32) {
		if *p == nil {
			*p = ptr.To(value)
		}
	}
	if e := l.Spec.Exempt; e != nil {
		or(&e.NominalConcurrencyShares, 0)
		or(&e.LendablePercent, 0)
	}
	limited := l.Spec.Limited
	if limited == nil {
		return
	}
	or(&limited.NominalConcurrencyShares, defaultShares)
	or(&limited.LendablePercent, 0)
	if q := limited.LimitResponse.Queuing; q != nil {
		if q.Queues == 0 {
			q.Queues = defaultQueues
		}
		if q.HandSize == 0 {
			q.HandSize = defaultHandSize
		}
		if q.QueueLengthLimit == 0 {
			q.QueueLengthLimit = defaultQueueLength
		}
	}
}

func validateLevel(l *flowcontrolv1.PriorityLevelConfiguration) field.ErrorList {
	var errs field.ErrorList
	if key := v1beta3.PriorityLevelPreserveZeroConcurrencySharesKey; l.Annotations != nil {
		if _, ok := l.Annotations[key]; ok {
			errs = append(errs, field.Forbidden(field.NewPath("metadata", "annotations"), fmt.Sprintf("annotation '%s' is forbidden", key)))
		}
	}
	path := field.NewPath("spec")
	errs = append(errs, validateLevelSpec(l.Name, &l.Spec, path)...)
	fixed := mandatoryLevel(l.Name)
	if fixed == nil {
		return errs
	}
	have, message := l.Spec, "spec of '%s' must equal the fixed value"
	if l.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt {
		have.Exempt, message = fixed.Spec.Exempt, "spec of '%s' except the 'spec.exempt' field must equal the fixed value"
	}
	if !apiequality.Semantic.DeepEqual(have, fixed.Spec) {
		errs = append(errs, field.Invalid(path, l.Spec, fmt.Sprintf(message, l.Name)))
	}
	return errs
}

func validateLevelSpec(name string, spec *flowcontrolv1.PriorityLevelConfigurationSpec, path *field.Path) field.ErrorList {
	const exempt, limited = flowcontrolv1.PriorityLevelEnablementExempt, flowcontrolv1.PriorityLevelEnablementLimited
	var errs field.ErrorList
	if (name == flowcontrolv1.PriorityLevelConfigurationNameExempt) != (spec.Type == exempt) {
		errs = append(errs, field.Invalid(path.Child("type"), spec.Type, "must be 'Exempt' if and only if `name` is 'exempt'"))
	}
	errs = append(errs, validateUnions(spec, path)...)
	switch spec.Type {
	case exempt:
		if e := spec.Exempt; e != nil {
			errs = append(errs, validateShares(e.NominalConcurrencyShares, path.Child("exempt"))...)
			errs = append(errs, validatePercent(e.LendablePercent, path.Child("exempt"))...)
		}
	case limited:
		if spec.Limited != nil {
			errs = append(errs, validateLimited(spec.Limited, path.Child("limited"))...)
		}
	default:
		errs = append(errs, rules.Enum(spec.Type, path.Child("type"), exempt, limited)...)
	}
	return errs
}

// validateUnions: each type has the one member that is its own; an exempt level's
// may be left out.
func validateUnions(spec *flowcontrolv1.PriorityLevelConfigurationSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if spec.Exempt != nil && spec.Type != flowcontrolv1.PriorityLevelEnablementExempt {
		errs = append(errs, field.Forbidden(path.Child("exempt"), ""))
	}
	at := path.Child("limited")
	switch is := spec.Type == flowcontrolv1.PriorityLevelEnablementLimited; {
	case is && spec.Limited == nil:
		errs = append(errs, field.Required(at, ""))
	case !is && spec.Limited != nil:
		errs = append(errs, field.Forbidden(at, ""))
	}
	if spec.Limited == nil {
		return errs
	}
	response := &spec.Limited.LimitResponse
	if response.Type == "" {
		errs = append(errs, field.Required(at.Child("limitResponse", "type"), ""))
	}
	at = at.Child("limitResponse", "queuing")
	switch is := response.Type == flowcontrolv1.LimitResponseTypeQueue; {
	case is && response.Queuing == nil:
		errs = append(errs, field.Required(at, ""))
	case !is && response.Queuing != nil:
		errs = append(errs, field.Forbidden(at, ""))
	}
	return errs
}

func validateShares(shares *int32, path *field.Path) field.ErrorList {
	if n := ptr.Deref(shares, 0); n < 0 {
		return field.ErrorList{field.Invalid(path.Child("nominalConcurrencyShares"), n, "must be a non-negative integer")}
	}
	return nil
}

func validatePercent(percent *int32, path *field.Path) field.ErrorList {
	if n := ptr.Deref(percent, 0); n < 0 || n > 100 {
		return field.ErrorList{field.Invalid(path.Child("lendablePercent"), n, "must be between 0 and 100, inclusive")}
	}
	return nil
}

func validateLimited(l *flowcontrolv1.LimitedPriorityLevelConfiguration, path *field.Path) field.ErrorList {
	errs := validateShares(l.NominalConcurrencyShares, path)
	response, queuing := path.Child("limitResponse"), path.Child("limitResponse", "queuing")
	switch r := l.LimitResponse; r.Type {
	case flowcontrolv1.LimitResponseTypeReject:
	case flowcontrolv1.LimitResponseTypeQueue:
		if r.Queuing != nil {
			errs = append(errs, validateQueuing(r.Queuing, queuing)...)
		}
	default:
		errs = append(errs, rules.Enum(r.Type, response.Child("type"), flowcontrolv1.LimitResponseTypeQueue, flowcontrolv1.LimitResponseTypeReject)...)
	}
	errs = append(errs, validatePercent(l.LendablePercent, path)...)
	if n := ptr.Deref(l.BorrowingLimitPercent, 0); n < 0 {
		errs = append(errs, field.Invalid(path.Child("borrowingLimitPercent"), n, "if specified, must be a non-negative integer"))
	}
	return errs
}

func validateQueuing(q *flowcontrolv1.QueuingConfiguration, path *field.Path) field.ErrorList {
	const positive = "must be positive"
	var errs field.ErrorList
	if q.QueueLengthLimit <= 0 {
		errs = append(errs, field.Invalid(path.Child("queueLengthLimit"), q.QueueLengthLimit, positive))
	}
	if at := path.Child("queues"); q.Queues <= 0 {
		errs = append(errs, field.Invalid(at, q.Queues, positive))
	} else if q.Queues > maxQueues {
		errs = append(errs, field.Invalid(at, q.Queues, fmt.Sprintf("must not be greater than %d", maxQueues)))
	}
	at := path.Child("handSize")
	switch {
	case q.HandSize <= 0:
		return append(errs, field.Invalid(at, q.HandSize, positive))
	case q.HandSize > q.Queues:
		return append(errs, field.Invalid(at, q.HandSize, fmt.Sprintf("should not be greater than queues (%d)", q.Queues)))
	}
	if bits := shufflesharding.RequiredEntropyBits(int(q.Queues), int(q.HandSize)); bits > shufflesharding.MaxHashBits {
		errs = append(errs, field.Invalid(at, q.HandSize, fmt.Sprintf(
			"required entropy bits of deckSize %d and handSize %d should not be greater than %d", q.Queues, q.HandSize, shufflesharding.MaxHashBits)))
	}
	return errs
}

func levelColumns() []metav1.TableColumnDefinition {
	queuing := flowcontrolv1.QueuingConfiguration{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Type", flowcontrolv1.PriorityLevelConfigurationSpec{}.SwaggerDoc()["type"]),
		columns.String("NominalConcurrencyShares", flowcontrolv1.LimitedPriorityLevelConfiguration{}.SwaggerDoc()["nominalConcurrencyShares"]),
		columns.String("Queues", queuing["queues"]), columns.String("HandSize", queuing["handSize"]),
		columns.String("QueueLengthLimit", queuing["queueLengthLimit"]), columns.Created(),
	}
}

func levelCells(l *flowcontrolv1.PriorityLevelConfiguration, now time.Time) []any {
	const none = "<none>"
	var shares, queues, hand, length any = none, none, none, none
	if limited := l.Spec.Limited; limited != nil {
		shares = int64(ptr.Deref(limited.NominalConcurrencyShares, 0))
		if q := limited.LimitResponse.Queuing; q != nil {
			queues, hand, length = int64(q.Queues), int64(q.HandSize), int64(q.QueueLengthLimit)
		}
	}
	return []any{l.Name, string(l.Spec.Type), shares, queues, hand, length, columns.Age(l.CreationTimestamp, now)}
}

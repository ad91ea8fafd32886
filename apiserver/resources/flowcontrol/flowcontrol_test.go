package flowcontrol

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/utils/ptr"
)

func lines(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}

func flowSchema() *flowcontrolv1.FlowSchema {
	return &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: "mine"},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "workload-low"}, MatchingPrecedence: 1000,
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects:         []flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: "bob"}}},
				ResourceRules:    []flowcontrolv1.ResourcePolicyRule{{Verbs: []string{"get"}, APIGroups: []string{""}, Resources: []string{"pods"}, Namespaces: []string{"*"}}},
				NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: []string{"*"}, NonResourceURLs: []string{"/healthz/*"}}},
			}},
		},
	}
}

func TestValidateSchema(t *testing.T) {
	rule := func(s *flowcontrolv1.FlowSchema) *flowcontrolv1.PolicyRulesWithSubjects { return &s.Spec.Rules[0] }
	for name, test := range map[string]struct {
		change func(*flowcontrolv1.FlowSchema)
		want   []string
	}{
		"right": {change: func(*flowcontrolv1.FlowSchema) {}},
		"precedence": {change: func(s *flowcontrolv1.FlowSchema) { s.Spec.MatchingPrecedence = -1 }, want: []string{
			`spec.matchingPrecedence: Invalid value: -1: must be a positive value`,
		}},
		"too late": {change: func(s *flowcontrolv1.FlowSchema) { s.Spec.MatchingPrecedence = 10001 }, want: []string{
			`spec.matchingPrecedence: Invalid value: 10001: must not be greater than 10000`,
		}},
		"first": {change: func(s *flowcontrolv1.FlowSchema) { s.Spec.MatchingPrecedence = 1 }, want: []string{
			`spec.matchingPrecedence: Invalid value: 1: only the schema named 'exempt' may have matchingPrecedence 1`,
		}},
		"no level": {change: func(s *flowcontrolv1.FlowSchema) { s.Spec.PriorityLevelConfiguration.Name = "" }, want: []string{
			`spec.priorityLevelConfiguration.name: Required value: must reference a priority level`,
		}},
		"nobody": {change: func(s *flowcontrolv1.FlowSchema) { rule(s).Subjects = nil }, want: []string{
			`spec.rules[0].subjects: Required value: subjects must contain at least one value`,
		}},
		"nothing": {change: func(s *flowcontrolv1.FlowSchema) { rule(s).ResourceRules, rule(s).NonResourceRules = nil, nil }, want: []string{
			`spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty`,
		}},
		"wrong member": {change: func(s *flowcontrolv1.FlowSchema) {
			rule(s).Subjects[0] = flowcontrolv1.Subject{Kind: flowcontrolv1.SubjectKindGroup, User: &flowcontrolv1.UserSubject{Name: "x"}}
		}, want: []string{
			`spec.rules[0].subjects[0].group: Required value: group is required when subject kind is 'Group'`,
			`spec.rules[0].subjects[0].user: Forbidden: user is forbidden when subject kind is not 'User'`,
		}},
		"kind": {change: func(s *flowcontrolv1.FlowSchema) { rule(s).Subjects[0].Kind = "Robot" }, want: []string{
			`spec.rules[0].subjects[0].kind: Unsupported value: "Robot": supported values: "Group", "ServiceAccount", "User"`,
		}},
		"service account": {change: func(s *flowcontrolv1.FlowSchema) {
			rule(s).Subjects[0] = flowcontrolv1.Subject{Kind: flowcontrolv1.SubjectKindServiceAccount, ServiceAccount: &flowcontrolv1.ServiceAccountSubject{}}
		}, want: []string{
			`spec.rules[0].subjects[0].serviceAccount.name: Required value`,
			`spec.rules[0].subjects[0].serviceAccount.namespace: Required value: must specify namespace for service account`,
		}},
		"resource rule": {change: func(s *flowcontrolv1.FlowSchema) {
			rule(s).ResourceRules[0] = flowcontrolv1.ResourcePolicyRule{APIGroups: []string{"*", "apps"}}
		}, want: []string{
			`spec.rules[0].resourceRules[0].verbs: Required value: verbs must contain at least one value`,
			`spec.rules[0].resourceRules[0].apiGroups: Invalid value: ["*","apps"]: if '*' is present, must not specify other api groups`,
			`spec.rules[0].resourceRules[0].resources: Required value: resource rules must supply at least one resource`,
			`spec.rules[0].resourceRules[0].namespaces: Required value: resource rules that are not cluster scoped must supply at least one namespace`,
		}},
		"namespace": {change: func(s *flowcontrolv1.FlowSchema) { rule(s).ResourceRules[0].Namespaces = []string{"A"} }, want: []string{
			`spec.rules[0].resourceRules[0].namespaces[0]: Invalid value: "A": each member of this list must be '*' or a DNS-1123 label; a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
		}},
		"urls": {change: func(s *flowcontrolv1.FlowSchema) {
			rule(s).NonResourceRules[0].NonResourceURLs = []string{"", "x", "/a b", "//", "/*/*", "/a*", "/", "/a/*"}
		}, want: []string{
			`spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: "": must not be empty`,
			`spec.rules[0].nonResourceRules[0].nonResourceURLs[1]: Invalid value: "x": must start with slash`,
			`spec.rules[0].nonResourceRules[0].nonResourceURLs[2]: Invalid value: "/a b": must not contain white-space`,
			`spec.rules[0].nonResourceRules[0].nonResourceURLs[3]: Invalid value: "//": must not contain double slash`,
			`spec.rules[0].nonResourceRules[0].nonResourceURLs[4]: Invalid value: "/*/*": wildcard can only do suffix matching`,
			`spec.rules[0].nonResourceRules[0].nonResourceURLs[5]: Invalid value: "/a*": wildcard can only do suffix matching`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := flowSchema()
			test.change(s)
			if diff := cmp.Diff(test.want, lines(validateSchema(s))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func level() *flowcontrolv1.PriorityLevelConfiguration {
	l := &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "mine"},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{LimitResponse: flowcontrolv1.LimitResponse{
				Type: flowcontrolv1.LimitResponseTypeQueue, Queuing: &flowcontrolv1.QueuingConfiguration{},
			}},
		},
	}
	defaultLevel(l)
	return l
}

func TestLevelDefaultsAndCells(t *testing.T) {
	l := level()
	want := &flowcontrolv1.LimitedPriorityLevelConfiguration{
		NominalConcurrencyShares: ptr.To(int32(30)), LendablePercent: ptr.To(int32(0)),
		LimitResponse: flowcontrolv1.LimitResponse{
			Type: "Queue", Queuing: &flowcontrolv1.QueuingConfiguration{Queues: 64, HandSize: 8, QueueLengthLimit: 50},
		},
	}
	if diff := cmp.Diff(want, l.Spec.Limited); diff != "" {
		t.Error(diff)
	}
	cells := levelCells(l, time.Now())
	if diff := cmp.Diff([]any{"mine", "Limited", int64(30), int64(64), int64(8), int64(50), "<unknown>"}, cells); diff != "" {
		t.Error(diff)
	}
	if n := len(levelColumns()); n != len(cells) {
		t.Errorf("%d columns for %d cells", n, len(cells))
	}
	cells = schemaCells(bootstrap.SuggestedFlowSchemaSystemNodes, time.Now())
	if diff := cmp.Diff([]any{"system-nodes", "system", int64(500), "ByUser", "<unknown>", "?"}, cells); diff != "" {
		t.Error(diff)
	}
	if n := len(schemaColumns()); n != len(cells) {
		t.Errorf("%d columns for %d cells", n, len(cells))
	}
}

func TestValidateLevel(t *testing.T) {
	queuing := func(l *flowcontrolv1.PriorityLevelConfiguration) *flowcontrolv1.QueuingConfiguration {
		return l.Spec.Limited.LimitResponse.Queuing
	}
	for name, test := range map[string]struct {
		change func(*flowcontrolv1.PriorityLevelConfiguration)
		want   []string
	}{
		"right": {change: func(*flowcontrolv1.PriorityLevelConfiguration) {}},
		"type": {change: func(l *flowcontrolv1.PriorityLevelConfiguration) { l.Spec.Type = "Some" }, want: []string{
			`spec.limited: Forbidden`,
			`spec.type: Unsupported value: "Some": supported values: "Exempt", "Limited"`,
		}},
		"exempt by another name": {change: func(l *flowcontrolv1.PriorityLevelConfiguration) { l.Spec.Type = "Exempt" }, want: []string{
			"spec.type: Invalid value: \"Exempt\": must be 'Exempt' if and only if `name` is 'exempt'",
			`spec.limited: Forbidden`,
		}},
		"not limited": {change: func(l *flowcontrolv1.PriorityLevelConfiguration) {
			l.Spec.Limited, l.Spec.Exempt = nil, &flowcontrolv1.ExemptPriorityLevelConfiguration{}
		}, want: []string{
			`spec.exempt: Forbidden`,
			`spec.limited: Required value`,
		}},
		"numbers": {change: func(l *flowcontrolv1.PriorityLevelConfiguration) {
			l.Spec.Limited.NominalConcurrencyShares, l.Spec.Limited.LendablePercent = ptr.To(int32(-1)), ptr.To(int32(101))
			l.Spec.Limited.BorrowingLimitPercent = ptr.To(int32(-1))
		}, want: []string{
			`spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer`,
			`spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive`,
			`spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer`,
		}},
		"queues": {change: func(l *flowcontrolv1.PriorityLevelConfiguration) {
			queuing(l).Queues, queuing(l).QueueLengthLimit, queuing(l).HandSize = 2, -1, 3
		}, want: []string{
			`spec.limited.limitResponse.queuing.queueLengthLimit: Invalid value: -1: must be positive`,
			`spec.limited.limitResponse.queuing.handSize: Invalid value: 3: should not be greater than queues (2)`,
		}},
		"entropy": {change: func(l *flowcontrolv1.PriorityLevelConfiguration) { queuing(l).Queues = 10_000_000 }, want: []string{
			`spec.limited.limitResponse.queuing.handSize: Invalid value: 8: required entropy bits of deckSize 10000000 and handSize 8 should not be greater than 60`,
		}},
		"response": {change: func(l *flowcontrolv1.PriorityLevelConfiguration) { l.Spec.Limited.LimitResponse.Type = "Reject" }, want: []string{
			`spec.limited.limitResponse.queuing: Forbidden`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			l := level()
			test.change(l)
			if diff := cmp.Diff(test.want, lines(validateLevel(l))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The built-in objects are complete and right, as they are; no other spec may take
// the place of a mandatory one.
func TestBuiltInObjects(t *testing.T) {
	made := Missing(nil, nil)
	if len(made.CreateSchemas) != 11 || len(made.CreateLevels) != 8 {
		t.Errorf("%d flow schemas and %d priority levels in a new cluster", len(made.CreateSchemas), len(made.CreateLevels))
	}
	for _, s := range made.CreateSchemas {
		if errs := validateSchema(s); len(errs) > 0 {
			t.Errorf("%s: %v", s.Name, errs)
		}
	}
	for _, l := range made.CreateLevels {
		as := l.DeepCopy()
		defaultLevel(as)
		if diff := cmp.Diff(l, as); diff != "" {
			t.Errorf("defaults of %s: %s", l.Name, diff)
		}
		if errs := validateLevel(l); len(errs) > 0 {
			t.Errorf("%s: %v", l.Name, errs)
		}
	}
	all := bootstrap.MandatoryFlowSchemaCatchAll.DeepCopy()
	all.Spec.MatchingPrecedence = 9999
	if errs := validateSchema(all); len(errs) != 1 || errs[0].Detail != "spec of 'catch-all' must equal the fixed value" {
		t.Error(errs)
	}
	exempt := bootstrap.MandatoryPriorityLevelConfigurationExempt.DeepCopy()
	exempt.Spec.Exempt.NominalConcurrencyShares = ptr.To(int32(7))
	if errs := validateLevel(exempt); len(errs) != 0 {
		t.Error(errs)
	}
}

func TestMissing(t *testing.T) {
	fresh := Missing(nil, nil)
	for name, test := range map[string]struct {
		change         func(level *flowcontrolv1.PriorityLevelConfiguration)
		of             string
		update, follow bool
	}{
		"complete":                  {of: "system", change: func(*flowcontrolv1.PriorityLevelConfiguration) {}},
		"older suggestion":          {of: "system", update: true, follow: true, change: func(l *flowcontrolv1.PriorityLevelConfiguration) { l.Spec.Limited.LendablePercent = ptr.To(int32(1)) }},
		"a user's by annotation":    {of: "system", change: func(l *flowcontrolv1.PriorityLevelConfiguration) { *l.Spec.Limited.LendablePercent = 1; say(l, false) }},
		"a user's by generation":    {of: "system", update: true, change: func(l *flowcontrolv1.PriorityLevelConfiguration) { l.Annotations, l.Generation = nil, 2 }},
		"mandatory in spite of all": {of: "catch-all", update: true, follow: true, change: func(l *flowcontrolv1.PriorityLevelConfiguration) { say(l, false); l.Generation = 9 }},
		"the shares of exempt":      {of: "exempt", change: func(l *flowcontrolv1.PriorityLevelConfiguration) { *l.Spec.Exempt.NominalConcurrencyShares = 3 }},
	} {
		t.Run(name, func(t *testing.T) {
			have := Missing(nil, nil)
			test.change(find(have.CreateLevels, test.of))
			got := Missing(have.CreateSchemas, have.CreateLevels)
			if len(got.CreateLevels)+len(got.CreateSchemas)+len(got.UpdateSchemas) != 0 || (len(got.UpdateLevels) == 1) != test.update {
				t.Fatalf("%+v", got)
			}
			if test.update && !says(got.UpdateLevels[0], test.follow) {
				t.Errorf("annotated %v", got.UpdateLevels[0].Annotations)
			}
			if test.follow {
				if diff := cmp.Diff(find(fresh.CreateLevels, test.of).Spec, got.UpdateLevels[0].Spec); diff != "" {
					t.Error(diff)
				}
			}
		})
	}
}

func TestDangling(t *testing.T) {
	s, l := flowSchema(), level()
	s.Spec.PriorityLevelConfiguration.Name = l.Name
	all, levels := []*flowcontrolv1.FlowSchema{s}, []*flowcontrolv1.PriorityLevelConfiguration{l}
	for _, test := range []struct {
		levels  []*flowcontrolv1.PriorityLevelConfiguration
		message string
		cell    string
	}{
		{levels, `This FlowSchema references the PriorityLevelConfiguration object named "mine" and it exists`, "False"},
		{nil, `This FlowSchema references the PriorityLevelConfiguration object named "mine" but there is no such object`, "True"},
	} {
		got := Dangling(all, test.levels, time.Unix(1, 0))
		if len(got) != 1 || got["mine"].Message != test.message {
			t.Fatalf("%+v", got)
		}
		s.Status.Conditions = []flowcontrolv1.FlowSchemaCondition{got["mine"]}
		if again := Dangling(all, test.levels, time.Unix(2, 0)); len(again) != 0 {
			t.Errorf("said again: %+v", again)
		}
		if cell := schemaCells(s, time.Now())[5]; cell != test.cell {
			t.Errorf("MissingPL %v", cell)
		}
	}
}

package fairness

import (
	"fmt"
	"testing"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/request"
)

// builtIn has the objects of a new cluster.
func builtIn(t testing.TB) *Controller {
	t.Helper()
	c, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	c.Apply(
		append(bootstrap.MandatoryFlowSchemas[:2:2], bootstrap.SuggestedFlowSchemas...),
		append(bootstrap.MandatoryPriorityLevelConfigurations[:2:2], bootstrap.SuggestedPriorityLevelConfigurations...),
	)
	return c
}

// BenchmarkRequest is what a request costs where it does not have to wait: an
// administrator's, a node's, and a user's, who comes under the last but one of the
// built-in schemas.
func BenchmarkRequest(b *testing.B) {
	pods := &request.Info{IsResource: true, Path: "/api/v1/namespaces/x/pods", Verb: "list", Version: "v1", Namespace: "x", Resource: "pods"}
	for _, test := range []struct {
		name  string
		who   user.Info
		level string
	}{
		{"exempt", &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}, "exempt"},
		{"node", &user.DefaultInfo{Name: "system:node:a", Groups: []string{user.NodesGroup, user.AllAuthenticated}}, "system"},
		{"user", &user.DefaultInfo{Name: "alice", Groups: []string{"dev", "ops", user.AllAuthenticated}}, "global-default"},
	} {
		b.Run(test.name, func(b *testing.B) {
			c := builtIn(b)
			if level := c.Classify(pods, test.who).Level(); level != test.level {
				b.Fatal(level)
			}
			b.ReportAllocs()
			for b.Loop() {
				turn, err := c.Classify(pods, test.who).Begin(b.Context(), One, time.Second)
				if err != nil {
					b.Fatal(err)
				}
				turn.End()
			}
		})
	}
	b.Run("classify user", func(b *testing.B) {
		c := builtIn(b)
		who := &user.DefaultInfo{Name: "alice", Groups: []string{"dev", "ops", user.AllAuthenticated}}
		b.ReportAllocs()
		for b.Loop() {
			c.Classify(pods, who)
		}
	})
}

// BenchmarkContended is a request among a hundred flows that wait for few seats: each
// iteration is one request from its arrival to its end.
func BenchmarkContended(b *testing.B) {
	c, err := New(Config{Seats: 4})
	if err != nil {
		b.Fatal(err)
	}
	c.Apply([]*flowcontrolv1.FlowSchema{everybody()}, []*flowcontrolv1.PriorityLevelConfiguration{queueing(128, 6, 50)})
	b.ReportAllocs()
	b.SetParallelism(50)
	b.RunParallel(func(p *testing.PB) {
		who := &user.DefaultInfo{Name: fmt.Sprint(p)}
		info := &request.Info{Verb: "get", Path: "/x"}
		for p.Next() {
			turn, err := c.Classify(info, who).Begin(b.Context(), One, time.Minute)
			if err != nil {
				b.Error(err)
				return
			}
			turn.End()
		}
	})
}

// everybody's requests come under this schema, each user's in a flow of its own.
func everybody() *flowcontrolv1.FlowSchema {
	return &flowcontrolv1.FlowSchema{
		ObjectMeta: metav1.ObjectMeta{Name: "everybody", UID: "schema-uid"},
		Spec: flowcontrolv1.FlowSchemaSpec{
			PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "level"}, MatchingPrecedence: 100,
			DistinguisherMethod: &flowcontrolv1.FlowDistinguisherMethod{Type: flowcontrolv1.FlowDistinguisherMethodByUserType},
			Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
				Subjects: []flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: "*"}}},
				ResourceRules: []flowcontrolv1.ResourcePolicyRule{{
					Verbs: []string{"*"}, APIGroups: []string{"*"}, Resources: []string{"*"}, ClusterScope: true, Namespaces: []string{"*"},
				}},
				NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: []string{"*"}, NonResourceURLs: []string{"*"}}},
			}},
		},
	}
}

// queueing is a level whose requests wait; without queues one that refuses them.
func queueing(queues, hand, length int32) *flowcontrolv1.PriorityLevelConfiguration {
	response := flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject}
	if queues > 0 {
		response = flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeQueue, Queuing: &flowcontrolv1.QueuingConfiguration{
			Queues: queues, HandSize: hand, QueueLengthLimit: length,
		}}
	}
	return &flowcontrolv1.PriorityLevelConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "level", UID: "level-uid"},
		Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
			Type: flowcontrolv1.PriorityLevelEnablementLimited,
			Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
				NominalConcurrencyShares: ptr.To(int32(1_000_000)), BorrowingLimitPercent: ptr.To(int32(0)), LimitResponse: response,
			},
		},
	}
}

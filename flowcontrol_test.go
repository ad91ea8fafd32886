package strake

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
)

// A flow schema says at once whether its level is there, by the condition and in the
// column that people see, and is applied as soon as it is.
func TestDanglingFlowSchemas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := start(t, Config{})
		defer stop()
		ctx, client := t.Context(), c.Client().FlowcontrolV1()
		schema, err := client.FlowSchemas().Create(ctx, &flowcontrolv1.FlowSchema{
			ObjectMeta: metav1.ObjectMeta{Name: "mine"},
			Spec: flowcontrolv1.FlowSchemaSpec{
				PriorityLevelConfiguration: flowcontrolv1.PriorityLevelConfigurationReference{Name: "mine"}, MatchingPrecedence: 50,
				Rules: []flowcontrolv1.PolicyRulesWithSubjects{{
					Subjects:         []flowcontrolv1.Subject{{Kind: flowcontrolv1.SubjectKindUser, User: &flowcontrolv1.UserSubject{Name: "alice"}}},
					NonResourceRules: []flowcontrolv1.NonResourcePolicyRule{{Verbs: []string{"get"}, NonResourceURLs: []string{"/version"}}},
				}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		request := func(config *rest.Config, path, accept string) (http.Header, string) {
			r, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://in-process"+path, nil)
			r.Header.Set("Accept", accept)
			response, err := config.Transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != http.StatusOK {
				t.Errorf("%s: %d %v", path, response.StatusCode, err)
			}
			return response.Header, string(body)
		}
		check := func(when string, status flowcontrolv1.ConditionStatus, reason, message string) {
			t.Helper()
			time.Sleep(2 * danglingInterval)
			synctest.Wait()
			now, err := client.FlowSchemas().Get(ctx, "mine", metav1.GetOptions{})
			if err != nil || len(now.Status.Conditions) != 1 {
				t.Fatalf("%s: %+v %v", when, now, err)
			}
			condition := now.Status.Conditions[0]
			want := fmt.Sprintf("This FlowSchema references the PriorityLevelConfiguration object named \"mine\" %s", message)
			if condition.Type != flowcontrolv1.FlowSchemaConditionDangling || condition.Status != status || condition.Reason != reason || condition.Message != want {
				t.Errorf("%s: %+v", when, condition)
			}
			const path = "/apis/flowcontrol.apiserver.k8s.io/v1/flowschemas/mine"
			_, table := request(c.RESTConfig(), path, "application/json;as=Table;v=v1;g=meta.k8s.io")
			if !strings.Contains(table, fmt.Sprintf("%q],", status)) {
				t.Errorf("%s: no %s in %s", when, status, table)
			}
			h, _ := request(c.plane.RESTConfig(&user.DefaultInfo{Name: "alice", Groups: []string{user.AllAuthenticated}}), "/version", "*/*")
			if applied := h.Get("X-Kubernetes-PF-FlowSchema-UID") == string(schema.UID); applied != (status == flowcontrolv1.ConditionFalse) {
				t.Errorf("%s: the schema is applied: %v", when, applied)
			}
		}
		check("without a level", flowcontrolv1.ConditionTrue, "NotFound", "but there is no such object")
		level := &flowcontrolv1.PriorityLevelConfiguration{
			ObjectMeta: metav1.ObjectMeta{Name: "mine"},
			Spec: flowcontrolv1.PriorityLevelConfigurationSpec{
				Type: flowcontrolv1.PriorityLevelEnablementLimited,
				Limited: &flowcontrolv1.LimitedPriorityLevelConfiguration{
					NominalConcurrencyShares: ptr.To(int32(5)), LimitResponse: flowcontrolv1.LimitResponse{Type: flowcontrolv1.LimitResponseTypeReject},
				},
			},
		}
		if _, err := client.PriorityLevelConfigurations().Create(ctx, level, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		check("with one", flowcontrolv1.ConditionFalse, "Found", "and it exists")
		if err := client.PriorityLevelConfigurations().Delete(ctx, "mine", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		check("after it is gone", flowcontrolv1.ConditionTrue, "NotFound", "but there is no such object")
	})
}

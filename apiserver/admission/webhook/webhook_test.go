package webhook_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	admissionreview "k8s.io/api/admission/v1"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
)

// TestOutcomes: what webhooks answer, and what the client hears of it.
func TestOutcomes(t *testing.T) {
	ignore, beta := ptr.To(admissionv1.Ignore), []string{"v1beta1"}
	tests := map[string]struct {
		mutating bool
		change   func(h *admissionv1.MutatingWebhook)
		answer   func(*admissionreview.AdmissionReview) *admissionreview.AdmissionResponse
		opts     metav1.CreateOptions
		want     string // prefix of the error
		code     int32
		reason   metav1.StatusReason
		said     []string
	}{
		"allowed":         {answer: allow},
		"denied":          {answer: answer(admissionreview.AdmissionResponse{}), want: `admission webhook "h.example.com" denied the request without explanation`, code: 400},
		"with a message":  {answer: answer(admissionreview.AdmissionResponse{Result: &metav1.Status{Message: "no", Code: 403, Reason: "Forbidden"}}), want: `admission webhook "h.example.com" denied the request: no`, code: 403, reason: "Forbidden"},
		"with a reason":   {answer: answer(admissionreview.AdmissionResponse{Result: &metav1.Status{Reason: "Gone", Code: 200}}), want: `admission webhook "h.example.com" denied the request: Gone`, code: 400, reason: "Gone"},
		"warned":          {answer: answer(admissionreview.AdmissionResponse{Allowed: true, Warnings: []string{"hm", "well"}}), said: []string{"hm", "well"}},
		"of another":      {answer: answer(admissionreview.AdmissionResponse{Allowed: true, UID: "x"}), want: `Internal error occurred: failed calling webhook "h.example.com": received invalid webhook response: expected response.uid="`, code: 500, reason: "InternalError"},
		"not there":       {want: `Internal error occurred: failed calling webhook "h.example.com": failed to call webhook: `, code: 500, reason: "InternalError"},
		"not there, fine": {change: func(h *admissionv1.MutatingWebhook) { h.FailurePolicy = ignore }},
		"a stranger": {
			change: func(h *admissionv1.MutatingWebhook) { h.ClientConfig.CABundle = nil }, answer: allow,
			want: `Internal error occurred: failed calling webhook "h.example.com": failed to call webhook: Post "https://127.0.0.1`, code: 500, reason: "InternalError",
		},
		"slow": {
			change: func(h *admissionv1.MutatingWebhook) { h.TimeoutSeconds = ptr.To[int32](1) },
			answer: func(*admissionreview.AdmissionReview) *admissionreview.AdmissionResponse { return nil },
			want:   `Internal error occurred: failed calling webhook "h.example.com": failed to call webhook: Post "https://127.0.0.1`, code: 500, reason: "InternalError",
		},
		"a patch where none may be": {answer: patch(`[]`), want: `Internal error occurred: failed calling webhook "h.example.com": received invalid webhook response: validating webhook may not return response.patch`, code: 500, reason: "InternalError"},
		"a patch without a type":    {mutating: true, answer: answer(admissionreview.AdmissionResponse{Allowed: true, Patch: []byte(`[]`)}), want: `Internal error occurred: failed calling webhook "h.example.com": received invalid webhook response: webhook returned response.patch but not response.patchType`, code: 500, reason: "InternalError"},
		"a patch that is none":      {mutating: true, answer: patch(`{`), want: `Internal error occurred: failed calling webhook "h.example.com": received undecodable patch in webhook response: `, code: 500, reason: "InternalError"},
		"a patch of what is not there": {
			mutating: true, answer: patch(`[{"op":"remove","path":"/spec"}]`), change: func(h *admissionv1.MutatingWebhook) { h.FailurePolicy = ignore },
			want: `Internal error occurred: `, code: 500, reason: "InternalError",
		},
		"an older review": {
			mutating: true, change: func(h *admissionv1.MutatingWebhook) { h.AdmissionReviewVersions = beta },
			answer: func(r *admissionreview.AdmissionReview) *admissionreview.AdmissionResponse {
				return &admissionreview.AdmissionResponse{Allowed: r.APIVersion == "admission.k8s.io/v1beta1", UID: "x", Patch: []byte(`[{"op":"add","path":"/data/a","value":"b"}]`)}
			},
		},
		"dry, without side effects": {answer: allow, opts: metav1.CreateOptions{DryRun: []string{"All"}}},
		"a condition": {
			change: func(h *admissionv1.MutatingWebhook) {
				h.MatchConditions = []admissionv1.MatchCondition{{Name: "other", Expression: "object.metadata.name != 'c' && authorizer.requestResource.check('get').allowed()"}}
			},
		},
		"a condition that fails": {
			change: func(h *admissionv1.MutatingWebhook) {
				h.MatchConditions = []admissionv1.MatchCondition{{Name: "broken", Expression: "object.spec.x == 1"}}
			},
			want: `configmaps "c" is forbidden: expression 'object.spec.x == 1' resulted in error: no such key: spec`, code: 403, reason: "Forbidden",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := serve(t)
			if tt.answer != nil {
				p.on("h", tt.answer)
			}
			h := p.hook("h")
			if tt.change != nil {
				tt.change(&h)
			}
			if tt.mutating {
				p.mutate(t, h)
			} else {
				p.validate(t, h)
			}
			_, err := p.create(t, "c", tt.opts)
			_, said := p.take()
			if diff := cmp.Diff(tt.said, said); diff != "" {
				t.Errorf("warnings (-want +got)\n%s", diff)
			}
			if tt.want == "" {
				if err != nil {
					t.Errorf("refused: %v", err)
				}
				return
			}
			status, ok := err.(apierrors.APIStatus)
			if !ok || !strings.HasPrefix(err.Error(), tt.want) {
				t.Fatalf("got  %v\nwant %s", err, tt.want)
			}
			if s := status.Status(); s.Code != tt.code || s.Reason != tt.reason {
				t.Errorf("code %d reason %q, want %d %q", s.Code, s.Reason, tt.code, tt.reason)
			}
		})
	}
}

func TestDryRunNeedsNoSideEffects(t *testing.T) {
	p := serve(t)
	p.on("h", allow)
	c := &admissionv1.ValidatingWebhookConfiguration{ObjectMeta: metav1.ObjectMeta{Name: "v"}, Webhooks: []admissionv1.ValidatingWebhook{{
		Name: "h.example.com", SideEffects: ptr.To(admissionv1.SideEffectClassSome), AdmissionReviewVersions: []string{"v1"},
		ClientConfig: admissionv1.WebhookClientConfig{URL: ptr.To("https://x")},
	}}}
	_, err := p.AdmissionregistrationV1().ValidatingWebhookConfigurations().Create(t.Context(), c, metav1.CreateOptions{})
	const want = `ValidatingWebhookConfiguration.admissionregistration.k8s.io "v" is invalid: webhooks[0].sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun"`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestReview: what a webhook is told.
func TestReview(t *testing.T) {
	p := serve(t)
	p.on("h", allow)
	p.validate(t, p.hook("h"))
	if _, err := p.create(t, "c", metav1.CreateOptions{FieldManager: "me"}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.CoreV1().ConfigMaps("default").Patch(t.Context(), "c", types.MergePatchType, []byte(`{"data":{"a":"b"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := p.CoreV1().ConfigMaps("default").Delete(t.Context(), "c", metav1.DeleteOptions{DryRun: []string{"All"}}); err != nil {
		t.Fatal(err)
	}
	reviews, _ := p.take()
	type seen struct {
		Operation, Name, Namespace, User, Kind string
		Object, Old, Options                   string
		DryRun                                 bool
	}
	short := func(raw []byte) string {
		var o struct {
			APIVersion, Kind, FieldManager string
			Metadata                       struct{ Name string }
			Data                           map[string]string
		}
		if len(raw) == 0 || json.Unmarshal(raw, &o) != nil || o.Kind == "" {
			return string(raw)
		}
		return strings.TrimSpace(o.APIVersion + " " + o.Kind + " " + o.Metadata.Name + o.FieldManager + " " + o.Data["a"])
	}
	var got []seen
	for _, r := range reviews {
		q := r.Request
		got = append(got, seen{
			string(q.Operation), q.Name, q.Namespace, q.UserInfo.Username, q.Kind.String() + q.RequestKind.String(),
			short(q.Object.Raw), short(q.OldObject.Raw), short(q.Options.Raw), *q.DryRun,
		})
	}
	const kind = "/v1, Kind=ConfigMap/v1, Kind=ConfigMap"
	want := []seen{
		{"CREATE", "c", "default", "admin", kind, "v1 ConfigMap c", "", "meta.k8s.io/v1 CreateOptions me", false},
		{"UPDATE", "c", "default", "admin", kind, "v1 ConfigMap c b", "v1 ConfigMap c", "meta.k8s.io/v1 UpdateOptions", false},
		{"DELETE", "c", "default", "admin", kind, "", "v1 ConfigMap c b", "meta.k8s.io/v1 DeleteOptions", true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

// late is a plugin before the webhooks that changes what they have left, once.
type late struct{}

func (late) Name() string { return "late" }

func (late) Admit(_ context.Context, a *admission.Attributes) error {
	if cm, ok := a.Object.(*corev1.ConfigMap); ok && a.Reinvoked() {
		cm.Data["trail"] += "L"
	}
	return nil
}

func TestMutationAndReinvocation(t *testing.T) {
	again := ptr.To(admissionv1.IfNeededReinvocationPolicy)
	tests := map[string]struct {
		before []admission.Plugin
		hooks  string // capitals ask to be called again
		want   string
	}{
		"in order":                      {hooks: "ab", want: "ab"},
		"again, where others changed":   {hooks: "Ab", want: "abA"},
		"not for its own change":        {hooks: "A", want: "A"},
		"the last sees all anyway":      {hooks: "aB", want: "aB"},
		"all that ask":                  {hooks: "ABc", want: "ABcAB"},
		"a built-in one changed it too": {before: []admission.Plugin{late{}}, hooks: "aB", want: "aBLB"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			p := serve(t, tt.before...)
			var hooks []admissionv1.MutatingWebhook
			for _, letter := range tt.hooks {
				path := strings.ToLower(string(letter))
				p.on(path, mark(string(letter)))
				h := p.hook(path)
				if strings.ToLower(string(letter)) != string(letter) {
					h.ReinvocationPolicy = again
				}
				hooks = append(hooks, h)
			}
			p.mutate(t, hooks...)
			cm, err := p.create(t, "c", metav1.CreateOptions{})
			if err != nil {
				t.Fatal(err)
			}
			if !strings.EqualFold(cm.Data["trail"], tt.want) {
				t.Errorf("trail %q, want %q", cm.Data["trail"], tt.want)
			}
		})
	}
}

func TestFirstOfSeveralRefusals(t *testing.T) {
	p := serve(t)
	// The first answers last: what the client hears does not depend on who is quick.
	p.on("a", func(*admissionreview.AdmissionReview) *admissionreview.AdmissionResponse {
		time.Sleep(50 * time.Millisecond)
		return &admissionreview.AdmissionResponse{Result: &metav1.Status{Message: "first"}, Warnings: []string{"of a"}}
	})
	p.on("b", answer(admissionreview.AdmissionResponse{Result: &metav1.Status{Message: "second"}, Warnings: []string{"of b"}}))
	p.validate(t, p.hook("a"), p.hook("b"))
	_, err := p.create(t, "c", metav1.CreateOptions{})
	if err == nil || err.Error() != `admission webhook "a.example.com" denied the request: first` {
		t.Errorf("error %v", err)
	}
	if _, said := p.take(); !cmp.Equal(said, []string{"of a", "of b"}) {
		t.Errorf("warnings %q", said)
	}
}

// TestDefaultsAfterMutation: what a webhook adds gets its defaults before the next one
// sees it and before it is checked.
func TestDefaultsAfterMutation(t *testing.T) {
	p := serve(t)
	p.on("h", patch(`[{"op":"add","path":"/spec/containers/-","value":{"name":"side","image":"side"}}]`))
	p.on("v", allow)
	h, v := p.hook("h"), p.hook("v")
	h.Rules[0].Resources, v.Rules[0].Resources = []string{"pods"}, []string{"pods"}
	p.mutate(t, h)
	p.validate(t, v)
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{GenerateName: "p-"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}}}
	got, err := p.CoreV1().Pods("default").Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Spec.Containers) != 2 || got.Spec.Containers[1].ImagePullPolicy != corev1.PullAlways {
		t.Errorf("containers %v", got.Spec.Containers)
	}
	reviews, _ := p.take()
	if len(reviews) != 2 || reviews[0].Request.Name != "" || reviews[1].Request.Name != got.Name {
		t.Errorf("reviews of %q and %q", reviews[0].Request.Name, reviews[1].Request.Name)
	}
}

func TestDeletionIsNotMutated(t *testing.T) {
	p := serve(t)
	if _, err := p.create(t, "c", metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.on("h", patch(`[{"op":"add","path":"/data","value":{}}]`))
	p.mutate(t, p.hook("h"))
	err := p.CoreV1().ConfigMaps("default").Delete(t.Context(), "c", metav1.DeleteOptions{})
	const want = `Internal error occurred: admission webhook "h.example.com" attempted to modify the object, which is not supported for this operation`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// TestConfigurationsAreExempt: a webhook that refuses everything can be taken away.
func TestConfigurationsAreExempt(t *testing.T) {
	p := serve(t)
	p.on("h", answer(admissionreview.AdmissionResponse{}))
	h := p.hook("h")
	h.Rules[0].APIGroups, h.Rules[0].Resources = []string{"*"}, []string{"*/*"}
	p.validate(t, h)
	if _, err := p.create(t, "c", metav1.CreateOptions{}); err == nil {
		t.Error("c was let in")
	}
	if err := p.AdmissionregistrationV1().ValidatingWebhookConfigurations().Delete(t.Context(), "v", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	p.settle(t)
	if _, err := p.create(t, "c", metav1.CreateOptions{}); err != nil {
		t.Error(err)
	}
}

// TestEquivalentVersions: rules about one version of a kind catch the other, which the
// webhook sees in the version it asked for.
func TestEquivalentVersions(t *testing.T) {
	for policy, called := range map[admissionv1.MatchPolicyType]int{admissionv1.Equivalent: 1, admissionv1.Exact: 0} {
		p := serve(t)
		p.on("h", patch(`[{"op":"add","path":"/spec/maxReplicas","value":7}]`))
		h := p.hook("h")
		h.MatchPolicy = &policy
		h.Rules[0].APIGroups, h.Rules[0].APIVersions, h.Rules[0].Resources = []string{"autoscaling"}, []string{"v1"}, []string{"horizontalpodautoscalers"}
		p.mutate(t, h)
		hpa := &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Name: "h"}, Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{Kind: "Deployment", Name: "d", APIVersion: "apps/v1"}, MaxReplicas: 3,
		}}
		got, err := p.AutoscalingV2().HorizontalPodAutoscalers("default").Create(t.Context(), hpa, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		reviews, _ := p.take()
		if len(reviews) != called {
			t.Fatalf("%s: called %d times", policy, len(reviews))
		}
		if called == 0 {
			continue
		}
		q := reviews[0].Request
		var seen autoscalingv1.HorizontalPodAutoscaler
		if err := json.Unmarshal(q.Object.Raw, &seen); err != nil || seen.APIVersion != "autoscaling/v1" || q.Kind.Version != "v1" || q.RequestKind.Version != "v2" {
			t.Errorf("sent %s %s as %s of a request for %s (%v)", seen.APIVersion, seen.Kind, q.Kind, q.RequestKind, err)
		}
		if got.Spec.MaxReplicas != 7 {
			t.Errorf("maxReplicas %d", got.Spec.MaxReplicas)
		}
	}
}

func TestTimeoutIsTold(t *testing.T) {
	p := serve(t)
	p.on("h", allow)
	h := p.hook("h")
	h.TimeoutSeconds = ptr.To[int32](7)
	p.validate(t, h)
	if _, err := p.create(t, "c", metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if !cmp.Equal(p.queries, []string{"timeout=7s"}) {
		t.Errorf("queries %q", p.queries)
	}
}

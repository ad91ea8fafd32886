package resources_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/kubernetes"
	"k8s.io/utils/ptr"
)

// evictable makes a pod on a node, in a phase.
func evictable(t *testing.T, client kubernetes.Interface, name string, phase corev1.PodPhase, ready bool) *corev1.Pod {
	t.Helper()
	ctx, pods := t.Context(), client.CoreV1().Pods("default")
	pod := newPod(name)
	pod.Labels, pod.Spec.NodeName = map[string]string{"app": "web"}, "n1"
	pod, err := pods.Create(ctx, pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	pod.Status.Phase = phase
	if ready {
		pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: corev1.ConditionTrue}}
	}
	if pod, err = pods.UpdateStatus(ctx, pod, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	return pod
}

// budget makes a disruption budget for app=web with a status.
func budget(t *testing.T, client kubernetes.Interface, name string, policy policyv1.UnhealthyPodEvictionPolicyType, status policyv1.PodDisruptionBudgetStatus) {
	t.Helper()
	budgets := client.PolicyV1().PodDisruptionBudgets("default")
	b := &policyv1.PodDisruptionBudget{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: policyv1.PodDisruptionBudgetSpec{
			MinAvailable: ptr.To(intstr.FromInt32(2)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		},
	}
	if policy != "" {
		b.Spec.UnhealthyPodEvictionPolicy = &policy
	}
	b, err := budgets.Create(t.Context(), b, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.Status = status
	if _, err := budgets.UpdateStatus(t.Context(), b, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestEvictionsAndBudgets(t *testing.T) {
	none := policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 1, CurrentHealthy: 2, DesiredHealthy: 2, ExpectedPods: 2}
	one := policyv1.PodDisruptionBudgetStatus{ObservedGeneration: 1, DisruptionsAllowed: 1, CurrentHealthy: 3, DesiredHealthy: 2, ExpectedPods: 3}
	failed := none
	failed.Conditions = []metav1.Condition{{Type: "DisruptionAllowed", Status: "False", Reason: "SyncFailed", Message: "no such controller", LastTransitionTime: metav1.Now()}}
	broken := none
	broken.CurrentHealthy = 1
	const refused = "Cannot evict pod as it would violate the pod's disruption budget."
	type budgets map[string]policyv1.PodDisruptionBudgetStatus
	for name, test := range map[string]struct {
		phase   corev1.PodPhase
		unready bool
		policy  policyv1.UnhealthyPodEvictionPolicyType
		budgets budgets
		opts    *metav1.DeleteOptions

		code    int32 // 0: evicted
		message string
		cause   string
		retry   int32
		allowed int32 // left in the budget "a", where it is evicted
	}{
		"no budget":         {},
		"allowed":           {budgets: budgets{"a": one}},
		"dry":               {budgets: budgets{"a": one}, opts: &metav1.DeleteOptions{DryRun: []string{"All"}}, allowed: 1},
		"refused":           {budgets: budgets{"a": none}, code: 429, message: refused, cause: "The disruption budget a needs 2 healthy pods and has 2 currently"},
		"refused dry":       {budgets: budgets{"a": none}, opts: &metav1.DeleteOptions{DryRun: []string{"All"}}, code: 429, message: refused, cause: "The disruption budget a needs 2 healthy pods and has 2 currently"},
		"failed":            {budgets: budgets{"a": failed}, code: 429, message: refused, cause: "The disruption budget a does not allow evicting pods currently because it failed sync: no such controller"},
		"not processed":     {budgets: budgets{"a": {}}, code: 429, message: refused, retry: 10, cause: "The disruption budget a is still being processed by the server."},
		"two budgets":       {budgets: budgets{"a": one, "b": one}, code: 500, message: "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."},
		"pending":           {phase: corev1.PodPending, budgets: budgets{"a": none}},
		"ended":             {phase: corev1.PodFailed, budgets: budgets{"a": none}},
		"unready, healthy":  {unready: true, budgets: budgets{"a": none}},
		"unready, broken":   {unready: true, budgets: budgets{"a": broken}, code: 429, message: refused, cause: "The disruption budget a needs 2 healthy pods and has 1 currently"},
		"unready, if":       {unready: true, policy: policyv1.IfHealthyBudget, budgets: budgets{"a": broken}, code: 429, message: refused, cause: "The disruption budget a needs 2 healthy pods and has 1 currently"},
		"unready, always":   {unready: true, policy: policyv1.AlwaysAllow, budgets: budgets{"a": broken}},
		"of another":        {opts: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: ptr.To(types.UID("x"))}}, code: 409, message: "UID"},
		"of another time":   {opts: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: ptr.To("1")}}, code: 409, message: "ResourceVersion"},
		"pending, not this": {phase: corev1.PodPending, opts: &metav1.DeleteOptions{Preconditions: &metav1.Preconditions{ResourceVersion: ptr.To("1")}}, code: 409, message: "ResourceVersion"},
	} {
		t.Run(name, func(t *testing.T) {
			client, ctx := serve(t), t.Context()
			if test.phase == "" {
				test.phase = corev1.PodRunning
			}
			pod := evictable(t, client, "p", test.phase, !test.unready)
			for name, status := range test.budgets {
				budget(t, client, name, test.policy, status)
			}
			// The client is not to try again by itself.
			err := client.CoreV1().RESTClient().Post().Namespace("default").Resource("pods").Name("p").SubResource("eviction").MaxRetries(0).
				Body(&policyv1.Eviction{ObjectMeta: metav1.ObjectMeta{Name: "p"}, DeleteOptions: test.opts}).Do(ctx).Error()
			if test.code != 0 {
				checkRefusal(t, err, test.code, test.message, test.cause, test.retry, string(pod.UID), pod.ResourceVersion)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			checkEvicted(t, client, test.opts == nil, test.phase)
			if _, has := test.budgets["a"]; !has || test.budgets["a"].DisruptionsAllowed == 0 {
				return
			}
			b, err := client.PolicyV1().PodDisruptionBudgets("default").Get(ctx, "a", metav1.GetOptions{})
			if err != nil || b.Status.DisruptionsAllowed != test.allowed || (len(b.Status.DisruptedPods) == 1) != (test.allowed == 0) {
				t.Errorf("the budget afterwards: %+v, %v", b.Status, err)
			}
			if c := b.Status.Conditions; test.allowed == 0 && (len(c) != 1 || c[0].Reason != policyv1.InsufficientPodsReason) {
				t.Errorf("conditions of the budget: %+v", c)
			}
		})
	}
}

func checkRefusal(t *testing.T, err error, code int32, message, cause string, retry int32, uid, version string) {
	t.Helper()
	status, ok := err.(apierrors.APIStatus)
	if !ok {
		t.Fatalf("evicted: %v", err)
	}
	switch message {
	case "UID":
		message = `Operation cannot be fulfilled on Pod "p": the UID in the precondition (x) does not match the UID in record (` + uid + `). The object might have been deleted and then recreated`
	case "ResourceVersion":
		message = `Operation cannot be fulfilled on Pod "p": the ResourceVersion in the precondition (1) does not match the ResourceVersion in record (` + version + `). The object might have been modified`
	}
	s := status.Status()
	if s.Code != code || s.Message != message {
		t.Errorf("%d %s", s.Code, s.Message)
	}
	var causes []metav1.StatusCause
	if cause != "" {
		causes = []metav1.StatusCause{{Type: policyv1.DisruptionBudgetCause, Message: cause}}
		if diff := cmp.Diff(causes, s.Details.Causes); diff != "" || s.Details.RetryAfterSeconds != retry {
			t.Errorf("retry after %d s, causes (-want +got):\n%s", s.Details.RetryAfterSeconds, diff)
		}
	}
}

// checkEvicted looks at the pod afterwards: one that has ended goes at once, another
// is marked.
func checkEvicted(t *testing.T, client kubernetes.Interface, done bool, phase corev1.PodPhase) {
	t.Helper()
	pod, err := client.CoreV1().Pods("default").Get(t.Context(), "p", metav1.GetOptions{})
	switch {
	case done && phase == corev1.PodFailed:
		if !apierrors.IsNotFound(err) {
			t.Errorf("a pod that ended is still there: %v", err)
		}
	case err != nil:
		t.Error(err)
	case done:
		marked := false
		for _, c := range pod.Status.Conditions {
			marked = marked || c.Type == corev1.DisruptionTarget && c.Reason == "EvictionByEvictionAPI"
		}
		if pod.DeletionTimestamp == nil || !marked {
			t.Errorf("not evicted: %+v", pod)
		}
	case pod.DeletionTimestamp != nil || len(pod.Status.Conditions) > 1:
		t.Errorf("a dry run left its marks: %+v", pod)
	}
}

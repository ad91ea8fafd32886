package tainteviction_test

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
	"github.com/strake-io/strake/controllers/tainteviction"
)

var epoch = time.Unix(1_000_000, 0)

func taint(key, value string, since time.Duration) corev1.Taint {
	at := metav1.NewTime(epoch.Add(since))
	return corev1.Taint{Key: key, Value: value, Effect: corev1.TaintEffectNoExecute, TimeAdded: &at}
}

// pod came to its node at the epoch.
func pod(tolerations ...corev1.Toleration) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: "p", CreationTimestamp: metav1.NewTime(epoch.Add(-time.Minute))},
		Spec:       corev1.PodSpec{NodeName: "n", Tolerations: tolerations},
		Status: corev1.PodStatus{Phase: corev1.PodRunning, Conditions: []corev1.PodCondition{
			{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(epoch)},
		}},
	}
}

func exists(key string, seconds ...int64) corev1.Toleration {
	t := corev1.Toleration{Key: key, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}
	if len(seconds) > 0 {
		t.TolerationSeconds = &seconds[0]
	}
	return t
}

func TestDeadline(t *testing.T) {
	equal := corev1.Toleration{Key: "k", Value: "v"}
	const never, now = time.Duration(-1), time.Duration(-2)
	for _, test := range []struct {
		name   string
		pod    *corev1.Pod
		taints []corev1.Taint
		want   time.Duration // after the epoch
	}{
		{"no taint", pod(), nil, never},
		{"not tolerated", pod(), []corev1.Taint{taint("k", "v", time.Hour)}, now},
		{"tolerated for ever", pod(exists("k")), []corev1.Taint{taint("k", "v", 0)}, never},
		{"everything is tolerated", pod(exists("")), []corev1.Taint{taint("k", "v", 0), taint("l", "", 0)}, never},
		{"by its value", pod(equal), []corev1.Taint{taint("k", "v", 0)}, never},
		{"another value", pod(equal), []corev1.Taint{taint("k", "w", 0)}, now},
		{"for some time from when the taint came", pod(exists("k", 300)), []corev1.Taint{taint("k", "v", time.Hour)}, time.Hour + 5*time.Minute},
		{"an old taint and a new pod", pod(exists("k", 300)), []corev1.Taint{taint("k", "v", -time.Hour)}, 5 * time.Minute},
		{"no time at all", pod(exists("k", 0)), []corev1.Taint{taint("k", "v", time.Minute)}, time.Minute},
		{"less than none", pod(exists("k", -5)), []corev1.Taint{taint("k", "v", time.Minute)}, time.Minute},
		{"the first toleration counts", pod(exists("k", 60), exists("k")), []corev1.Taint{taint("k", "v", 0)}, time.Minute},
		{"the earliest of several", pod(exists("k", 60), exists("l", 10)), []corev1.Taint{taint("k", "v", 0), taint("l", "", time.Second)}, 11 * time.Second},
		{"one is not tolerated", pod(exists("k", 60)), []corev1.Taint{taint("k", "v", 0), taint("l", "", 0)}, now},
	} {
		at, leaves := tainteviction.Deadline(tainteviction.View{Pod: test.pod, Taints: test.taints, Since: func(corev1.Taint) time.Time { return epoch }})
		got := at.Sub(epoch)
		switch {
		case !leaves:
			got = never
		case at.IsZero():
			got = now
		}
		if got != test.want {
			t.Errorf("%s: %v, want %v", test.name, got, test.want)
		}
	}
}

func TestAPodHasItsTimeOnANodeWithAnOldTaint(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		// People's taints carry no time.
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Spec: corev1.NodeSpec{
			Taints: []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoExecute}},
		}}
		api := fakeapi.New(node)
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{tainteviction.New()}})
		time.Sleep(time.Hour)
		p := pod(exists("k", 60))
		p.CreationTimestamp, p.Status.Conditions = metav1.Time{}, nil
		pods := api.Client.CoreV1().Pods("ns")
		if _, err := pods.Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(58 * time.Second)
		if p, err := pods.Get(t.Context(), "p", metav1.GetOptions{}); err != nil || p.DeletionTimestamp != nil {
			t.Errorf("the pod left early: %v %v", p, err)
		}
		time.Sleep(3 * time.Second)
		p, err := pods.Get(t.Context(), "p", metav1.GetOptions{})
		if !apierrors.IsNotFound(err) && (err != nil || p.DeletionTimestamp == nil) {
			t.Errorf("the pod is still there: %v %v", p, err)
		}
	})
}

func TestAPodStaysWhenTheTaintGoesInTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Spec: corev1.NodeSpec{
			Taints: []corev1.Taint{{Key: "k", Effect: corev1.TaintEffectNoExecute}},
		}}
		api := fakeapi.New(node, pod(exists("k", 60)))
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{tainteviction.New()}})
		time.Sleep(50 * time.Second)
		nodes := api.Client.CoreV1().Nodes()
		now, err := nodes.Get(t.Context(), "n", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		now.Spec.Taints = nil
		if _, err := nodes.Update(t.Context(), now, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		if p, err := api.Client.CoreV1().Pods("ns").Get(t.Context(), "p", metav1.GetOptions{}); err != nil || p.DeletionTimestamp != nil {
			t.Errorf("the pod left: %v %v", p, err)
		}
	})
}

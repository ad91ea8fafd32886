package pvcprotection_test

import (
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
	"github.com/strake-io/strake/controllers/pvcprotection"
)

var epoch = metav1.NewTime(time.Unix(1_000_000, 0))

func claim(change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
	c := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p-v", Finalizers: []string{"other", pvcprotection.Finalizer}}}
	for _, f := range change {
		f(c)
	}
	return c
}

func going(c *corev1.PersistentVolumeClaim) { c.DeletionTimestamp = &epoch }
func bare(c *corev1.PersistentVolumeClaim)  { c.Finalizers = nil }
func bound(c *corev1.PersistentVolumeClaim) { c.Status.Phase = corev1.ClaimBound }
func ofPod(c *corev1.PersistentVolumeClaim) {
	c.OwnerReferences = []metav1.OwnerReference{{Kind: "Pod", Name: "p", UID: "p", Controller: ptr.To(true)}}
}

func unused(s corev1.ConditionStatus) func(*corev1.PersistentVolumeClaim) {
	return func(c *corev1.PersistentVolumeClaim) {
		c.Status.Conditions = []corev1.PersistentVolumeClaimCondition{{Type: "Other"}, {Type: corev1.PersistentVolumeClaimUnused, Status: s}}
	}
}

func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "p", UID: types.UID("p")},
		Spec: corev1.PodSpec{Volumes: []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: "p-v"},
		}}}},
	}
	for _, f := range change {
		f(p)
	}
	return p
}

func onNode(p *corev1.Pod)  { p.Spec.NodeName = "n" }
func over(p *corev1.Pod)    { p.Status.Phase = corev1.PodSucceeded }
func leaving(p *corev1.Pod) { p.DeletionTimestamp = &epoch }
func shutDown(p *corev1.Pod) {
	p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &epoch, ptr.To[int64](0)
}
func inline(p *corev1.Pod) {
	p.Spec.Volumes[0].VolumeSource = corev1.VolumeSource{Ephemeral: &corev1.EphemeralVolumeSource{}}
}

func TestReconcile(t *testing.T) {
	const add, remove = "update other,kubernetes.io/pvc-protection", "update other"
	for name, test := range map[string]struct {
		claim *corev1.PersistentVolumeClaim
		pods  []*corev1.Pod
		want  string
	}{
		"at rest":                        {claim: claim()},
		"an old one":                     {claim: claim(func(c *corev1.PersistentVolumeClaim) { c.Finalizers = []string{"other"} }), want: add},
		"going, unused":                  {claim: claim(going), want: remove},
		"going, others hold it":          {claim: claim(going, bare)},
		"going, a pod without a node":    {claim: claim(going), pods: []*corev1.Pod{pod()}, want: remove},
		"going, used":                    {claim: claim(going), pods: []*corev1.Pod{pod(onNode)}},
		"going, its pod has ended":       {claim: claim(going), pods: []*corev1.Pod{pod(onNode, over)}},
		"going, its pod is shut down":    {claim: claim(going), pods: []*corev1.Pod{pod(onNode, shutDown)}},
		"going, made for the pod":        {claim: claim(going, ofPod), pods: []*corev1.Pod{pod(onNode, inline, leaving)}},
		"going, its maker is shut down":  {claim: claim(going, ofPod), pods: []*corev1.Pod{pod(onNode, inline, shutDown)}, want: remove},
		"going, only the name is alike":  {claim: claim(going), pods: []*corev1.Pod{pod(onNode, inline)}, want: remove},
		"going, bound":                   {claim: claim(going, bound), pods: []*corev1.Pod{pod(onNode)}},
		"bound, nothing said":            {claim: claim(bound), want: "status True NoPodsUsingPVC"},
		"bound, used":                    {claim: claim(bound), pods: []*corev1.Pod{pod()}, want: "status False PodUsingPVC"},
		"bound, still unused":            {claim: claim(bound, unused("True"))},
		"bound, still used":              {claim: claim(bound, unused("False")), pods: []*corev1.Pod{pod(onNode)}},
		"bound, now used":                {claim: claim(bound, unused("True")), pods: []*corev1.Pod{pod()}, want: "status False PodUsingPVC"},
		"bound, its pod has ended":       {claim: claim(bound, unused("False")), pods: []*corev1.Pod{pod(onNode, over)}, want: "status True NoPodsUsingPVC"},
		"bound, its pod has stopped":     {claim: claim(bound, unused("False")), pods: []*corev1.Pod{pod(onNode, leaving)}, want: "status True NoPodsUsingPVC"},
		"bound, the status comes before": {claim: claim(bound, bare), want: "status True NoPodsUsingPVC"},
	} {
		got := ""
		plan, sure := pvcprotection.Reconcile(pvcprotection.View{Claim: test.claim, Pods: test.pods, Sure: true}, epoch.Time)
		for _, step := range plan.Steps {
			for _, w := range step.Writes {
				changed := w.Object.(*corev1.PersistentVolumeClaim)
				if w.Verb == controllers.Update {
					got += "update " + strings.Join(changed.Finalizers, ",")
					continue
				}
				c := changed.Status.Conditions[len(changed.Status.Conditions)-1]
				got += "status " + string(c.Status) + " " + c.Reason
			}
		}
		if got != test.want || !sure {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
		// What rests on there being no pod needs a sure view, and nothing else does.
		_, decided := pvcprotection.Reconcile(pvcprotection.View{Claim: test.claim, Pods: test.pods}, epoch.Time)
		if rests := test.want == remove || strings.HasPrefix(test.want, "status True"); decided == rests {
			t.Errorf("%s: decided without a sure view: %v", name, decided)
		}
	}
}

// A hundred claims go with their namespace while one pod is still there.
func TestClaimsGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		objects := []runtime.Object{pod(onNode), claim()}
		for i := range 100 {
			objects = append(objects, claim(func(c *corev1.PersistentVolumeClaim) {
				c.Name, c.Finalizers = "c"+string(rune('a'+i/10))+string(rune('a'+i%10)), []string{pvcprotection.Finalizer}
			}))
		}
		api := fakeapi.New(objects...)
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{pvcprotection.New()}})
		claims := api.Client.CoreV1().PersistentVolumeClaims("ns")
		if err := claims.DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		left, err := claims.List(t.Context(), metav1.ListOptions{})
		if err != nil || len(left.Items) != 1 || left.Items[0].Name != "p-v" {
			t.Fatalf("%d claims are left, %v", len(left.Items), err)
		}
		lists := slices.DeleteFunc(api.Client.Actions(), func(a clienttesting.Action) bool {
			return !a.Matches("list", "pods") || a.GetNamespace() != "ns"
		})
		if len(lists) > 20 {
			t.Errorf("%d lists of the pods for 100 claims", len(lists))
		}
		if err := api.Client.CoreV1().Pods("ns").Delete(t.Context(), "p", *metav1.NewDeleteOptions(0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		c, err := claims.Get(t.Context(), "p-v", metav1.GetOptions{})
		if err != nil || len(c.Finalizers) != 1 || c.Finalizers[0] != "other" {
			t.Errorf("the claim of the pod: %v, %v", c, err)
		}
	})
}

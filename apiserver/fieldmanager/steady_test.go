package fieldmanager

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	clientscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/resource"
)

func manager(t testing.TB, obj runtime.Object, subresource string, reset ...string) *Manager {
	t.Helper()
	kinds, _, err := clientscheme.Scheme.ObjectKinds(obj)
	if err != nil {
		t.Fatal(err)
	}
	set := fieldpath.NewSet()
	for _, name := range reset {
		set.Insert(fieldpath.MakePathOrDie(name))
	}
	m, err := New(Config{
		Resource:    &resource.Resource{GVK: kinds[0], Plural: "x", New: func() runtime.Object { return obj.DeepCopyObject() }},
		Subresource: subresource, Reset: set, Schema: Converter(clientscheme.Scheme),
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// stored is obj as it comes back from the store: with times in seconds.
func stored(t testing.TB, obj runtime.Object) runtime.Object {
	t.Helper()
	data, err := obj.(interface{ Marshal() ([]byte, error) }).Marshal()
	if err != nil {
		t.Fatal(err)
	}
	kinds, _, err := clientscheme.Scheme.ObjectKinds(obj)
	if err != nil {
		t.Fatal(err)
	}
	fresh, err := clientscheme.Scheme.New(kinds[0])
	if err != nil {
		t.Fatal(err)
	}
	if err := fresh.(interface{ Unmarshal([]byte) error }).Unmarshal(data); err != nil {
		t.Fatal(err)
	}
	return fresh
}

func entriesOf(t testing.TB, obj runtime.Object) []metav1.ManagedFieldsEntry {
	t.Helper()
	accessor, err := meta.Accessor(obj)
	if err != nil {
		t.Fatal(err)
	}
	return accessor.GetManagedFields()
}

// agree runs both ways and wants them to agree where the short one has an answer.
func agree(t testing.TB, m *Manager, live, obj runtime.Object, name string) (answered bool) {
	t.Helper()
	long := m.manager.UpdateNoErrors(live, obj.DeepCopyObject(), name)
	entries, ok := m.steady.update(live, obj.DeepCopyObject(), name, time.Now())
	if !ok {
		return false
	}
	want := entriesOf(t, long)
	timed := func(list []metav1.ManagedFieldsEntry) []metav1.ManagedFieldsEntry {
		list = slices.Clone(list)
		for i := range list {
			if list[i].Time != nil {
				recent := metav1.NewTime(time.Unix(0, 0))
				if time.Since(list[i].Time.Time) > time.Hour {
					recent = metav1.NewTime(time.Unix(1, 0))
				}
				list[i].Time = &recent
			}
		}
		return list
	}
	if diff := cmp.Diff(timed(want), timed(entries)); diff != "" {
		t.Errorf("the short way differs (-long +short):\n%s", diff)
	}
	return true
}

// aged makes the times of all entries two hours old.
func aged(t testing.TB, obj runtime.Object) runtime.Object {
	t.Helper()
	at := metav1.NewTime(time.Now().Add(-2 * time.Hour))
	for i := range entriesOf(t, obj) {
		entriesOf(t, obj)[i].Time = &at
	}
	return stored(t, obj)
}

func TestRenewedLease(t *testing.T) {
	m := manager(t, &coordinationv1.Lease{}, "")
	holder, at := "node", metav1.NewMicroTime(time.Now())
	lease := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, RenewTime: &at}}
	lease.Name = "node"
	live := aged(t, m.Update(&coordinationv1.Lease{}, lease, "kubelet"))
	for _, c := range []struct {
		name    string
		by      string
		change  func(*coordinationv1.Lease)
		answers bool
	}{
		{"nothing", "kubelet", func(*coordinationv1.Lease) {}, true},
		{"nothing, by another", "other", func(*coordinationv1.Lease) {}, true},
		{"renewed", "kubelet", func(l *coordinationv1.Lease) { l.Spec.RenewTime = &metav1.MicroTime{Time: at.Add(time.Second)} }, true},
		{"renewed, without the entries", "kubelet", func(l *coordinationv1.Lease) {
			l.Spec.RenewTime = &metav1.MicroTime{Time: at.Add(time.Second)}
			l.ManagedFields = nil
		}, true},
		{"renewed by another", "other", func(l *coordinationv1.Lease) { l.Spec.RenewTime = &metav1.MicroTime{Time: at.Add(time.Second)} }, false},
		{"entries given up", "kubelet", func(l *coordinationv1.Lease) { l.ManagedFields = []metav1.ManagedFieldsEntry{} }, false},
		{"entries changed", "kubelet", func(l *coordinationv1.Lease) { l.ManagedFields[0].Manager = "x" }, false},
		{"a field more", "kubelet", func(l *coordinationv1.Lease) { n := int32(1); l.Spec.LeaseTransitions = &n }, false},
		{"a field less", "kubelet", func(l *coordinationv1.Lease) { l.Spec.HolderIdentity = nil }, false},
		{"a label", "kubelet", func(l *coordinationv1.Lease) { l.Labels = map[string]string{"a": "b"} }, false},
		{"only what nobody owns", "kubelet", func(l *coordinationv1.Lease) { l.ResourceVersion, l.Generation, l.UID = "7", 3, "u" }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			obj := live.DeepCopyObject().(*coordinationv1.Lease)
			c.change(obj)
			if got := agree(t, m, live, obj, c.by); got != c.answers {
				t.Errorf("the short way answers: %v, want %v", got, c.answers)
			}
		})
	}
}

func samplePod() *corev1.Pod {
	now := metav1.Now()
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"a": "1", "b": "2"}, Finalizers: []string{"x/y", "x/z"}},
		Spec: corev1.PodSpec{
			Containers: []corev1.Container{{
				Name: "c", Image: "i", Command: []string{"a", "b"},
				Ports:         []corev1.ContainerPort{{ContainerPort: 80, Protocol: "TCP"}, {ContainerPort: 80, Protocol: "UDP"}},
				Env:           []corev1.EnvVar{{Name: "A", Value: "1"}, {Name: "B", Value: "2"}},
				Resources:     corev1.ResourceRequirements{Requests: corev1.ResourceList{"cpu": apiresource.MustParse("100m")}},
				LivenessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Port: intstr.FromInt32(80)}}},
			}},
			NodeSelector: map[string]string{"disk": "ssd"},
			Tolerations:  []corev1.Toleration{{Key: "a"}},
		},
		Status: corev1.PodStatus{
			Phase: corev1.PodRunning, PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}, StartTime: &now,
			Conditions: []corev1.PodCondition{
				{Type: corev1.PodReady, Status: corev1.ConditionTrue, LastTransitionTime: now},
				{Type: corev1.PodScheduled, Status: corev1.ConditionTrue, LastTransitionTime: now},
			},
			ContainerStatuses: []corev1.ContainerStatus{{Name: "c", Ready: true}},
		},
	}
	return pod
}

// podChanges are single changes of a pod, each by a number it may use.
var podChanges = []func(p *corev1.Pod, n int){
	func(p *corev1.Pod, n int) { p.Status.Phase = corev1.PodPhase(fmt.Sprint("P", n)) },
	func(p *corev1.Pod, n int) { p.Status.PodIP = fmt.Sprint("10.0.0.", n) },
	func(p *corev1.Pod, n int) { p.Status.PodIPs[0].IP = fmt.Sprint("10.0.0.", n) },
	func(p *corev1.Pod, n int) { p.Status.Conditions[n%2].Status = corev1.ConditionStatus(fmt.Sprint(n)) },
	func(p *corev1.Pod, n int) { p.Status.Conditions[n%2].Message = fmt.Sprint(n % 3) },
	func(p *corev1.Pod, n int) {
		p.Status.Conditions[n%2].LastTransitionTime = metav1.NewTime(time.Unix(int64(n), 0))
	},
	func(p *corev1.Pod, n int) {
		p.Status.Conditions[n%2].LastProbeTime = metav1.NewTime(time.Unix(int64(n), 0))
	},
	func(p *corev1.Pod, n int) { slices.Reverse(p.Status.Conditions) },
	func(p *corev1.Pod, n int) { p.Status.Conditions = p.Status.Conditions[:1] },
	func(p *corev1.Pod, n int) { p.Status.Conditions[1].Type = p.Status.Conditions[0].Type },
	func(p *corev1.Pod, n int) { p.Status.ContainerStatuses[0].RestartCount = int32(n) },
	func(p *corev1.Pod, n int) { p.Status.ContainerStatuses = nil },
	func(p *corev1.Pod, n int) { p.Spec.Containers[0].Image = fmt.Sprint("i", n) },
	func(p *corev1.Pod, n int) { p.Spec.Containers[0].Command[0] = fmt.Sprint(n) },
	func(p *corev1.Pod, n int) { p.Spec.Containers[0].Env[n%2].Value = fmt.Sprint(n % 3) },
	func(p *corev1.Pod, n int) { p.Spec.Containers[0].Env[1].Name = "A" },
	func(p *corev1.Pod, n int) { p.Spec.Containers[0].Ports[n%2].HostPort = int32(n % 3) },
	func(p *corev1.Pod, n int) { p.Spec.Containers[0].Ports[0].Protocol = "" },
	func(p *corev1.Pod, n int) {
		p.Spec.Containers[0].Resources.Requests["cpu"] = *apiresource.NewMilliQuantity(int64(n), apiresource.DecimalSI)
	},
	func(p *corev1.Pod, n int) {
		p.Spec.Containers[0].LivenessProbe.HTTPGet.Port = intstr.FromString(fmt.Sprint("p", n))
	},
	func(p *corev1.Pod, n int) {
		p.Spec.Containers[0].LivenessProbe.HTTPGet.Port = intstr.FromInt32(int32(n))
	},
	func(p *corev1.Pod, n int) { p.Spec.NodeSelector["disk"] = fmt.Sprint(n) },
	func(p *corev1.Pod, n int) { p.Spec.Tolerations[0].Key = fmt.Sprint(n) },
	func(p *corev1.Pod, n int) { p.Spec.NodeName = fmt.Sprint("n", n%2) },
	func(p *corev1.Pod, n int) { p.Labels["a"] = fmt.Sprint(n) },
	func(p *corev1.Pod, n int) { delete(p.Labels, "b") },
	func(p *corev1.Pod, n int) { p.Labels["c"] = "3" },
	func(p *corev1.Pod, n int) { p.Finalizers[0] = fmt.Sprint("x/", n) },
	func(p *corev1.Pod, n int) { p.Generation = int64(n) },
	func(p *corev1.Pod, n int) { p.ManagedFields = nil },
	func(p *corev1.Pod, n int) { at := metav1.Now(); p.DeletionTimestamp = &at },
}

// changedPod has a history of writes by several managers.
func changedPod(t testing.TB, whole, status *Manager, random *rand.Rand, writes int) *corev1.Pod {
	pod := whole.Update(&corev1.Pod{}, samplePod(), "kubectl").(*corev1.Pod)
	pod = stored(t, status.Update(whole.Update(&corev1.Pod{}, pod.DeepCopy(), "x"), pod.DeepCopy(), "kubelet")).(*corev1.Pod)
	for range writes {
		m := []*Manager{whole, status}[random.IntN(2)]
		next := pod.DeepCopy()
		podChanges[random.IntN(7)](next, random.IntN(5))
		pod = stored(t, m.Update(pod, next, []string{"kubectl", "kubelet"}[random.IntN(2)])).(*corev1.Pod)
	}
	return aged(t, pod).(*corev1.Pod)
}

func TestShortWayOfPods(t *testing.T) {
	whole, status := manager(t, &corev1.Pod{}, ""), manager(t, &corev1.Pod{}, "status", "spec")
	answers := 0
	for seed := range 5 {
		random := rand.New(rand.NewPCG(uint64(seed), 0))
		live := changedPod(t, whole, status, random, 3)
		for i, change := range podChanges {
			obj := live.DeepCopy()
			change(obj, 1+i)
			for _, m := range []*Manager{whole, status} {
				for _, by := range []string{"kubectl", "kubelet", "new"} {
					if agree(t, m, live, obj, by) {
						answers++
					}
				}
			}
		}
	}
	if answers < 100 {
		t.Errorf("the short way answered only %d times", answers)
	}
}

// FuzzShortWay puts several changes together.
func FuzzShortWay(f *testing.F) {
	for _, seed := range [][]byte{{0, 1}, {3, 1, 5, 2}, {12, 4, 14, 1, 18, 7}, {9, 0, 3, 1}, {15, 0, 14, 1}, {29, 0, 1, 3}} {
		f.Add(uint64(len(seed)), seed)
	}
	whole, status := manager(f, &corev1.Pod{}, ""), manager(f, &corev1.Pod{}, "status", "spec")
	f.Fuzz(func(t *testing.T, seed uint64, changes []byte) {
		live := changedPod(t, whole, status, rand.New(rand.NewPCG(seed, 0)), int(seed%4))
		obj := live.DeepCopy()
		for len(changes) > 1 {
			func() {
				// One change may have taken away what the next one is about.
				defer func() { _ = recover() }()
				podChanges[int(changes[0])%len(podChanges)](obj, int(changes[1]))
			}()
			changes = changes[2:]
		}
		agree(t, whole, live, obj, "kubectl")
		agree(t, status, live, obj, "kubelet")
	})
}

func TestShortWayOfDeployments(t *testing.T) {
	m := manager(t, &appsv1.Deployment{}, "", "status")
	replicas := int32(1)
	d := &appsv1.Deployment{Spec: appsv1.DeploymentSpec{Replicas: &replicas, Template: corev1.PodTemplateSpec{Spec: samplePod().Spec}}}
	live := aged(t, m.Update(&appsv1.Deployment{}, d, "kubectl"))
	for name, change := range map[string]func(*appsv1.Deployment){
		"scaled":            func(d *appsv1.Deployment) { n := int32(2); d.Spec.Replicas = &n },
		"another image":     func(d *appsv1.Deployment) { d.Spec.Template.Spec.Containers[0].Image = "j" },
		"a status is reset": func(d *appsv1.Deployment) { d.Status.Replicas = 7 },
	} {
		t.Run(name, func(t *testing.T) {
			obj := live.DeepCopyObject().(*appsv1.Deployment)
			change(obj)
			if !agree(t, m, live, obj, "kubectl") {
				t.Error("the short way has no answer")
			}
		})
	}
}

package defaults_test

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	nodev1 "k8s.io/api/node/v1"
	schedulingv1 "k8s.io/api/scheduling/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/defaults"
	apiresource "github.com/strake-io/strake/apiserver/resource"
)

// objects are what there is in a cluster, by resource.
type objects map[string][]runtime.Object

func (o objects) Get(_ context.Context, of schema.GroupResource, namespace, name string) (runtime.Object, error) {
	for _, obj := range o[of.Resource] {
		if m, err := meta.Accessor(obj); err == nil && m.GetNamespace() == namespace && m.GetName() == name {
			return obj, nil
		}
	}
	return nil, apierrors.NewNotFound(of, name)
}

func (o objects) List(_ context.Context, of schema.GroupResource, namespace string) ([]runtime.Object, error) {
	var all []runtime.Object
	for _, obj := range o[of.Resource] {
		if m, err := meta.Accessor(obj); err == nil && (namespace == "" || m.GetNamespace() == namespace) {
			all = append(all, obj)
		}
	}
	return all, nil
}

// Update and Delete are not for plugins to call here.
func (objects) Update(context.Context, apiresource.Request, schema.GroupResource, string, string, func(runtime.Object) error) (runtime.Object, error) {
	panic("a plugin wrote")
}

func (objects) Delete(context.Context, apiresource.Request, schema.GroupResource, string, string, *metav1.DeleteOptions) (runtime.Object, error) {
	panic("a plugin deleted")
}

func list(pairs ...string) corev1.ResourceList {
	l := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		l[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return l
}

// world has a namespace of each kind of limits, and classes.
func world() objects {
	named := func(namespace, name string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name}
	}
	labelled := func(name string, labels map[string]string) *corev1.Namespace {
		return &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: labels}}
	}
	return objects{
		"namespaces": {
			labelled("free", nil), labelled("limited", nil),
			labelled("baseline", map[string]string{"pod-security.kubernetes.io/enforce": "baseline", "pod-security.kubernetes.io/warn": "restricted"}),
		},
		"serviceaccounts": {
			&corev1.ServiceAccount{ObjectMeta: named("free", "default")}, &corev1.ServiceAccount{ObjectMeta: named("limited", "default")},
			&corev1.ServiceAccount{ObjectMeta: named("baseline", "default")},
		},
		"priorityclasses": {
			&schedulingv1.PriorityClass{ObjectMeta: named("", "high"), Value: 1000, PreemptionPolicy: ptr.To(corev1.PreemptNever)},
			&schedulingv1.PriorityClass{ObjectMeta: named("", "usual"), Value: 10, GlobalDefault: true},
		},
		"runtimeclasses": {&nodev1.RuntimeClass{
			ObjectMeta: named("", "vm"), Overhead: &nodev1.Overhead{PodFixed: list("cpu", "100m")},
			Scheduling: &nodev1.Scheduling{NodeSelector: map[string]string{"vm": "yes"}, Tolerations: []corev1.Toleration{{Key: "vm", Operator: corev1.TolerationOpExists}}},
		}},
		"nodes": {&corev1.Node{
			ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{corev1.LabelTopologyZone: "z", "other": "x"}},
			Status:     corev1.NodeStatus{Allocatable: list("cpu", "2", "memory", "1Gi")},
		}},
		"limitranges": {&corev1.LimitRange{ObjectMeta: named("limited", "l"), Spec: corev1.LimitRangeSpec{Limits: []corev1.LimitRangeItem{
			{Type: corev1.LimitTypeContainer, Default: list("cpu", "500m", "memory", "512Mi"), DefaultRequest: list("cpu", "100m"), Min: list("cpu", "50m"), Max: list("cpu", "2"), MaxLimitRequestRatio: list("cpu", "10")},
			{Type: corev1.LimitTypePod, Max: list("cpu", "3")},
		}}}},
	}
}

// admit runs the chain over a write, as the server does.
func admit(t *testing.T, a *admission.Attributes) (warnings []string, err error) {
	t.Helper()
	plugins, err := defaults.Chain(defaults.Config{NoToken: true})
	if err != nil {
		t.Fatal(err)
	}
	var chain admission.Chain
	for _, p := range plugins { // what clients configure has tests of its own
		if name := p.Name(); !strings.HasSuffix(name, "Policy") && !strings.HasSuffix(name, "Webhook") {
			chain = append(chain, p)
		}
	}
	a.Objects, a.Warn = world(), func(message string) { warnings = append(warnings, message) }
	if err = chain.Admit(t.Context(), a); err == nil {
		err = chain.Validate(t.Context(), a)
	}
	return warnings, err
}

func pods(op admission.Operation, subresource, namespace string, pod *corev1.Pod) *admission.Attributes {
	pod.Namespace = namespace
	return &admission.Attributes{
		Operation: op, Kind: corev1.SchemeGroupVersion.WithKind("Pod"), Resource: corev1.SchemeGroupVersion.WithResource("pods"),
		Subresource: subresource, Namespace: namespace, Name: pod.Name, Object: pod,
	}
}

func TestPodsRefused(t *testing.T) {
	container := func(requests, limits corev1.ResourceList) corev1.Container {
		return corev1.Container{Name: "c", Resources: corev1.ResourceRequirements{Requests: requests, Limits: limits}}
	}
	for _, test := range []struct {
		namespace string
		spec      corev1.PodSpec
		want      string
	}{
		{"free", corev1.PodSpec{PriorityClassName: "none"}, "no PriorityClass with name none was found"},
		{"free", corev1.PodSpec{Priority: ptr.To[int32](5)}, "the integer value of priority (5) must not be provided in pod spec; priority admission controller computed 10 from the given PriorityClass name"},
		{"free", corev1.PodSpec{PriorityClassName: "high", PreemptionPolicy: ptr.To(corev1.PreemptLowerPriority)}, "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided in pod spec; priority admission controller computed Never from the given PriorityClass name"},
		{"free", corev1.PodSpec{RuntimeClassName: ptr.To("none")}, `pod rejected: RuntimeClass "none" not found`},
		{"free", corev1.PodSpec{Overhead: list("cpu", "1")}, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead"},
		{"free", corev1.PodSpec{RuntimeClassName: ptr.To("vm"), Overhead: list("cpu", "1")}, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"},
		{"free", corev1.PodSpec{RuntimeClassName: ptr.To("vm"), NodeSelector: map[string]string{"vm": "no"}}, "conflict: runtimeClass.scheduling.nodeSelector[vm] = yes; pod.spec.nodeSelector[vm] = no"},
		{"limited", corev1.PodSpec{Containers: []corev1.Container{container(list("cpu", "10m"), nil)}}, "[minimum cpu usage per Container is 50m, but request is 10m, cpu max limit to request ratio per Container is 10, but provided ratio is 50.000000]"},
		{"limited", corev1.PodSpec{Containers: []corev1.Container{container(list("cpu", "2"), list("cpu", "3"))}}, "maximum cpu usage per Container is 2, but limit is 3"},
		{"limited", corev1.PodSpec{Containers: []corev1.Container{container(list("cpu", "2"), list("cpu", "2")), container(list("cpu", "2"), list("cpu", "2"))}}, "maximum cpu usage per Pod is 3, but limit is 4"},
		{"baseline", corev1.PodSpec{HostNetwork: true}, `violates PodSecurity "baseline:latest": host namespaces (hostNetwork=true)`},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: test.spec}
		if _, err := admit(t, pods(admission.Create, "", test.namespace, pod)); !apierrors.IsForbidden(err) || err.Error() != `pods "p" is forbidden: `+test.want {
			t.Errorf("%v\nwant %s", err, test.want)
		}
	}
}

func TestPodsCompleted(t *testing.T) {
	tolerations := func(more ...corev1.Toleration) []corev1.Toleration {
		return append([]corev1.Toleration{
			{Key: corev1.TaintNodeNotReady, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](300)},
			{Key: corev1.TaintNodeUnreachable, Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute, TolerationSeconds: ptr.To[int64](300)},
		}, more...)
	}
	complete := func(change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{
			ServiceAccountName: "default", DeprecatedServiceAccount: "default", PriorityClassName: "usual", Priority: ptr.To[int32](10), Tolerations: tolerations(),
		}}
		change(p)
		return p
	}
	for _, test := range []struct {
		namespace string
		spec      corev1.PodSpec
		want      *corev1.Pod
	}{
		{"free", corev1.PodSpec{}, complete(func(*corev1.Pod) {})},
		{"free", corev1.PodSpec{PriorityClassName: "high"}, complete(func(p *corev1.Pod) {
			p.Spec.PriorityClassName, p.Spec.Priority, p.Spec.PreemptionPolicy = "high", ptr.To[int32](1000), ptr.To(corev1.PreemptNever)
		})},
		{"free", corev1.PodSpec{NodeName: "n"}, complete(func(p *corev1.Pod) {
			p.Spec.NodeName, p.Labels = "n", map[string]string{corev1.LabelTopologyZone: "z"}
		})},
		{"free", corev1.PodSpec{RuntimeClassName: ptr.To("vm"), Tolerations: []corev1.Toleration{{Key: "vm", Operator: corev1.TolerationOpEqual, Value: "v"}}}, complete(func(p *corev1.Pod) {
			p.Spec.RuntimeClassName, p.Spec.Overhead, p.Spec.NodeSelector = ptr.To("vm"), list("cpu", "100m"), map[string]string{"vm": "yes"}
			p.Spec.Tolerations = tolerations(corev1.Toleration{Key: "vm", Operator: corev1.TolerationOpExists})
		})},
		{"limited", corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Limits: list("cpu", "1")}}}}, complete(func(p *corev1.Pod) {
			p.Annotations = map[string]string{"kubernetes.io/limit-ranger": "LimitRanger plugin set: cpu request for container c; memory limit for container c"}
			p.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: list("cpu", "100m"), Limits: list("cpu", "1", "memory", "512Mi")}}}
		})},
		{"baseline", corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}, complete(func(p *corev1.Pod) {
			p.Spec.Containers = []corev1.Container{{Name: "c"}}
		})},
	} {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: test.spec}
		warnings, err := admit(t, pods(admission.Create, "", test.namespace, pod))
		test.want.Namespace = test.namespace
		if diff := cmp.Diff(test.want, pod); err != nil || diff != "" {
			t.Errorf("%v %s", err, diff)
		}
		if warned := len(warnings) == 1 && strings.HasPrefix(warnings[0], `would violate PodSecurity "restricted:latest": `); warned != (test.namespace == "baseline") {
			t.Errorf("%s: %q", test.namespace, warnings)
		}
	}
}

func TestPodsResized(t *testing.T) {
	old := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Generation: 1}, Spec: corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{Requests: list("cpu", "1")}}}}}
	for cpu, want := range map[string]string{"2": "", "3": "node didn't have enough allocatable resources: cpu, requested: 3000, allocatable: 2000"} {
		pod := old.DeepCopy()
		pod.Generation = 2
		pod.Spec.Containers[0].Resources.Requests = list("cpu", cpu)
		a := pods(admission.Update, "resize", "free", pod)
		a.Old = old
		_, err := admit(t, a)
		if (err == nil) != (want == "") || err != nil && !strings.HasSuffix(err.Error(), want) {
			t.Errorf("%s: %v, want %q", cpu, err, want)
		}
	}
}

// A node comes with the taint, and a second default class does not come at all.
func TestNodesAndClasses(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "new"}}
	if _, err := admit(t, &admission.Attributes{Operation: admission.Create, Resource: corev1.SchemeGroupVersion.WithResource("nodes"), Name: "new", Object: node}); err != nil ||
		len(node.Spec.Taints) != 1 || node.Spec.Taints[0].Key != corev1.TaintNodeNotReady || node.Spec.Taints[0].Effect != corev1.TaintEffectNoSchedule {
		t.Errorf("%v %v", node.Spec.Taints, err)
	}
	class := &schedulingv1.PriorityClass{ObjectMeta: metav1.ObjectMeta{Name: "second"}, GlobalDefault: true}
	_, err := admit(t, &admission.Attributes{Operation: admission.Create, Resource: schedulingv1.SchemeGroupVersion.WithResource("priorityclasses"), Name: "second", Object: class})
	if want := `priorityclasses.scheduling.k8s.io "second" is forbidden: PriorityClass usual is already marked as default. Only one default can exist`; err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

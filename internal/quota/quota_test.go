package quota

import (
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
)

func list(pairs ...string) corev1.ResourceList {
	l := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		l[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return l
}

var now = time.Unix(1e9, 0)

func pod(change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{Spec: corev1.PodSpec{
		Containers: []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
			Requests: list("cpu", "1", "memory", "1Gi", "hugepages-2Mi", "4Mi", "example.com/gpu", "2"), Limits: list("cpu", "2"),
		}}},
		InitContainers: []corev1.Container{{Name: "i", Resources: corev1.ResourceRequirements{Requests: list("cpu", "3")}}},
	}}
	change(p)
	return p
}

func TestUsage(t *testing.T) {
	ended := list("count/pods", "1")
	for name, test := range map[string]struct {
		of   schema.GroupResource
		obj  runtime.Object
		want corev1.ResourceList
	}{
		"a pod": {Pods, pod(func(*corev1.Pod) {}), list("count/pods", "1", "pods", "1", "cpu", "3", "requests.cpu", "3", "memory", "1Gi", "requests.memory", "1Gi",
			"limits.cpu", "2", "hugepages-2Mi", "4Mi", "requests.hugepages-2Mi", "4Mi", "requests.example.com/gpu", "2")},
		"one that has ended": {Pods, pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), ended},
		"one that is stuck": {Pods, pod(func(p *corev1.Pod) {
			p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &metav1.Time{Time: now.Add(-time.Minute)}, ptr.To[int64](30)
		}), ended},
		"a service": {Services, &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, Ports: make([]corev1.ServicePort, 2)}},
			list("count/services", "1", "services", "1", "services.nodeports", "2", "services.loadbalancers", "1")},
		"a service without node ports": {Services, &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeLoadBalancer, AllocateLoadBalancerNodePorts: ptr.To(false), Ports: []corev1.ServicePort{{}, {NodePort: 30000}}}},
			list("count/services", "1", "services", "1", "services.nodeports", "1", "services.loadbalancers", "1")},
		"a claim": {Claims, &corev1.PersistentVolumeClaim{
			Spec:   corev1.PersistentVolumeClaimSpec{StorageClassName: ptr.To("fast"), Resources: corev1.VolumeResourceRequirements{Requests: list("storage", "1Gi")}},
			Status: corev1.PersistentVolumeClaimStatus{AllocatedResources: list("storage", "2Gi")},
		}, list("count/persistentvolumeclaims", "1", "persistentvolumeclaims", "1", "requests.storage", "2Gi",
			"fast.storageclass.storage.k8s.io/persistentvolumeclaims", "1", "fast.storageclass.storage.k8s.io/requests.storage", "2Gi")},
		"devices": {Devices, &resourcev1.ResourceClaim{Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{Requests: []resourcev1.DeviceRequest{
			{Exactly: &resourcev1.ExactDeviceRequest{DeviceClassName: "gpu", AllocationMode: resourcev1.DeviceAllocationModeExactCount, Count: 2}},
			{FirstAvailable: []resourcev1.DeviceSubRequest{{DeviceClassName: "gpu", Count: 3}, {DeviceClassName: "gpu", Count: 1}}},
		}}}}, list("count/resourceclaims.resource.k8s.io", "1", "gpu.deviceclass.resource.k8s.io/devices", "5")},
		"a secret":   {corev1.Resource("secrets"), &corev1.Secret{}, list("count/secrets", "1", "secrets", "1")},
		"of another": {schema.GroupResource{Group: "example.com", Resource: "ships"}, &metav1.PartialObjectMetadata{}, list("count/ships.example.com", "1")},
	} {
		got := Usage(test.of, test.obj, now)
		if !Equal(got, test.want) {
			t.Errorf("%s: %v, want %v", name, got, test.want)
		}
		if n := len(Names(test.of, test.want)); n != len(test.want) {
			t.Errorf("%s: %d of %d names are its kind's", name, n, len(test.want))
		}
	}
}

func TestCovers(t *testing.T) {
	effort := pod(func(p *corev1.Pod) {
		p.Spec.Containers, p.Spec.InitContainers, p.Spec.PriorityClassName = []corev1.Container{{}}, nil, "high"
	})
	scopes := func(s ...corev1.ResourceQuotaScope) corev1.ResourceQuotaSpec {
		return corev1.ResourceQuotaSpec{Scopes: s}
	}
	class := func(op corev1.ScopeSelectorOperator, values ...string) corev1.ResourceQuotaSpec {
		return corev1.ResourceQuotaSpec{ScopeSelector: &corev1.ScopeSelector{MatchExpressions: []corev1.ScopedResourceSelectorRequirement{{
			ScopeName: corev1.ResourceQuotaScopePriorityClass, Operator: op, Values: values,
		}}}}
	}
	for i, test := range []struct {
		spec corev1.ResourceQuotaSpec
		obj  *corev1.Pod
		want bool
	}{
		{scopes(), effort, true},
		{scopes(corev1.ResourceQuotaScopeBestEffort), effort, true},
		{scopes(corev1.ResourceQuotaScopeBestEffort, corev1.ResourceQuotaScopeTerminating), effort, false},
		{scopes(corev1.ResourceQuotaScopeNotBestEffort, corev1.ResourceQuotaScopeNotTerminating), pod(func(*corev1.Pod) {}), true},
		{scopes(corev1.ResourceQuotaScopeTerminating), pod(func(p *corev1.Pod) { p.Spec.ActiveDeadlineSeconds = ptr.To[int64](5) }), true},
		{scopes(corev1.ResourceQuotaScopePriorityClass), effort, true},
		{class(corev1.ScopeSelectorOpIn, "low", "high"), effort, true},
		{class(corev1.ScopeSelectorOpNotIn, "high"), effort, false},
		{class(corev1.ScopeSelectorOpDoesNotExist), effort, false},
		{class(corev1.ScopeSelectorOpDoesNotExist), pod(func(*corev1.Pod) {}), true},
		{scopes(corev1.ResourceQuotaScopeCrossNamespacePodAffinity), effort, false},
		{scopes(corev1.ResourceQuotaScopeCrossNamespacePodAffinity), pod(func(p *corev1.Pod) {
			p.Spec.Affinity = &corev1.Affinity{PodAntiAffinity: &corev1.PodAntiAffinity{RequiredDuringSchedulingIgnoredDuringExecution: []corev1.PodAffinityTerm{{Namespaces: []string{"x"}}}}}
		}), true},
	} {
		if got := Covers(&corev1.ResourceQuota{Spec: test.spec}, list("pods", "1"), Pods, test.obj); got != test.want {
			t.Errorf("%d: %v", i, got)
		}
	}
	if Covers(&corev1.ResourceQuota{}, list("services", "1"), Pods, effort) || Covers(&corev1.ResourceQuota{Spec: scopes(corev1.ResourceQuotaScopeBestEffort)}, list("secrets", "1"), corev1.Resource("secrets"), &corev1.Secret{}) {
		t.Error("a quota covers what it does not limit, or what has no such scope")
	}
}

func TestUnsaid(t *testing.T) {
	p := pod(func(*corev1.Pod) {})
	if err := Unsaid(p, []corev1.ResourceName{"pods", "cpu", "limits.memory", "requests.memory"}); err == nil || err.Error() != "must specify limits.memory for: c,i; requests.memory for: i" {
		t.Error(err)
	}
	p.Spec.Resources = &corev1.ResourceRequirements{Requests: list("cpu", "1")}
	if err := Unsaid(p, []corev1.ResourceName{"limits.memory"}); err != nil {
		t.Error(err)
	}
}

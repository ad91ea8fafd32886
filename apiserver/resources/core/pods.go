package core

import (
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/podspec"
)

func pods(proxy NodeProxy) *resource.Resource {
	return &resource.Resource{
		GVK: gvk("Pod"), Plural: "pods", Singular: "pod", ShortNames: []string{"po"}, Categories: []string{"all"},
		Namespaced: true, StoragePrefix: "pods",
		New:     func() runtime.Object { return &corev1.Pod{} },
		NewList: func() runtime.Object { return &corev1.PodList{} },
		Strategy: resource.Strategy{
			Default: func(obj runtime.Object) { podspec.DefaultPod(obj.(*corev1.Pod)) },
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				preparePod(obj.(*corev1.Pod))
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				preparePodUpdate(obj.(*corev1.Pod), old.(*corev1.Pod))
			},
			Validate: func(obj runtime.Object) field.ErrorList {
				return podspec.ValidatePod(obj.(*corev1.Pod))
			},
			ValidateChange: func(obj, old runtime.Object) field.ErrorList {
				return podspec.ValidatePodUpdate(obj.(*corev1.Pod), old.(*corev1.Pod))
			},
			NameError:                apivalidation.NameIsDNSSubdomain,
			Warnings:                 podWarnings,
			AllowUnconditionalUpdate: true,
			ReturnsDeleted:           true,
			GracePeriod:              podGracePeriod,
			ResetFields:              statusReset(),
		},
		Table:            resource.Table{Columns: podColumns(), Cells: podCells},
		SelectableFields: podFields,
		Share:            sharePod,
		// What every kubelet watches by.
		IndexedFields: []string{"spec.nodeName"},
		Subresources: []resource.Subresource{
			{Name: "attach", GVK: gvk("PodAttachOptions"), New: func() runtime.Object { return &corev1.PodAttachOptions{} }, Verbs: []string{"create", "get"}, Connect: connectStream(proxy, "attach")},
			{Name: "binding", GVK: gvk("Binding"), New: func() runtime.Object { return &corev1.Binding{} }, Create: bindPod},
			ephemeralContainers(),
			{Name: "eviction", GVK: evictionGVK, New: newEviction, Create: evictPod},
			{Name: "exec", GVK: gvk("PodExecOptions"), New: func() runtime.Object { return &corev1.PodExecOptions{} }, Verbs: []string{"create", "get"}, Connect: connectStream(proxy, "exec")},
			{Name: "log", Verbs: []string{"get"}, Connect: connectLog(proxy), Options: func() runtime.Object { return &corev1.PodLogOptions{} }},
			{Name: "portforward", GVK: gvk("PodPortForwardOptions"), New: func() runtime.Object { return &corev1.PodPortForwardOptions{} }, Verbs: []string{"create", "get"}, Connect: connectPortForward(proxy)},
			{Name: "proxy", GVK: gvk("PodProxyOptions"), New: func() runtime.Object { return &corev1.PodProxyOptions{} }, Verbs: proxyVerbs, Connect: connectPod(proxy)},
			resizePod(),
			{Name: "status", View: &resource.View{
				PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
					preparePodStatus(obj.(*corev1.Pod), old.(*corev1.Pod))
				},
				Validate: func(obj, old runtime.Object) field.ErrorList {
					return validatePodStatus(obj.(*corev1.Pod), old.(*corev1.Pod))
				},
				ResetFields: fieldpath.NewSet(
					fieldpath.MakePathOrDie("spec"),
					fieldpath.MakePathOrDie("metadata", "deletionTimestamp"),
					fieldpath.MakePathOrDie("metadata", "ownerReferences"),
				),
			}},
		},
	}
}

func preparePod(pod *corev1.Pod) {
	admitPod(pod)
	pod.Generation = 1
	pod.Status = corev1.PodStatus{Phase: corev1.PodPending}
	podspec.DropAnnotations(pod.Annotations)
	podspec.DropDisabled(&pod.Spec, nil)
	if len(pod.Spec.SchedulingGates) > 0 {
		setCondition(&pod.Status, corev1.PodCondition{
			Type: corev1.PodScheduled, Status: corev1.ConditionFalse, LastTransitionTime: metav1.Now(),
			Reason: corev1.PodReasonSchedulingGated, Message: "Scheduling is blocked due to non-empty scheduling gates",
		})
	}
	podspec.MergeLabelKeys(pod)
	podspec.FollowAppArmor(pod)
	podspec.DefaultPodResources(pod)
	pod.Status.QOSClass = podspec.QOSClass(pod)
}

func preparePodUpdate(pod, old *corev1.Pod) {
	pod.Status = old.Status
	podspec.KeepPodResources(pod, old)
	podspec.DropAnnotations(pod.Annotations)
	podspec.DropDisabled(&pod.Spec, &old.Spec)
	podspec.KeepServerChoices(pod, old)
	tolerateLostNode(&pod.Spec)
	pod.Generation = old.Generation
	if !apiequality.Semantic.DeepEqual(pod.Spec, old.Spec) {
		pod.Generation++
	}
}

func preparePodStatus(pod, old *corev1.Pod) {
	pod.Spec = old.Spec
	pod.Generation = old.Generation
	pod.DeletionTimestamp = old.DeletionTimestamp
	// Old node agents corrupted owner references through this endpoint.
	pod.OwnerReferences = old.OwnerReferences
	if pod.Status.QOSClass == "" {
		pod.Status.QOSClass = old.Status.QOSClass
	}
	keepObservedGenerations(&pod.Status, &old.Status)
	dropDisabledStatus(&pod.Status, &old.Status)
}

// podWarnings: few people write to a pod that exists, and node agents do often, so
// that then only addresses are looked at.
func podWarnings(obj, old runtime.Object) []string {
	pod := obj.(*corev1.Pod)
	if old == nil {
		return podspec.PodWarnings(pod)
	}
	var out []string
	was := &old.(*corev1.Pod).Status
	if !slices.Equal(pod.Status.PodIPs, was.PodIPs) {
		for i, ip := range pod.Status.PodIPs {
			out = append(out, validation.GetWarningsForIP(field.NewPath("status", "podIPs").Index(i).Child("ip"), ip.IP)...)
		}
	}
	if !slices.Equal(pod.Status.HostIPs, was.HostIPs) {
		for i, ip := range pod.Status.HostIPs {
			out = append(out, validation.GetWarningsForIP(field.NewPath("status", "hostIPs").Index(i).Child("ip"), ip.IP)...)
		}
	}
	return out
}

// podGracePeriod: what the request says, else what the pod says; at once where
// no node runs it, or no node runs it any more.
func podGracePeriod(obj runtime.Object, opts *metav1.DeleteOptions) int64 {
	pod := obj.(*corev1.Pod)
	var period int64
	switch {
	case opts != nil && opts.GracePeriodSeconds != nil:
		period = *opts.GracePeriodSeconds
	case pod.Spec.TerminationGracePeriodSeconds != nil:
		period = *pod.Spec.TerminationGracePeriodSeconds
	}
	if pod.Spec.NodeName == "" || pod.Status.Phase == corev1.PodFailed || pod.Status.Phase == corev1.PodSucceeded {
		return 0
	}
	if period < 0 {
		return 1
	}
	return period
}

func podFields(obj runtime.Object) fields.Set {
	pod := obj.(*corev1.Pod)
	ip := pod.Status.PodIP
	if ip == "" && len(pod.Status.PodIPs) > 0 {
		ip = pod.Status.PodIPs[0].IP
	}
	return fields.Set{
		"spec.nodeName":            pod.Spec.NodeName,
		"spec.restartPolicy":       string(pod.Spec.RestartPolicy),
		"spec.schedulerName":       pod.Spec.SchedulerName,
		"spec.serviceAccountName":  pod.Spec.ServiceAccountName,
		"spec.hostNetwork":         strconv.FormatBool(pod.Spec.HostNetwork),
		"status.phase":             string(pod.Status.Phase),
		"status.podIP":             ip,
		"status.podIPs":            ip,
		"status.nominatedNodeName": pod.Status.NominatedNodeName,
	}
}

// resizePod changes the cpu and memory of a pod's containers, and nothing else.
func resizePod() resource.Subresource {
	return resource.Subresource{Name: "resize", View: &resource.View{
		PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
			pod, was := obj.(*corev1.Pod), old.(*corev1.Pod)
			podspec.PrepareResize(pod, was)
			pod.Generation = was.Generation
			if !apiequality.Semantic.DeepEqual(pod.Spec, was.Spec) {
				pod.Generation++
			}
		},
		Validate: func(obj, old runtime.Object) field.ErrorList {
			return podspec.ValidateResize(obj.(*corev1.Pod), old.(*corev1.Pod))
		},
		ResetFields: statusReset(),
	}}
}

// ephemeralContainers adds debug containers to a pod that runs, and changes
// nothing else.
func ephemeralContainers() resource.Subresource {
	return resource.Subresource{Name: "ephemeralcontainers", View: &resource.View{
		PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
			pod, was := obj.(*corev1.Pod), old.(*corev1.Pod)
			added := pod.Spec.EphemeralContainers
			meta := pod.ObjectMeta
			*pod = *was.DeepCopy()
			pod.ResourceVersion, pod.ManagedFields = meta.ResourceVersion, meta.ManagedFields
			pod.Spec.EphemeralContainers = added
			for i := range added {
				podspec.DefaultEphemeralContainer(&added[i])
			}
			podspec.DropDisabled(&pod.Spec, &was.Spec)
			if !apiequality.Semantic.DeepEqual(pod.Spec, was.Spec) {
				pod.Generation++
			}
		},
		Validate: func(obj, old runtime.Object) field.ErrorList {
			pod := obj.(*corev1.Pod)
			return podspec.ValidateEphemeralUpdate(pod, old.(*corev1.Pod))
		},
		ResetFields: statusReset(),
	}}
}

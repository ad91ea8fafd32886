package node

import (
	"fmt"
	"slices"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"
)

// Follow reads pods, volumes and what else says which objects are a node's, from
// now on. The informers are the caller's to start; each of the channels is closed
// when one kind has been read. Nodes reach nothing before.
func (n *Authorizer) Follow(factory informers.SharedInformerFactory) (synced []<-chan struct{}, err error) {
	x := n.index
	for _, one := range []struct {
		informer cache.SharedIndexInformer
		handler  cache.ResourceEventHandler
	}{
		{factory.Core().V1().Pods().Informer(), handler(samePod, x.pod)},
		{factory.Core().V1().PersistentVolumes().Informer(), handler(sameVolume, x.persistentVolume)},
		{factory.Storage().V1().VolumeAttachments().Informer(), handler(
			func(old, now *storagev1.VolumeAttachment) bool { return old.Spec.NodeName == now.Spec.NodeName },
			func(a *storagev1.VolumeAttachment, gone bool) {
				x.own(object{attachment, "", a.Name}, a.Spec.NodeName, gone)
			})},
		{factory.Resource().V1().ResourceSlices().Informer(), handler(
			func(old, now *resourcev1.ResourceSlice) bool { return old.UID == now.UID }, // its node does not change
			func(s *resourcev1.ResourceSlice, gone bool) {
				x.own(object{slice, "", s.Name}, ptr.Deref(s.Spec.NodeName, ""), gone)
			})},
		{factory.Certificates().V1().PodCertificateRequests().Informer(), handler(
			func(old, now *certificatesv1.PodCertificateRequest) bool { return old.UID == now.UID }, // its spec does not change
			func(r *certificatesv1.PodCertificateRequest, gone bool) {
				x.own(object{certificate, r.Namespace, r.Name}, string(r.Spec.NodeName), gone)
			})},
	} {
		handle, err := one.informer.AddEventHandler(one.handler)
		if err != nil {
			return nil, fmt.Errorf("node authoriser: %w", err)
		}
		synced = append(synced, handle.HasSyncedChecker().Done())
	}
	return synced, nil
}

// handler calls put for each object that came, went, or is not as it was.
func handler[T any](same func(old, now *T) bool, put func(obj *T, gone bool)) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			if now, ok := obj.(*T); ok {
				put(now, false)
			}
		},
		UpdateFunc: func(oldObj, obj any) {
			now, ok := obj.(*T)
			if !ok {
				return
			}
			if old, ok := oldObj.(*T); ok && same(old, now) {
				return
			}
			put(now, false)
		},
		DeleteFunc: func(obj any) {
			if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = last.Obj
			}
			if gone, ok := obj.(*T); ok {
				put(gone, true)
			}
		},
	}
}

// own makes an object a node's by itself.
func (x *index) own(what object, node string, gone bool) {
	if gone {
		node = ""
	}
	x.put(what, node, []object{what})
}

func (x *index) pod(p *corev1.Pod, gone bool) {
	what := object{pod, p.Namespace, p.Name}
	if gone || p.Spec.NodeName == "" {
		x.put(what, "", nil)
		return
	}
	x.put(what, p.Spec.NodeName, podRefers(p))
}

// samePod: what a pod on a node refers to changes only in these ways.
func samePod(old, now *corev1.Pod) bool {
	return old.UID == now.UID && old.Spec.NodeName == now.Spec.NodeName &&
		len(old.Spec.EphemeralContainers) == len(now.Spec.EphemeralContainers) &&
		slices.EqualFunc(old.Status.ResourceClaimStatuses, now.Status.ResourceClaimStatuses, func(a, b corev1.PodResourceClaimStatus) bool {
			return a.Name == b.Name && ptr.Equal(a.ResourceClaimName, b.ResourceClaimName)
		}) && extendedClaim(old) == extendedClaim(now)
}

// extendedClaim is the claim that was made for what a pod wants of devices by the
// names of resources.
func extendedClaim(p *corev1.Pod) string {
	if s := p.Status.ExtendedResourceClaimStatus; s != nil {
		return s.ResourceClaimName
	}
	return ""
}

func (x *index) persistentVolume(pv *corev1.PersistentVolume, gone bool) {
	if gone || pv.Spec.ClaimRef == nil {
		x.putVolume(pv.Name, nil)
		return
	}
	x.putVolume(pv.Name, &boundVolume{
		claim: object{claim, pv.Spec.ClaimRef.Namespace, pv.Spec.ClaimRef.Name}, secrets: volumeSecrets(pv),
	})
}

func sameVolume(old, now *corev1.PersistentVolume) bool {
	return old.UID == now.UID && apiequality.Semantic.DeepEqual(old.Spec, now.Spec)
}

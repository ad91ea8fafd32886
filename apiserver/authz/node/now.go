package node

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientcache "k8s.io/client-go/tools/cache"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
)

// Now reads the cluster as it stands: whatever somebody has been told before the call
// is in the answer. Safe for concurrent use; errors mean that it is not known.
type Now interface {
	// Get one object of a resource, read-only.
	Get(ctx context.Context, of schema.GroupResource, namespace, name string) (runtime.Object, error)
	// PodsOn are the pods that are bound to a node, read-only.
	PodsOn(ctx context.Context, node string) ([]*corev1.Pod, error)
}

// Reader is an API server, as far as [ReadFrom] needs one.
type Reader interface {
	Objects() resource.Objects
	ListerWatcher(of schema.GroupResource, namespace string) (clientcache.ListerWatcherWithContext, error)
}

// ReadFrom is what an API server of this process serves. The authoriser is a part of
// that server, which may therefore be made later: server is called for each reading.
func ReadFrom(server func() Reader) Now { return readFrom(server) }

type readFrom func() Reader

func (r readFrom) Get(ctx context.Context, of schema.GroupResource, namespace, name string) (runtime.Object, error) {
	return r().Objects().Get(ctx, of, namespace, name)
}

func (r readFrom) PodsOn(ctx context.Context, node string) ([]*corev1.Pod, error) {
	pods, err := r().ListerWatcher(corev1.Resource("pods"), metav1.NamespaceAll)
	if err != nil {
		return nil, err
	}
	list, err := pods.ListWithContext(ctx, metav1.ListOptions{FieldSelector: fields.OneTermEqualSelector("spec.nodeName", node).String()})
	if err != nil {
		return nil, err
	}
	var out []*corev1.Pod
	err = meta.EachListItem(list, func(obj runtime.Object) error {
		p, ok := obj.(*corev1.Pod)
		if !ok {
			return fmt.Errorf("node authoriser: %T among the pods", obj)
		}
		out = append(out, p)
		return nil
	})
	return out, err
}

// reachesNow is the question of index.reaches, asked of the cluster itself. A kubelet
// asks for what a pod needs as soon as it sees the pod, which may be before the index
// does; refused once, it would wait a second before it tried again.
func (n *Authorizer) reachesNow(ctx context.Context, node string, what object) bool {
	if n.now == nil {
		return false
	}
	get := func(of schema.GroupResource) runtime.Object {
		obj, err := n.now.Get(ctx, of, what.namespace, what.name)
		if err != nil {
			return nil // it is not there, or nobody knows
		}
		return obj
	}
	switch what.kind {
	case attachment:
		a, ok := get(storagev1.Resource("volumeattachments")).(*storagev1.VolumeAttachment)
		return ok && a.Spec.NodeName == node
	case slice:
		s, ok := get(resourcev1.Resource("resourceslices")).(*resourcev1.ResourceSlice)
		return ok && ptr.Deref(s.Spec.NodeName, "") == node
	case certificate:
		r, ok := get(certificatesv1.Resource("podcertificaterequests")).(*certificatesv1.PodCertificateRequest)
		return ok && string(r.Spec.NodeName) == node
	case volume:
		pv, ok := get(corev1.Resource("persistentvolumes")).(*corev1.PersistentVolume)
		return ok && pv.Spec.ClaimRef != nil &&
			n.podsReach(ctx, node, object{claim, pv.Spec.ClaimRef.Namespace, pv.Spec.ClaimRef.Name})
	}
	return n.podsReach(ctx, node, what)
}

func (n *Authorizer) podsReach(ctx context.Context, node string, what object) bool {
	pods, err := n.now.PodsOn(ctx, node)
	if err != nil {
		return false
	}
	counts := map[object]int{}
	for _, p := range pods {
		for _, r := range podRefers(p) {
			counts[r]++
		}
	}
	return n.index.reachedBy(counts, what)
}

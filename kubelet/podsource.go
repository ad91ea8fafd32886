package kubelet

import (
	"context"
	"sort"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/labels"
	apiruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/kubelet/admission"
	"github.com/strake-io/strake/kubelet/containerspec"
	"github.com/strake-io/strake/kubelet/podstep"
)

type podUID = types.UID

// podInformer watches the pods that are bound to this node.
func (k *Kubelet) podInformer(handler cache.ResourceEventHandler) cache.Controller {
	selector := fields.OneTermEqualSelector("spec.nodeName", k.nodeName()).String()
	client := k.cfg.Client.CoreV1().Pods(metav1.NamespaceAll)
	_, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (apiruntime.Object, error) {
				o.FieldSelector = selector
				return client.List(ctx, o)
			},
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				o.FieldSelector = selector
				return client.Watch(ctx, o)
			},
		}, k.cfg.Client),
		ObjectType: &corev1.Pod{},
		Handler:    handler,
	})
	return controller
}

// serviceInformer watches all services.
func (k *Kubelet) serviceInformer() (ServiceLister, cache.Controller) {
	client := k.cfg.Client.CoreV1().Services(metav1.NamespaceAll)
	store, controller := cache.NewInformerWithOptions(cache.InformerOptions{
		ListerWatcher: cache.ToListWatcherWithWatchListSemantics(&cache.ListWatch{
			ListWithContextFunc: func(ctx context.Context, o metav1.ListOptions) (apiruntime.Object, error) { return client.List(ctx, o) },
			WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (watch.Interface, error) {
				return client.Watch(ctx, o)
			},
		}, k.cfg.Client),
		ObjectType: &corev1.Service{},
		Handler:    cache.ResourceEventHandlerFuncs{},
	})
	return serviceStore{store}, controller
}

type serviceStore struct{ cache.Store }

func (s serviceStore) List(selector labels.Selector) ([]*corev1.Service, error) {
	var out []*corev1.Service
	for _, o := range s.Store.List() {
		if service, ok := o.(*corev1.Service); ok && selector.Matches(labels.Set(service.Labels)) {
			out = append(out, service)
		}
	}
	return out, nil
}

// podHandler takes the informer's events until ctx ends. It is called by one
// goroutine only.
func (k *Kubelet) podHandler(ctx context.Context) cache.ResourceEventHandler {
	return cache.ResourceEventHandlerDetailedFuncs{
		AddFunc: func(o any, initial bool) {
			if pod, ok := o.(*corev1.Pod); ok {
				k.podSeen(ctx, pod)
			}
		},
		UpdateFunc: func(before, o any) {
			pod, ok := o.(*corev1.Pod)
			if !ok {
				return
			}
			// A namesake took the place of a pod whose deletion was missed.
			if old, ok := before.(*corev1.Pod); ok && old.UID != pod.UID {
				k.podGone(old.UID)
			}
			k.podSeen(ctx, pod)
		},
		DeleteFunc: func(o any) {
			if tomb, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = tomb.Obj
			}
			if pod, ok := o.(*corev1.Pod); ok {
				k.podGone(pod.UID)
			}
		},
	}
}

// podSeen takes a pod as the API has it now. Before the first list is complete
// pods are only collected, so that the oldest are admitted first.
func (k *Kubelet) podSeen(ctx context.Context, pod *corev1.Pod) {
	if pod.Spec.NodeName != k.nodeName() {
		return // a server that does not know the selector
	}
	k.intake.Lock()
	defer k.intake.Unlock()
	k.mu.Lock()
	if !k.listed {
		k.early[pod.UID] = pod
		k.mu.Unlock()
		return
	}
	w := k.pods[pod.UID]
	k.mu.Unlock()
	if w == nil {
		k.podNew(ctx, pod)
		return
	}
	k.statuses.observe(pod)
	w.mu.Lock()
	hurry := pod.DeletionTimestamp != nil && (w.pod.DeletionTimestamp == nil || graceOf(pod) < graceOf(w.pod))
	w.pod = pod
	if w.gone {
		w.gone = false
	}
	if hurry {
		w.hurry()
	}
	w.mu.Unlock()
	k.poke(pod.UID)
}

func graceOf(pod *corev1.Pod) int64 {
	if g := pod.DeletionGracePeriodSeconds; g != nil {
		return *g
	}
	return 0
}

// hurry ends what may be given up, so that the pod is decided on anew. Call with w.mu held.
func (w *worker) hurry() {
	w.dirty = true
	w.notBefore = time.Time{}
	if w.interrupt != nil {
		w.interrupt()
	}
}

// podNew takes up a pod. Call with k.intake held.
func (k *Kubelet) podNew(ctx context.Context, pod *corev1.Pod) {
	w := newWorker(pod, time.Now())
	boxes, _ := k.seen.get(pod.UID)
	finished := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
	if len(boxes) == 0 && !finished && pod.DeletionTimestamp == nil {
		if r := k.admit(ctx, pod); r != nil {
			w.verdict = &podstep.Verdict{Phase: corev1.PodFailed, Reason: r.Reason, Message: "Pod was rejected: " + r.Message}
			k.event(pod, corev1.EventTypeWarning, r.Reason, r.Message)
		}
	}
	k.statuses.observe(pod)
	k.mu.Lock()
	k.pods[pod.UID] = w
	k.mu.Unlock()
	k.poke(pod.UID)
}

// admitTimeout bounds the question for the node as the API has it.
const admitTimeout = 5 * time.Second

// admit decides on a new pod. The scheduler may know the node's labels and taints
// better than we do, who read them as we report: before a pod fails, they are read
// anew.
func (k *Kubelet) admit(ctx context.Context, pod *corev1.Pod) *admission.Rejection {
	others, known := k.activePods(), k.node.Load()
	rejected := admission.Admit(pod, others, known)
	if rejected == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, admitTimeout)
	defer cancel()
	node, err := k.cfg.Client.CoreV1().Nodes().Get(ctx, known.Name, metav1.GetOptions{})
	if err != nil {
		return rejected
	}
	return admission.Admit(pod, others, node)
}

// podGone ends a pod that the API no longer has.
func (k *Kubelet) podGone(uid types.UID) {
	k.intake.Lock()
	defer k.intake.Unlock()
	k.mu.Lock()
	delete(k.early, uid)
	w := k.pods[uid]
	k.mu.Unlock()
	if w == nil {
		return
	}
	w.mu.Lock()
	w.gone = true
	w.hurry()
	w.mu.Unlock()
	k.poke(uid)
}

// adopt begins work on the pods of the first list and on what earlier processes
// left behind.
func (k *Kubelet) adopt(ctx context.Context) {
	k.intake.Lock()
	defer k.intake.Unlock()
	k.mu.Lock()
	k.listed = true
	pods := make([]*corev1.Pod, 0, len(k.early))
	for _, pod := range k.early {
		pods = append(pods, pod)
	}
	k.early = nil
	k.mu.Unlock()
	// Pods that run already come first, then the oldest: they keep their place.
	running := map[types.UID]bool{}
	for _, uid := range k.seen.uids() {
		running[uid] = true
	}
	sort.Slice(pods, func(i, j int) bool {
		a, b := pods[i], pods[j]
		if running[a.UID] != running[b.UID] {
			return running[a.UID]
		}
		if !a.CreationTimestamp.Equal(&b.CreationTimestamp) {
			return a.CreationTimestamp.Before(&b.CreationTimestamp)
		}
		return a.UID < b.UID
	})
	for _, pod := range pods {
		k.podNew(ctx, pod)
	}
}

// orphans takes up pods that are in the runtime and not in the API, to end them.
func (k *Kubelet) orphans() {
	k.intake.Lock()
	defer k.intake.Unlock()
	for _, uid := range k.seen.uids() {
		k.mu.Lock()
		known := k.pods[uid] != nil || !k.listed
		k.mu.Unlock()
		if known {
			continue
		}
		boxes, containers := k.seen.get(uid)
		pod := &corev1.Pod{}
		pod.UID = uid
		pod.Spec.NodeName = k.nodeName()
		for i := range boxes {
			pod.Name, pod.Namespace = boxes[i].Pod.Name, boxes[i].Pod.Namespace
		}
		for i := range containers {
			l := containers[i].Labels
			pod.Name, pod.Namespace = or(pod.Name, l[containerspec.LabelPodName]), or(pod.Namespace, l[containerspec.LabelPodNamespace])
		}
		w := newWorker(pod, time.Now())
		w.gone = true
		k.log.Info("ending a pod that the API no longer has", "pod", pod.Namespace+"/"+pod.Name, "uid", uid)
		k.mu.Lock()
		k.pods[uid] = w
		k.mu.Unlock()
		k.poke(uid)
	}
}

// forget drops a pod of which nothing is left.
func (k *Kubelet) forget(w *worker) {
	w.mu.Lock()
	pod := w.pod
	w.busy = false
	w.mu.Unlock()
	k.probes.Remove(w.uid)
	k.statuses.forget(w.uid)
	k.removeLogs(pod)
	k.mu.Lock()
	delete(k.pods, w.uid)
	k.mu.Unlock()
}

// workers are those of all pods.
func (k *Kubelet) workers() []*worker {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := make([]*worker, 0, len(k.pods))
	for _, w := range k.pods {
		out = append(out, w)
	}
	return out
}

// activePods are those that hold resources of the node.
func (k *Kubelet) activePods() []*corev1.Pod {
	workers := k.workers()
	out := make([]*corev1.Pod, 0, len(workers))
	for _, w := range workers {
		w.mu.Lock()
		pod := w.pod
		over := w.verdict != nil || w.reported || w.deleted || w.gone && len(pod.Spec.Containers) == 0
		w.mu.Unlock()
		if !over && pod.Status.Phase != corev1.PodSucceeded && pod.Status.Phase != corev1.PodFailed {
			out = append(out, pod)
		}
	}
	return out
}

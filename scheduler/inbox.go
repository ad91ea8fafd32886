package scheduler

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"sync"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/scheduler/framework"
)

// message is something the loop is told.
type message interface{ apply(l *loop) }

// inbox takes messages from any goroutine, without bound and without blocking.
type inbox struct {
	mu       sync.Mutex // guards messages
	messages []message
	arrived  chan struct{} // holds one token while there may be messages
}

func newInbox() *inbox { return &inbox{arrived: make(chan struct{}, 1)} }

func (b *inbox) put(m message) {
	b.mu.Lock()
	b.messages = append(b.messages, m)
	b.mu.Unlock()
	select {
	case b.arrived <- struct{}{}:
	default:
	}
}

// take returns the messages in order; it gives the caller's spare slice back to
// be filled next.
func (b *inbox) take(spare []message) []message {
	b.mu.Lock()
	defer b.mu.Unlock()
	m := b.messages
	b.messages = spare[:0]
	return m
}

// orderNodes puts the nodes that were there at the start first, by name. Informers
// tell of them in any order, and where equal nodes are drawn from by their place, a
// fixed seed would not repeat.
func (b *inbox) orderNodes() {
	b.mu.Lock()
	defer b.mu.Unlock()
	var nodes []nodeMessage
	var rest []message
	for i, m := range b.messages {
		n, isNode := m.(nodeMessage)
		if isNode && n.old != nil {
			rest = append(rest, b.messages[i:]...) // from here on the order matters
			break
		}
		if isNode {
			nodes = append(nodes, n)
		} else {
			rest = append(rest, m)
		}
	}
	slices.SortFunc(nodes, func(a, b nodeMessage) int { return cmp.Compare(a.node.Name, b.node.Name) })
	b.messages = b.messages[:0]
	for _, n := range nodes {
		b.messages = append(b.messages, n)
	}
	b.messages = append(b.messages, rest...)
}

type nodeMessage struct{ old, node *corev1.Node } // node is nil when it is gone

type podMessage struct {
	// pod is nil when it is gone; old is nil when it is new.
	old, pod *corev1.Pod
	// info is pod worked out, which the informer's goroutine does for the loop.
	info *framework.PodInfo
}

// listen puts in the inbox what the informers hear of nodes and pods. synced
// report that everything there was at the start is in it.
func (b *inbox) listen(f informers.SharedInformerFactory, schedulerName string) (synced []cache.DoneChecker, stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	add := func(i cache.SharedIndexInformer, h cache.ResourceEventHandler) error {
		r, err := i.AddEventHandler(h)
		if err != nil {
			return err
		}
		synced = append(synced, r.HasSyncedChecker())
		stops = append(stops, func() { _ = i.RemoveEventHandler(r) })
		return nil
	}
	if err := add(f.Core().V1().Nodes().Informer(), b.nodeHandler()); err != nil {
		return nil, nil, err
	}
	if err := add(f.Core().V1().Pods().Informer(), b.podHandler(schedulerName)); err != nil {
		stop()
		return nil, nil, err
	}
	return synced, stop, nil
}

func (b *inbox) nodeHandler() cache.ResourceEventHandler {
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			if n, ok := obj.(*corev1.Node); ok {
				b.put(nodeMessage{node: n})
			}
		},
		UpdateFunc: func(old, obj any) {
			o, ok1 := old.(*corev1.Node)
			n, ok2 := obj.(*corev1.Node)
			if ok1 && ok2 {
				b.put(nodeMessage{old: o, node: n})
			}
		},
		DeleteFunc: func(obj any) {
			if n, ok := last(obj).(*corev1.Node); ok {
				b.put(nodeMessage{old: n})
			}
		},
	}
}

func (b *inbox) podHandler(schedulerName string) cache.ResourceEventHandler {
	// Pods that another scheduler has yet to place are none of our business.
	ours := func(p *corev1.Pod) bool {
		return p.Spec.NodeName != "" || p.Spec.SchedulerName == schedulerName
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc: func(obj any) {
			if p, ok := obj.(*corev1.Pod); ok && ours(p) {
				b.put(podMessage{pod: p, info: framework.NewPodInfo(p)})
			}
		},
		UpdateFunc: func(old, obj any) {
			o, ok1 := old.(*corev1.Pod)
			p, ok2 := obj.(*corev1.Pod)
			if !ok1 || !ok2 || !ours(p) {
				return
			}
			if o.UID != p.UID {
				// One pod was deleted and another created under its name.
				b.put(podMessage{old: o})
				b.put(podMessage{pod: p, info: framework.NewPodInfo(p)})
				return
			}
			if !onlyStatusOfBound(o, p) {
				b.put(podMessage{old: o, pod: p, info: framework.NewPodInfo(p)})
			}
		},
		DeleteFunc: func(obj any) {
			if p, ok := last(obj).(*corev1.Pod); ok && ours(p) {
				b.put(podMessage{old: p})
			}
		},
	}
}

// last is the object of a deletion, also of one that was noticed late.
func last(obj any) any {
	if d, ok := obj.(cache.DeletedFinalStateUnknown); ok {
		return d.Obj
	}
	return obj
}

// onlyStatusOfBound says that an update is one of the many by which a kubelet
// reports on a pod, and that concern no placement.
func onlyStatusOfBound(o, p *corev1.Pod) bool {
	return o.Spec.NodeName != "" && o.Spec.NodeName == p.Spec.NodeName &&
		p.Generation != 0 && o.Generation == p.Generation &&
		over(o) == over(p) && !resizing(o) && !resizing(p) &&
		maps.Equal(o.Labels, p.Labels)
}

// over says that the pod has ended and takes nothing any more.
func over(p *corev1.Pod) bool {
	return p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed
}

func resizing(p *corev1.Pod) bool {
	for i := range p.Status.Conditions {
		if t := p.Status.Conditions[i].Type; t == corev1.PodResizePending || t == corev1.PodResizeInProgress {
			return true
		}
	}
	return false
}

// trim drops what the scheduler never reads, in informers of its own.
func trim(obj any) (any, error) {
	if m, ok := obj.(metav1.Object); ok && m.GetManagedFields() != nil {
		m.SetManagedFields(nil)
	}
	return obj, nil
}

// waitFor returns true once all have synced, false when ctx ends first.
func waitFor(ctx context.Context, synced []cache.DoneChecker) bool {
	for _, s := range synced {
		select {
		case <-ctx.Done():
			return false
		case <-s.Done():
		}
	}
	return true
}

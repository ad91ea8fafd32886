package scheduler

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// conditionWorkers write conditions at the same time.
const conditionWorkers = 4

// conditionWriter writes why pods are not scheduled into their status. What waits
// to be written for a pod is replaced by what is newer; writes of one pod are
// never at the same time.
type conditionWriter struct {
	client kubernetes.Interface
	log    logr.Logger

	mu      sync.Mutex // guards what follows
	wanted  map[types.UID]statusWrite
	order   []types.UID // pods to write, each once
	writing map[types.UID]bool
	wake    chan struct{} // holds a token for each worker that may find work
}

// statusWrite is one write.
type statusWrite struct {
	pod       *corev1.Pod
	condition corev1.PodCondition
	nominated string
}

func newConditionWriter(client kubernetes.Interface, log logr.Logger) *conditionWriter {
	return &conditionWriter{
		client: client, log: log,
		wanted:  make(map[types.UID]statusWrite),
		writing: make(map[types.UID]bool),
		wake:    make(chan struct{}, conditionWorkers),
	}
}

// write asks for the condition PodScheduled=False, and for the nominated node if
// it is not empty, where they differ from what pod has. It does not block.
func (w *conditionWriter) write(pod *corev1.Pod, reason, message, nominated string, now time.Time) {
	condition, ok := scheduledCondition(pod, reason, message, now)
	if !ok && (nominated == "" || pod.Status.NominatedNodeName == nominated) {
		return
	}
	w.mu.Lock()
	if _, waiting := w.wanted[pod.UID]; !waiting {
		w.order = append(w.order, pod.UID)
	}
	w.wanted[pod.UID] = statusWrite{pod, condition, nominated}
	w.mu.Unlock()
	w.signal()
}

// scheduledCondition is the condition to write, false where pod has it already.
func scheduledCondition(pod *corev1.Pod, reason, message string, now time.Time) (corev1.PodCondition, bool) {
	c := corev1.PodCondition{
		Type:               corev1.PodScheduled,
		Status:             corev1.ConditionFalse,
		ObservedGeneration: pod.Generation,
		Reason:             reason,
		Message:            message,
		LastTransitionTime: metav1.NewTime(now),
	}
	for i := range pod.Status.Conditions {
		old := &pod.Status.Conditions[i]
		if old.Type != corev1.PodScheduled {
			continue
		}
		if old.Status == c.Status {
			c.LastTransitionTime = old.LastTransitionTime
		}
		return c, old.Status != c.Status || old.Reason != reason || old.Message != message || old.ObservedGeneration != c.ObservedGeneration
	}
	return c, true
}

func (w *conditionWriter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// start runs the workers until ctx ends.
func (w *conditionWriter) start(ctx context.Context, wg *sync.WaitGroup) {
	for range conditionWorkers {
		wg.Go(func() {
			for {
				select {
				case <-ctx.Done():
					return
				case <-w.wake:
				}
				for ctx.Err() == nil && w.writeNext(ctx) {
				}
			}
		})
	}
}

// writeNext writes one pod's status, and returns false where none waits.
func (w *conditionWriter) writeNext(ctx context.Context) bool {
	w.mu.Lock()
	var next statusWrite
	found := false
	for i, uid := range w.order {
		if w.writing[uid] {
			continue // its worker signals when it is done
		}
		next, found = w.wanted[uid], true
		delete(w.wanted, uid)
		copy(w.order[1:i+1], w.order[:i]) // the few in front, not the many behind
		w.order = w.order[1:]
		w.writing[uid] = true
		break
	}
	more := len(w.order) > 0
	w.mu.Unlock()
	if !found {
		return false
	}
	if more {
		w.signal() // another worker can help
	}
	w.patch(ctx, next)
	w.mu.Lock()
	delete(w.writing, next.pod.UID)
	w.mu.Unlock()
	return true
}

// conflictTries is how often a condition is written for a pod that others change
// at the same time.
const conflictTries = 5

// patch writes one status, unless the pod has been placed meanwhile: what was
// found out about it before is then no longer true.
func (w *conditionWriter) patch(ctx context.Context, s statusWrite) {
	var err error
	for range conflictTries {
		if err = w.patchAt(ctx, s); !apierrors.IsConflict(err) {
			break
		}
		var now *corev1.Pod
		if now, err = w.client.CoreV1().Pods(s.pod.Namespace).Get(ctx, s.pod.Name, metav1.GetOptions{}); err != nil {
			break
		}
		if now.UID != s.pod.UID || now.Spec.NodeName != "" {
			return
		}
		s.pod = now
	}
	if err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) {
		// The next attempt writes it again, as the pod still lacks it.
		w.log.Error(err, "Pod condition not written", "pod", s.pod.Namespace+"/"+s.pod.Name)
	}
}

// patchAt writes one status where the pod is still as s has it: the one that was
// found unschedulable, at the same revision.
func (w *conditionWriter) patchAt(ctx context.Context, s statusWrite) error {
	status := map[string]any{"conditions": []corev1.PodCondition{s.condition}}
	if s.nominated != "" {
		status["nominatedNodeName"] = s.nominated
	}
	meta := map[string]any{"uid": s.pod.UID}
	if s.pod.ResourceVersion != "" {
		meta["resourceVersion"] = s.pod.ResourceVersion
	}
	body, err := json.Marshal(map[string]any{"metadata": meta, "status": status})
	if err != nil {
		return err
	}
	_, err = w.client.CoreV1().Pods(s.pod.Namespace).Patch(ctx, s.pod.Name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	return err
}

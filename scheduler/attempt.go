package scheduler

import (
	"context"
	"fmt"
	"maps"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"

	"github.com/strake-io/strake/scheduler/framework"
)

// attempt tries to place one pod, and sends it off to be bound or puts it back.
func (l *loop) attempt(ctx context.Context, e *entry, now time.Time) {
	if e.Pod.DeletionTimestamp != nil {
		// It would be killed before it starts.
		l.queue.remove(e.Pod.UID)
		return
	}
	if len(l.snapshot.Nodes()) == 0 {
		l.reject(e, noNodes, "", nil, now)
		return
	}
	ev, err := l.shared.of(l.snapshot, e.PodInfo)
	if err != nil {
		l.fail(e, err, now)
		return
	}
	if ev.feasible == 0 {
		l.noRoom(ctx, e, ev, now)
		return
	}
	node := ev.nodes[ev.choose(l.random)].Name()
	l.metrics.algorithm(time.Since(now))

	f := &flight{entry: e, cycle: ev.cycle.ForPod(e.PodInfo), node: node, start: now, cancel: func() {}}
	l.snapshot.AddPod(e.PodInfo, node)
	if plugin, s := l.reserve(f); !s.IsSuccess() {
		l.forget(f)
		if s.IsRejected() {
			l.reject(e, fmt.Sprintf("0/1 nodes are available:%s", histogram(count(s.Reasons))), "", []string{plugin}, now)
		} else {
			l.fail(e, fmt.Errorf("running Reserve plugin %q: %w", plugin, s.AsError()), now)
		}
		return
	}
	delete(l.queue.entries, e.Pod.UID) // from here on the flight holds it
	l.binding[e.Pod.UID] = f
	l.binder.send(ctx, f)
}

// noRoom deals with a pod that fits nowhere.
func (l *loop) noRoom(ctx context.Context, e *entry, ev *evaluation, now time.Time) {
	d := ev.diagnose(len(l.snapshot.Nodes()))
	c := *ev.cycle
	c.Pod = e.PodInfo
	var messages []string
	nominated := ""
	for _, x := range l.profile.postFilter {
		result, s := x.PostFilter(ctx, &c, ev)
		if s.IsSuccess() {
			if result != nil {
				nominated = result.NominatedNodeName
			}
			break
		}
		if m := s.Message(); m != "" {
			messages = append(messages, m)
		}
	}
	message := d.message
	if len(messages) > 0 {
		message += " " + strings.Join(messages, ", ")
	}
	l.reject(e, message, nominated, d.rejectedBy, now)
}

// reject puts back a pod that was found unschedulable, and says so; nominated is
// the node where room was made for it, if any.
func (l *loop) reject(e *entry, message, nominated string, by []string, now time.Time) {
	l.metrics.attempted("unschedulable", time.Since(now))
	l.queue.reject(e, by, now)
	l.tell(e, corev1.PodReasonUnschedulable, message, nominated, now)
}

// fail puts back a pod whose attempt went wrong, and says so.
func (l *loop) fail(e *entry, err error, now time.Time) {
	l.log.Error(err, "Error scheduling pod; retrying", "pod", e.Pod.Namespace+"/"+e.Pod.Name)
	l.metrics.attempted("error", time.Since(now))
	l.queue.fail(e, now)
	l.tell(e, corev1.PodReasonSchedulerError, err.Error(), "", now)
}

// tell writes the pod's condition and an event.
func (l *loop) tell(e *entry, reason, message, nominated string, now time.Time) {
	if log := l.log.V(2); log.Enabled() {
		log.Info("Unable to schedule pod", "pod", e.Pod.Namespace+"/"+e.Pod.Name, "reason", message)
	}
	l.recorder.Action(e.Pod, nil, corev1.EventTypeWarning, "FailedScheduling", "Scheduling", truncate(message))
	l.conditions.write(e.Pod, reason, message, nominated, now)
}

// reserve runs the Reserve plugins, and takes it back where one refuses.
func (l *loop) reserve(f *flight) (string, *framework.Status) {
	for _, x := range l.profile.reserve {
		if s := x.Reserve(f.cycle, f.node); !s.IsSuccess() {
			return x.Name(), s
		}
	}
	return "", nil
}

// forget takes an assumed pod off its node.
func (l *loop) forget(f *flight) {
	for i := len(l.profile.reserve) - 1; i >= 0; i-- {
		l.profile.reserve[i].Unreserve(f.cycle, f.node)
	}
	l.snapshot.RemovePod(f.entry.Pod.UID)
}

// boundMessage is the end of a flight.
type boundMessage struct {
	flight *flight
	result bindResult
}

func (m boundMessage) apply(l *loop) {
	f, e := m.flight, m.flight.entry
	uid := e.Pod.UID
	delete(l.binding, uid)
	f.cancel()
	now := time.Now()
	if m.result.ok() {
		l.metrics.attempted("scheduled", now.Sub(f.start))
		l.metrics.scheduled(e, now)
		return
	}
	if f.seen {
		// It is on a node all the same: the answer to us was lost, or someone else
		// was quicker. The snapshot has it where it is.
		for i := len(l.profile.reserve) - 1; i >= 0; i-- {
			l.profile.reserve[i].Unreserve(f.cycle, f.node)
		}
		return
	}
	l.forget(f)
	// Its room is free again, for others.
	l.queue.happened(&framework.ClusterEvent{Event: framework.AssignedPodDelete, OldPod: f.cycle.Pod}, now)
	if f.gone || m.result.gone {
		return
	}
	l.queue.entries[uid] = e
	if m.result.status.IsRejected() {
		// Things may have happened while a plugin held it; so it does not wait for
		// the next one, but for its back-off, and for all of it: two pods that are
		// refused in turn would else wake each other without end.
		message := fmt.Sprintf("0/1 nodes are available:%s", histogram(count(m.result.status.Reasons)))
		l.metrics.attempted("unschedulable", now.Sub(f.start))
		l.queue.reject(e, []string{m.result.plugin}, now)
		e.failed = true
		l.queue.activate(e, now)
		l.tell(e, corev1.PodReasonUnschedulable, message, "", now)
		return
	}
	l.fail(e, m.result.err(), now)
}

func count(reasons []string) map[string]int {
	m := make(map[string]int, len(reasons))
	for _, r := range reasons {
		m[r]++
	}
	return m
}

func sameLabels(a, b *corev1.Pod) bool { return maps.Equal(a.Labels, b.Labels) }

func sameSpecAndLabels(a, b *corev1.Pod) bool {
	return sameLabels(a, b) && equality.Semantic.DeepEqual(&a.Spec, &b.Spec)
}

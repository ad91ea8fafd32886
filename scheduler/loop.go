package scheduler

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/internal/eventrecorder"
	"github.com/strake-io/strake/scheduler/framework"
)

// loop owns all state that decisions rest on. Only run's goroutine touches it;
// the inbox is the way in.
type loop struct {
	profile  *profile
	log      logr.Logger
	metrics  *metrics
	random   *rand.Rand
	recorder *eventrecorder.Recorder

	inbox      *inbox
	snapshot   *framework.Snapshot
	queue      *queue
	shared     *sharedEvaluations
	binding    map[types.UID]*flight
	binder     *binder
	conditions *conditionWriter
}

// flight is a pod on its way to a node: assumed, and being bound.
type flight struct {
	entry *entry
	cycle *framework.Cycle
	node  string
	start time.Time
	// seen says that the informer showed the pod on a node.
	seen bool
	// gone says that the pod was deleted meanwhile.
	gone bool
	// cancel ends what Permit plugins wait for.
	cancel context.CancelFunc
}

func newLoop(s *Scheduler, recorder *eventrecorder.Recorder) *loop {
	l := &loop{
		profile:  s.profile,
		log:      s.config.Logger,
		metrics:  s.metrics,
		random:   rand.New(s.config.Rand),
		recorder: recorder,
		inbox:    newInbox(),
		snapshot: framework.NewSnapshot(),
		queue:    newQueue(s.profile, s.config.InitialBackoff, s.config.MaxBackoff, s.config.UnschedulableTimeout),
		shared:   newSharedEvaluations(s.profile),
		binding:  make(map[types.UID]*flight),
	}
	l.binder = newBinder(s.profile, s.config.Client, recorder, s.metrics, s.config.Logger, l.inbox)
	l.conditions = newConditionWriter(s.config.Client, s.config.Logger)
	return l
}

// run schedules until ctx ends.
func (l *loop) run(ctx context.Context) {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	var spare []message
	for ctx.Err() == nil {
		messages := l.inbox.take(spare)
		for i, m := range messages {
			m.apply(l)
			messages[i] = nil
		}
		spare = messages

		now := time.Now()
		l.queue.advance(now)
		if e := l.queue.pop(now); e != nil {
			l.attempt(ctx, e, now)
			continue
		}
		l.metrics.observe(l.queue, l.snapshot, len(l.binding))
		var due <-chan time.Time
		if t, ok := l.queue.next(); ok {
			timer.Reset(t.Sub(now))
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-l.inbox.arrived:
		case <-due:
		}
	}
}

func (m nodeMessage) apply(l *loop) {
	now := time.Now()
	switch {
	case m.node == nil:
		l.snapshot.RemoveNode(m.old.Name)
		l.queue.happened(&framework.ClusterEvent{Event: framework.NodeDelete, OldNode: m.old}, now)
	case m.old == nil:
		l.snapshot.SetNode(m.node)
		l.queue.happened(&framework.ClusterEvent{Event: framework.NodeAdd, Node: m.node}, now)
	default:
		if !l.snapshot.SetNode(m.node) {
			return
		}
		if e := framework.NodeEvent(m.old, m.node); e != 0 {
			l.queue.happened(&framework.ClusterEvent{Event: e, OldNode: m.old, Node: m.node}, now)
		}
	}
}

func (m podMessage) apply(l *loop) {
	switch {
	case m.pod == nil:
		l.podGone(m.old.UID)
	case over(m.pod):
		l.podGone(m.pod.UID)
	case m.pod.Spec.NodeName != "":
		l.podOnNode(m.info)
	default:
		l.podWaits(m.info)
	}
}

// podGone forgets a pod that was deleted or has ended.
func (l *loop) podGone(uid types.UID) {
	l.queue.remove(uid)
	if f, ok := l.binding[uid]; ok {
		f.gone = true
		f.cancel()
	}
	if old, node := l.snapshot.PodNode(uid); node != "" {
		l.snapshot.RemovePod(uid)
		l.queue.happened(&framework.ClusterEvent{Event: framework.AssignedPodDelete, OldPod: old}, time.Now())
	}
}

// podOnNode takes note of a pod that is bound, by us or by others.
func (l *loop) podOnNode(pod *framework.PodInfo) {
	uid := pod.Pod.UID
	l.queue.remove(uid)
	f, ours := l.binding[uid]
	if ours {
		f.seen = true
		if f.node != pod.Pod.Spec.NodeName {
			f.cancel() // someone else bound it elsewhere
		}
	}
	old, node := l.snapshot.PodNode(uid)
	l.snapshot.AddPod(pod, pod.Pod.Spec.NodeName)
	e := framework.ClusterEvent{Event: framework.AssignedPodAdd, Pod: pod}
	if node == pod.Pod.Spec.NodeName && old.Pod.Spec.NodeName != "" {
		e = framework.ClusterEvent{Event: framework.AssignedPodUpdate, OldPod: old, Pod: pod}
	}
	l.queue.happened(&e, time.Now())
}

// podWaits takes note of a pod that has no node yet.
func (l *loop) podWaits(pod *framework.PodInfo) {
	uid := pod.Pod.UID
	now := time.Now()
	if f, ok := l.binding[uid]; ok {
		f.entry.PodInfo = pod // for another attempt, if this one fails
		return
	}
	e, ok := l.queue.entries[uid]
	if !ok {
		if _, node := l.snapshot.PodNode(uid); node != "" {
			return // bound by us; this is older news than what we know
		}
		l.queue.add(pod, now)
		l.metrics.incoming("PodAdd")
		return
	}
	l.queue.update(e, pod, changedForPlacement(e.Pod, pod.Pod), now)
}

// changedForPlacement says that an update of a waiting pod may make it fit, or
// that it is no use to wait for what it waited for.
func changedForPlacement(old, pod *corev1.Pod) bool {
	if old.Generation != pod.Generation || pod.Generation == 0 {
		return !sameSpecAndLabels(old, pod)
	}
	return !sameLabels(old, pod)
}

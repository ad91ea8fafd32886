package kubelet

import (
	"context"
	"maps"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/kubelet/podstatus"
	"github.com/strake-io/strake/kubelet/podstep"
	"github.com/strake-io/strake/runtime"
)

// worker is one pod on this node. It has a goroutine only while there is
// something to do: see Kubelet.wake.
type worker struct {
	uid types.UID

	mu sync.Mutex // guards what follows; never held while anything is waited for
	// pod is the newest object the API sent; gone says that it has none any more.
	pod  *corev1.Pod
	gone bool
	// busy says that the goroutine is there, dirty that it shall look again.
	busy, dirty bool
	// interrupt ends what the goroutine waits for and may give up: a pull, a
	// hook, a grace period.
	interrupt context.CancelFunc
	timer     *time.Timer
	started   time.Time
	verdict   *podstep.Verdict
	stop      *podstep.Stop
	backoffs  map[string]podstep.Backoff
	problems  map[string]podstep.Problem
	held      map[string]podstep.Problem
	pulls     map[string]podstep.Backoff // by image
	messages  map[string]string          // that containers left, by ID
	preStopped,
	killed map[string]bool // containers by ID, whose hook ran, whose event was sent
	cgroup                    string
	cgroupReady, cgroupGone   bool
	volumesReady, volumesGone bool
	// paths of the volumes by name.
	paths map[string]string
	// reported says that the final status is written, deleted that the object was.
	reported, deleted bool
	// notBefore holds up the next steps after one failed; failures counts them.
	notBefore time.Time
	failures  int
}

func newWorker(pod *corev1.Pod, now time.Time) *worker {
	return &worker{uid: pod.UID, pod: pod, started: now,
		backoffs: map[string]podstep.Backoff{}, problems: map[string]podstep.Problem{}, pulls: map[string]podstep.Backoff{},
		messages: map[string]string{}, preStopped: map[string]bool{}, killed: map[string]bool{}}
}

// wake has a pod looked at: at once if nobody does, else when the present steps
// are done. Its status is published in any case.
func (k *Kubelet) wake(ctx context.Context, w *worker) {
	w.mu.Lock()
	if w.busy {
		w.dirty = true
		w.mu.Unlock()
		k.publish(ctx, w)
		return
	}
	w.busy = true
	if w.timer != nil {
		w.timer.Stop()
		w.timer = nil
	}
	w.mu.Unlock()
	if !k.group.Go(func() { k.work(ctx, w) }) {
		w.mu.Lock()
		w.busy = false
		w.mu.Unlock()
	}
}

// work takes steps until there are none.
func (k *Kubelet) work(ctx context.Context, w *worker) {
	for ctx.Err() == nil {
		now := time.Now()
		w.mu.Lock()
		w.dirty = false
		s := k.snapshot(w)
		d := podstep.Next(s, now)
		if d.Verdict != nil && w.verdict == nil {
			w.verdict = d.Verdict
			k.event(w.pod, corev1.EventTypeNormal, d.Verdict.Reason, d.Verdict.Message)
			w.mu.Unlock()
			continue
		}
		k.noteHeld(w, d.Held)
		if s.Ending() && w.stop == nil {
			w.stop = &podstep.Stop{Began: now, Grace: s.Grace()}
		}
		hold := w.notBefore
		w.mu.Unlock()
		if d.Done {
			k.forget(w)
			return
		}
		k.publish(ctx, w)
		if len(d.Steps) > 0 && !now.Before(hold) {
			k.take(ctx, w, d.Steps)
			continue
		}
		wake := d.Wake
		if len(d.Steps) > 0 {
			wake = hold
		}
		if k.rest(w, wake, now) {
			return
		}
	}
	w.mu.Lock()
	w.busy = false
	w.mu.Unlock()
}

// rest ends the goroutine until the pod is poked or a time comes; false if it was
// poked just now.
func (k *Kubelet) rest(w *worker, wake, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.dirty {
		return false
	}
	w.busy = false
	if !wake.IsZero() {
		w.timer = time.AfterFunc(max(wake.Sub(now), time.Millisecond), func() { k.poke(w.uid) })
	}
	return true
}

// take takes steps at the same time and waits for all.
func (k *Kubelet) take(ctx context.Context, w *worker, steps []podstep.Step) {
	interruptible, cancel := context.WithCancel(ctx)
	defer cancel()
	w.mu.Lock()
	w.interrupt = cancel
	dirty := w.dirty
	w.mu.Unlock()
	if dirty {
		return // decided on what has changed meanwhile
	}
	errs := make([]error, len(steps))
	if len(steps) == 1 {
		errs[0] = k.step(ctx, interruptible, w, steps[0])
	} else {
		var wg sync.WaitGroup
		for i := range steps {
			wg.Go(func() { errs[i] = k.step(ctx, interruptible, w, steps[i]) })
		}
		wg.Wait()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.interrupt = nil
	failed := false
	for i, err := range errs {
		if err != nil && interruptible.Err() == nil {
			failed = true
			k.log.Info("step failed", "pod", w.pod.Namespace+"/"+w.pod.Name, "step", steps[i].String(), "err", err.Error())
		}
	}
	if !failed {
		w.failures = 0
		return
	}
	w.failures++
	w.notBefore = time.Now().Add(min(time.Second<<min(w.failures-1, 6), 30*time.Second))
}

// snapshot is what podstep decides from. Call with w.mu held; the result is not
// shared.
func (k *Kubelet) snapshot(w *worker) *podstep.Snapshot {
	boxes, containers := k.seen.get(w.uid)
	pod := *w.pod
	if !w.gone {
		pod.Status = k.statuses.newest(w.pod).Status
	}
	s := &podstep.Snapshot{
		Pod: &pod, Sandboxes: boxes, Containers: containers,
		CgroupReady: w.cgroupReady || k.cfg.Cgroups == nil, CgroupGone: w.cgroupGone || k.cfg.Cgroups == nil,
		VolumesReady: w.volumesReady, VolumesGone: w.volumesGone,
		Backoffs: maps.Clone(w.backoffs), Problems: maps.Clone(w.problems),
		Verdict: w.verdict, Gone: w.gone, Stop: w.stop,
		Reported: w.reported && pod.DeletionTimestamp == nil || w.deleted,
	}
	s.Probes = make(map[string]podstep.Probes, len(containers))
	for i := range containers {
		s.Probes[containers[i].ID] = k.probeResults(containers[i].ID)
	}
	return s
}

// publish brings the pod's present status to the API, and its running containers
// to the prober.
func (k *Kubelet) publish(ctx context.Context, w *worker) {
	w.mu.Lock()
	s := k.snapshot(w)
	status := k.status(w, s)
	if !s.Gone {
		// Under the lock, so that an older status never follows a newer one.
		k.statuses.set(ctx, s.Pod, status)
	}
	w.mu.Unlock()
	k.probe(s, status.PodIP)
}

// status generates the pod's status. Call with w.mu held.
func (k *Kubelet) status(w *worker, s *podstep.Snapshot) corev1.PodStatus {
	for i := range s.Containers {
		c := &s.Containers[i]
		if _, known := w.messages[c.ID]; !known && (c.State == runtime.ContainerExited) {
			w.messages[c.ID] = k.terminationMessage(s.Pod, c)
		}
	}
	return podstatus.Generate(podstatus.Input{Snapshot: s, Held: w.held, RuntimeName: k.runtimeName(), HostIPs: k.hostIPs(),
		StartTime: w.started, Messages: w.messages, Now: time.Now()})
}

// noteHeld keeps what containers wait for, and tells of new waits. Call with w.mu held.
func (k *Kubelet) noteHeld(w *worker, held map[string]podstep.Problem) {
	for name, p := range held {
		if old, ok := w.held[name]; ok && old.Reason == p.Reason && old.Until.Equal(p.Until) {
			continue
		}
		if p.Reason == podstep.CrashLoopBackOff {
			k.containerEvent(w.pod, name, corev1.EventTypeWarning, "BackOff", "Back-off restarting failed container "+name+" in pod "+fullName(w.pod))
		}
	}
	w.held = held
}

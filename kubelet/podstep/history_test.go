package podstep_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/kubelet/podstep"
	"github.com/strake-io/strake/runtime"
)

// world takes the steps as a machine would, and breaks the rules' subjects at
// random: containers end, sandboxes are lost, the kubelet restarts.
type world struct {
	t    *testing.T
	r    *rand.Rand
	s    *podstep.Snapshot
	now  time.Time
	step int
}

func (w *world) container(id string) *runtime.Container {
	for i := range w.s.Containers {
		if w.s.Containers[i].ID == id {
			return &w.s.Containers[i]
		}
	}
	w.t.Fatalf("step %d: no container %s", w.step, id)
	return nil
}

func (w *world) take(s podstep.Step) {
	switch s.Kind {
	case podstep.EnsureCgroup:
		w.s.CgroupReady = true
	case podstep.MountVolumes:
		w.s.VolumesReady = true
	case podstep.RunSandbox:
		w.s.Sandboxes = append(w.s.Sandboxes, box(s.Attempt, true))
	case podstep.StartContainer:
		w.start(s)
	case podstep.StopContainer:
		w.exit(w.container(s.ID), 137)
	case podstep.StopSandbox:
		w.lose(s.ID)
	case podstep.RemoveContainer:
		w.remove(func(c *runtime.Container) bool { return c.ID == s.ID })
	case podstep.RemoveSandbox:
		w.remove(func(c *runtime.Container) bool { return c.SandboxID == s.ID })
		for i := range w.s.Sandboxes {
			if w.s.Sandboxes[i].ID == s.ID {
				w.s.Sandboxes = append(w.s.Sandboxes[:i:i], w.s.Sandboxes[i+1:]...)
				break
			}
		}
	case podstep.UnmountVolumes:
		w.s.VolumesReady, w.s.VolumesGone = false, true
	case podstep.RemoveCgroup:
		w.s.CgroupReady, w.s.CgroupGone = false, true
	case podstep.Report:
		w.s.Reported = true
		w.s.Gone = w.s.Pod.DeletionTimestamp != nil
	}
}

func (w *world) start(s podstep.Step) {
	for i := range w.s.Containers {
		if c := &w.s.Containers[i]; c.Name == s.Name && (c.State == runtime.ContainerRunning || c.Attempt >= s.Attempt) {
			w.t.Fatalf("step %d: %s started beside %+v", w.step, s, *c)
		}
	}
	if s.Attempt > 0 {
		w.s.Backoffs[s.Name] = w.s.Backoffs[s.Name].Advance(s.Ended, w.now)
	}
	w.s.Containers = append(w.s.Containers, runtime.Container{ID: fmt.Sprintf("%s#%d", s.Name, s.Attempt), Name: s.Name, Attempt: s.Attempt,
		SandboxID: w.s.Sandbox().ID, State: runtime.ContainerRunning, CreatedAt: w.now, StartedAt: w.now})
}

func (w *world) exit(c *runtime.Container, code int32) {
	if c.State == runtime.ContainerRunning {
		c.State, c.ExitCode, c.FinishedAt = runtime.ContainerExited, code, w.now
	}
}

func (w *world) lose(id string) {
	for i := range w.s.Sandboxes {
		if w.s.Sandboxes[i].ID == id {
			w.s.Sandboxes[i].State = runtime.SandboxNotReady
		}
	}
	for i := range w.s.Containers {
		if w.s.Containers[i].SandboxID == id {
			w.exit(&w.s.Containers[i], 137)
		}
	}
}

func (w *world) remove(gone func(*runtime.Container) bool) {
	kept := w.s.Containers[:0:0]
	for i := range w.s.Containers {
		if !gone(&w.s.Containers[i]) {
			kept = append(kept, w.s.Containers[i])
		} else if w.s.Containers[i].State == runtime.ContainerRunning {
			w.t.Fatalf("step %d: removed %s while it ran", w.step, w.s.Containers[i].ID)
		}
	}
	w.s.Containers = kept
}

// settle takes steps until none is left, waiting where it is told to.
func (w *world) settle() podstep.Decision {
	for range 400 {
		w.step++
		d := podstep.Next(w.s, w.now)
		if d.Verdict != nil {
			w.s.Verdict = d.Verdict
			continue
		}
		for _, s := range d.Steps {
			w.take(s)
		}
		if len(d.Steps) > 0 {
			continue
		}
		if d.Wake.IsZero() || d.Done {
			return d
		}
		if !d.Wake.After(w.now) {
			w.t.Fatalf("step %d: woken for nothing at %v", w.step, d.Wake)
		}
		w.now = d.Wake
	}
	w.t.Fatalf("does not settle")
	return podstep.Decision{}
}

// disturb breaks something, and returns the IDs of what runs undisturbed.
func (w *world) disturb() map[string]bool {
	running := map[string]bool{}
	for i := range w.s.Containers {
		if c := &w.s.Containers[i]; c.State == runtime.ContainerRunning {
			running[c.ID] = true
		}
	}
	w.now = w.now.Add(time.Duration(w.r.IntN(700)) * time.Second)
	switch w.r.IntN(5) {
	case 0: // the kubelet restarts
		w.s.CgroupReady, w.s.VolumesReady = false, false
		w.s.Backoffs, w.s.Problems = map[string]podstep.Backoff{}, map[string]podstep.Problem{}
	case 1: // the sandbox is lost
		if b := w.s.Sandbox(); b != nil {
			w.lose(b.ID)
			clear(running)
		}
	default: // something ends
		for i := range w.s.Containers {
			if c := &w.s.Containers[i]; w.r.IntN(3) == 0 && running[c.ID] {
				w.exit(c, int32(w.r.IntN(2)))
				delete(running, c.ID)
			}
		}
	}
	return running
}

// TestHistories: whatever happens, steps stay legal, running containers are left
// alone, the pod settles with all running that should, and a deleted pod leaves
// nothing behind.
func TestHistories(t *testing.T) {
	policies := []corev1.RestartPolicy{corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever}
	for seed := range uint64(600) {
		r := rand.New(rand.NewPCG(seed, 1))
		p := pod(policy(policies[seed%3]), inits([]string{"+s", "x", "+t", "y"}[:r.IntN(5)]...), containers([]string{"a", "b", "c"}[:1+r.IntN(3)]...))
		w := &world{t: t, r: r, now: t0, s: &podstep.Snapshot{Pod: p, Backoffs: map[string]podstep.Backoff{}, Problems: map[string]podstep.Problem{}}}
		for range 8 {
			w.settle()
			w.finishInits()
			before := w.disturb()
			ending := w.s.Ending()
			w.settle()
			for id := range before {
				if c := w.container(id); !ending && !w.s.Ending() && c.State != runtime.ContainerRunning {
					t.Fatalf("seed %d: %s was healthy and is %v", seed, id, c.State)
				}
			}
			if policies[seed%3] == corev1.RestartPolicyAlways && w.s.Initialized() {
				for i := range p.Spec.Containers {
					if c := w.s.Current(p.Spec.Containers[i].Name); c == nil || c.State != runtime.ContainerRunning {
						t.Fatalf("seed %d: %s should run: %+v", seed, p.Spec.Containers[i].Name, c)
					}
				}
			}
		}
		deleted(5)(p)
		w.s.Reported = false
		if d := w.settle(); !d.Done || len(w.s.Containers)+len(w.s.Sandboxes) > 0 || !w.s.VolumesGone || !w.s.CgroupGone {
			t.Fatalf("seed %d: deleted pod left %+v", seed, w.s)
		}
	}
}

// finishInits lets ordinary init containers succeed.
func (w *world) finishInits() {
	for range len(w.s.Pod.Spec.InitContainers) + 1 {
		for i := range w.s.Pod.Spec.InitContainers {
			if spec := &w.s.Pod.Spec.InitContainers[i]; !podstep.IsSidecar(spec) {
				if c := w.s.Current(spec.Name); c != nil {
					w.exit(c, 0)
				}
			}
		}
		w.settle()
	}
}

package podstep_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/kubelet/podstep"
	"github.com/strake-io/strake/runtime"
)

var t0 = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds int) time.Time { return t0.Add(time.Duration(seconds) * time.Second) }

// pod has one container "a", policy Always.
func pod(change ...func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns", UID: "u"}}
	p.Spec.RestartPolicy = corev1.RestartPolicyAlways
	p.Spec.Containers = []corev1.Container{{Name: "a", Image: "i"}}
	for _, f := range change {
		f(p)
	}
	return p
}

func policy(policy corev1.RestartPolicy) func(*corev1.Pod) {
	return func(p *corev1.Pod) { p.Spec.RestartPolicy = policy }
}

func containers(names ...string) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		p.Spec.Containers = nil
		for _, n := range names {
			p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: n, Image: "i"})
		}
	}
}

// inits adds init containers; a name that begins with + is a sidecar's.
func inits(names ...string) func(*corev1.Pod) {
	always := corev1.ContainerRestartPolicyAlways
	return func(p *corev1.Pod) {
		for _, n := range names {
			c := corev1.Container{Name: strings.TrimPrefix(n, "+"), Image: "i"}
			if n != c.Name {
				c.RestartPolicy = &always
			}
			p.Spec.InitContainers = append(p.Spec.InitContainers, c)
		}
	}
}

func deleted(grace int64) func(*corev1.Pod) {
	return func(p *corev1.Pod) {
		now := metav1.NewTime(t0)
		p.DeletionTimestamp, p.DeletionGracePeriodSeconds = &now, &grace
	}
}

// snapshot is of a pod whose environment is up; containers are "name#attempt
// state [exit[@finished]]", in sandbox 0, or in another after a slash: "1/a#1 running".
func snapshot(p *corev1.Pod, list ...string) *podstep.Snapshot {
	s := &podstep.Snapshot{Pod: p, CgroupReady: true, VolumesReady: true, Probes: map[string]podstep.Probes{},
		Backoffs: map[string]podstep.Backoff{}, Problems: map[string]podstep.Problem{}, Sandboxes: []runtime.Sandbox{box(0, true)}}
	for _, text := range list {
		fields := strings.Fields(text)
		sandbox := "0"
		name := fields[0]
		if before, after, ok := strings.Cut(name, "/"); ok {
			sandbox, name = before, after
		}
		base, number, _ := strings.Cut(name, "#")
		c := runtime.Container{ID: name, SandboxID: "s" + sandbox, Name: base, StartedAt: t0}
		_, _ = fmt.Sscan(number, &c.Attempt)
		switch fields[1] {
		case "running":
			c.State = runtime.ContainerRunning
		case "exited":
			c.State = runtime.ContainerExited
			var second int
			_, _ = fmt.Sscanf(fields[2], "%d@%d", &c.ExitCode, &second)
			c.FinishedAt = at(second)
		}
		s.Containers = append(s.Containers, c)
	}
	return s
}

func box(attempt uint32, ready bool) runtime.Sandbox {
	b := runtime.Sandbox{ID: fmt.Sprintf("s%d", attempt), Pod: runtime.PodIdentity{Attempt: attempt}, IPs: []string{"10.0.0.1"}}
	if ready {
		b.State = runtime.SandboxReady
	}
	return b
}

func TestNext(t *testing.T) {
	with := func(s *podstep.Snapshot, f func(*podstep.Snapshot)) *podstep.Snapshot { f(s); return s }
	tests := []struct {
		name string
		s    *podstep.Snapshot
		now  int
		want string // the steps, then what is held and the time to wake in seconds
	}{
		{"a new pod begins with its cgroup", &podstep.Snapshot{Pod: pod()}, 0, "EnsureCgroup"},
		{"then its volumes", &podstep.Snapshot{Pod: pod(), CgroupReady: true}, 0, "MountVolumes"},
		{"then its sandbox", &podstep.Snapshot{Pod: pod(), CgroupReady: true, VolumesReady: true}, 0, "RunSandbox #0"},
		{"then its containers", snapshot(pod()), 0, "StartContainer a #0"},
		{"in order, one at a time", snapshot(pod(containers("a", "b", "c")), "a#0 running"), 0, "StartContainer b #0"},
		{"a pod that runs is left alone", snapshot(pod(), "a#0 running"), 0, ""},
		{"init containers come first", snapshot(pod(inits("x", "y"))), 0, "StartContainer x #0"},
		{"one after the other", snapshot(pod(inits("x", "y")), "x#0 running"), 0, ""},
		{"when the one before succeeded", snapshot(pod(inits("x", "y")), "x#0 exited 0@1"), 1, "StartContainer y #0"},
		{"and then the containers", snapshot(pod(inits("x")), "x#0 exited 0@1"), 1, "StartContainer a #0"},
		{"a failed init container is run again", snapshot(pod(inits("x")), "x#0 exited 1@1"), 1, "StartContainer x #1"},
		{"unless the policy is Never", snapshot(pod(inits("x"), policy(corev1.RestartPolicyNever)), "x#0 exited 1@1"), 1, "StopSandbox s0"},
		{"a sidecar lets the next begin as it runs", snapshot(pod(inits("+s", "y")), "s#0 running"), 0, "StartContainer y #0"},
		{"a sidecar with a startup probe is awaited", snapshot(pod(inits("+s"), func(p *corev1.Pod) {
			p.Spec.InitContainers[0].StartupProbe = &corev1.Probe{}
		}), "s#0 running"), 0, ""},
		{"a sidecar is restarted beside running containers", snapshot(pod(inits("+s")), "s#0 exited 0@1", "a#0 running"), 1, "StartContainer s #1"},
		{"a container that ended is restarted", snapshot(pod(), "a#0 exited 0@1"), 1, "StartContainer a #1"},
		{"with back-off", with(snapshot(pod(), "a#1 exited 1@5"), func(s *podstep.Snapshot) {
			s.Backoffs["a"] = podstep.Backoff{Delay: 10 * time.Second, Updated: at(0)}
		}), 6, "a: CrashLoopBackOff wake 15"},
		{"until it is over", with(snapshot(pod(), "a#1 exited 1@5"), func(s *podstep.Snapshot) {
			s.Backoffs["a"] = podstep.Backoff{Delay: 10 * time.Second, Updated: at(0)}
		}), 15, "StartContainer a #2"},
		{"a back-off does not hold up the others", with(snapshot(pod(containers("a", "b")), "a#1 exited 1@5"), func(s *podstep.Snapshot) {
			s.Backoffs["a"] = podstep.Backoff{Delay: 10 * time.Second, Updated: at(0)}
		}), 6, "StartContainer b #0 a: CrashLoopBackOff wake 15"},
		{"a problem holds a start up", with(snapshot(pod()), func(s *podstep.Snapshot) {
			s.Problems["a"] = podstep.Problem{Reason: "ErrImagePull", Until: at(9)}
		}), 6, "a: ErrImagePull wake 9"},
		{"OnFailure does not restart success", snapshot(pod(policy(corev1.RestartPolicyOnFailure), containers("a", "b")), "a#0 exited 0@1", "b#0 running"), 1, ""},
		{"OnFailure restarts failure", snapshot(pod(policy(corev1.RestartPolicyOnFailure)), "a#0 exited 2@1"), 1, "StartContainer a #1"},
		{"a rule of the container restarts by exit code", snapshot(pod(policy(corev1.RestartPolicyNever), func(p *corev1.Pod) {
			p.Spec.Containers[0].RestartPolicyRules = []corev1.ContainerRestartRule{{Action: corev1.ContainerRestartRuleActionRestart,
				ExitCodes: &corev1.ContainerRestartRuleOnExitCodes{Operator: corev1.ContainerRestartRuleOnExitCodesOpIn, Values: []int32{42}}}}
		}), "a#0 exited 42@1"), 1, "StartContainer a #1"},
		{"a finished pod ends its sidecars", snapshot(pod(policy(corev1.RestartPolicyNever), inits("+s", "+t")), "s#0 running", "t#0 running", "a#0 exited 0@1"), 1, "StopContainer t 30s"},
		{"and then its sandbox", snapshot(pod(policy(corev1.RestartPolicyNever)), "a#0 exited 0@1"), 1, "StopSandbox s0"},
		{"failing liveness stops a container", with(snapshot(pod(func(p *corev1.Pod) { p.Spec.Containers[0].LivenessProbe = &corev1.Probe{} }), "a#0 running"), func(s *podstep.Snapshot) {
			s.Probes["a#0"] = podstep.Probes{Liveness: podstep.Failure}
		}), 0, "StopContainer a 30s"},
		{"with the probe's own grace", with(snapshot(pod(func(p *corev1.Pod) {
			g := int64(7)
			p.Spec.Containers[0].LivenessProbe = &corev1.Probe{TerminationGracePeriodSeconds: &g}
		}), "a#0 running"), func(s *podstep.Snapshot) { s.Probes["a#0"] = podstep.Probes{Liveness: podstep.Failure} }), 0, "StopContainer a 7s"},
		{"a changed image replaces the container", with(snapshot(pod(), "a#0 running"), func(s *podstep.Snapshot) {
			s.Containers[0].Annotations = map[string]string{podstep.HashAnnotation: "other"}
		}), 0, "StopContainer a 30s"},
		{"a lost sandbox is made anew", with(snapshot(pod(), "a#0 exited 137@1"), func(s *podstep.Snapshot) {
			s.Sandboxes = []runtime.Sandbox{box(0, false)}
		}), 1, "RunSandbox #1"},
		{"and all containers in it", with(snapshot(pod(inits("x")), "x#0 exited 0@0", "a#0 exited 137@1"), func(s *podstep.Snapshot) {
			s.Sandboxes = []runtime.Sandbox{box(0, false), box(1, true)}
		}), 1, "StartContainer x #1"},
		{"old containers are collected", snapshot(pod(), "a#0 exited 1@1", "a#1 exited 1@2", "a#2 running"), 2, "RemoveContainer a#0"},
		{"the deadline is awaited", with(snapshot(pod(), "a#0 running"), func(s *podstep.Snapshot) {
			seconds, start := int64(60), metav1.NewTime(t0)
			s.Pod.Spec.ActiveDeadlineSeconds, s.Pod.Status.StartTime = &seconds, &start
		}), 1, "wake 60"},
		{"deletion stops all but sidecars at once", snapshot(pod(deleted(5), inits("+s"), containers("a", "b")), "s#0 running", "a#0 running", "b#0 running"), 0,
			"StopContainer a 5s, StopContainer b 5s"},
		{"then the sidecars", snapshot(pod(deleted(5), inits("+s", "+t")), "s#0 running", "t#0 running", "a#0 exited 0@1"), 1, "StopContainer t 5s"},
		{"from the last to the first", snapshot(pod(deleted(5), inits("+s", "+t")), "s#0 running", "t#0 exited 0@1", "a#0 exited 0@1"), 1, "StopContainer s 5s"},
		{"in what is left of the grace", with(snapshot(pod(deleted(30)), "a#0 running"), func(s *podstep.Snapshot) {
			s.Stop = &podstep.Stop{Began: t0, Grace: 30 * time.Second}
		}), 20, "StopContainer a 10s"},
		{"a forced deletion still signals", snapshot(pod(deleted(0)), "a#0 running"), 0, "StopContainer a 2s"},
		{"so does one that the API forgot", with(snapshot(pod(), "a#0 running"), func(s *podstep.Snapshot) { s.Gone = true }), 0, "StopContainer a 2s"},
		{"then the sandbox is stopped", snapshot(pod(deleted(5)), "a#0 exited 0@1"), 1, "StopSandbox s0"},
		{"volumes are taken away", with(snapshot(pod(deleted(5)), "a#0 exited 0@1"), func(s *podstep.Snapshot) {
			s.Sandboxes = []runtime.Sandbox{box(0, false)}
		}), 1, "UnmountVolumes"},
		{"the cgroup as well", with(snapshot(pod(deleted(5))), func(s *podstep.Snapshot) { s.Sandboxes, s.VolumesGone = nil, true }), 1, "RemoveCgroup"},
		{"then the end is reported", with(snapshot(pod(deleted(5))), func(s *podstep.Snapshot) {
			s.Sandboxes, s.VolumesGone, s.CgroupGone = nil, true, true
		}), 1, "Report"},
		{"and the remains go", with(snapshot(pod(deleted(5)), "a#0 exited 0@1"), func(s *podstep.Snapshot) {
			s.Sandboxes, s.VolumesGone, s.CgroupGone, s.Reported = []runtime.Sandbox{box(0, false)}, true, true, true
		}), 1, "RemoveSandbox s0"},
		{"a pod that is gone needs no report", with(snapshot(pod()), func(s *podstep.Snapshot) {
			s.Sandboxes, s.VolumesGone, s.CgroupGone, s.Gone = nil, true, true, true
		}), 1, "done"},
		{"a finished pod keeps its containers", with(snapshot(pod(policy(corev1.RestartPolicyNever)), "a#0 exited 0@1"), func(s *podstep.Snapshot) {
			s.Sandboxes, s.VolumesGone, s.CgroupGone, s.Reported = []runtime.Sandbox{box(0, false)}, true, true, true
		}), 1, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, describe(podstep.Next(tt.s, at(tt.now)))); diff != "" {
				t.Errorf("-want +got\n%s", diff)
			}
		})
	}
}

// describe puts a decision on one line.
func describe(d podstep.Decision) string {
	var steps, parts []string
	for _, s := range d.Steps {
		steps = append(steps, s.String())
	}
	if len(steps) > 0 {
		parts = append(parts, strings.Join(steps, ", "))
	}
	for name, p := range d.Held {
		parts = append(parts, name+": "+p.Reason)
	}
	if !d.Wake.IsZero() {
		parts = append(parts, fmt.Sprintf("wake %d", int(d.Wake.Sub(t0)/time.Second)))
	}
	if d.Done {
		parts = append(parts, "done")
	}
	return strings.Join(parts, " ")
}

func TestBackoff(t *testing.T) {
	var b podstep.Backoff
	now := t0
	for i, want := range []int{10, 20, 40, 80, 160, 300, 300} {
		if until := b.Until(now); now.Before(until) {
			now = until
		}
		b = b.Advance(now, now)
		if got := int(b.Delay / time.Second); got != want {
			t.Errorf("restart %d: %d s, want %d", i, got, want)
		}
	}
	ended := b.Updated.Add(601 * time.Second)
	if !b.Until(ended).IsZero() || b.Advance(ended, ended).Delay != podstep.InitialBackoff {
		t.Errorf("a container that lived for ten minutes begins anew")
	}
}

func TestPhase(t *testing.T) {
	tests := []struct {
		name string
		s    *podstep.Snapshot
		want corev1.PodPhase
	}{
		{"nothing yet", snapshot(pod()), corev1.PodPending},
		{"initialising", snapshot(pod(inits("x")), "x#0 running"), corev1.PodPending},
		{"init failed for good", snapshot(pod(inits("x"), policy(corev1.RestartPolicyNever)), "x#0 exited 1@1"), corev1.PodFailed},
		{"some started", snapshot(pod(containers("a", "b")), "a#0 running"), corev1.PodPending},
		{"running", snapshot(pod(), "a#0 running"), corev1.PodRunning},
		{"crashing", snapshot(pod(), "a#3 exited 1@1"), corev1.PodRunning},
		{"succeeded", snapshot(pod(policy(corev1.RestartPolicyOnFailure)), "a#0 exited 0@1"), corev1.PodSucceeded},
		{"failed", snapshot(pod(policy(corev1.RestartPolicyNever), containers("a", "b")), "a#0 exited 0@1", "b#0 exited 1@1"), corev1.PodFailed},
		{"deleted and stopped well", snapshot(pod(deleted(1)), "a#0 exited 0@1"), corev1.PodSucceeded},
		{"deleted and killed", snapshot(pod(deleted(1)), "a#0 exited 137@1"), corev1.PodFailed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.s.Phase(); got != tt.want {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

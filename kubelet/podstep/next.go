package podstep

import (
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/runtime"
)

// Kind of a step.
type Kind uint8

const (
	EnsureCgroup    Kind = iota + 1
	MountVolumes         // or bring them up to date
	RunSandbox           // Attempt
	StopSandbox          // ID
	RemoveSandbox        // ID, with its containers
	StartContainer       // Name, Attempt: pull, create, start, post-start hook
	StopContainer        // ID, Name, Grace, Reason, Message: pre-stop hook, stop
	RemoveContainer      // ID
	UnmountVolumes       // for good
	RemoveCgroup         // for good
	Report               // write the final status; delete the object if it is to be deleted
)

func (k Kind) String() string {
	return [...]string{"", "EnsureCgroup", "MountVolumes", "RunSandbox", "StopSandbox", "RemoveSandbox",
		"StartContainer", "StopContainer", "RemoveContainer", "UnmountVolumes", "RemoveCgroup", "Report"}[k]
}

// Step is one thing to do. Which fields are set is said beside the kinds.
type Step struct {
	Kind     Kind
	ID, Name string
	Attempt  uint32
	Grace    time.Duration
	// Reason and Message of a stop, for the event.
	Reason, Message string
	// Ended is when the container that a StartContainer replaces ended; zero for
	// a first start.
	Ended time.Time
}

func (s Step) String() string {
	switch s.Kind {
	case StartContainer:
		return fmt.Sprintf("%s %s #%d", s.Kind, s.Name, s.Attempt)
	case StopContainer:
		return fmt.Sprintf("%s %s %s", s.Kind, s.Name, s.Grace)
	case RunSandbox:
		return fmt.Sprintf("%s #%d", s.Kind, s.Attempt)
	case StopSandbox, RemoveSandbox, RemoveContainer:
		return fmt.Sprintf("%s %s", s.Kind, s.ID)
	}
	return s.Kind.String()
}

// Decision is what [Next] says.
type Decision struct {
	// Steps may be taken at the same time; ask again when all are done.
	Steps []Step
	// Verdict is a new one, to be kept in the following snapshots.
	Verdict *Verdict
	// Held are containers that wait: for the status.
	Held map[string]Problem
	// Wake is when to ask again even if nothing changed; zero: no need.
	Wake time.Time
	// Done says that nothing of the pod is left: forget it.
	Done bool
}

func (d *Decision) wakeAt(t time.Time) {
	if !t.IsZero() && (d.Wake.IsZero() || t.Before(d.Wake)) {
		d.Wake = t
	}
}

func (d *Decision) add(s Step) { d.Steps = append(d.Steps, s) }

func (d *Decision) hold(name string, p Problem) {
	if d.Held == nil {
		d.Held = map[string]Problem{}
	}
	d.Held[name] = p
	d.wakeAt(p.Until)
}

// Reasons of a waiting container.
const (
	CrashLoopBackOff = "CrashLoopBackOff"
	DeadlineExceeded = "DeadlineExceeded"
)

// Next decides what to do now.
func Next(s *Snapshot, now time.Time) Decision {
	var d Decision
	if s.Ending() {
		s.end(&d, now)
		return d
	}
	if limit := s.Pod.Spec.ActiveDeadlineSeconds; limit != nil && s.Pod.Status.StartTime != nil {
		end := s.Pod.Status.StartTime.Add(time.Duration(*limit) * time.Second)
		if !now.Before(end) {
			d.Verdict = &Verdict{Phase: corev1.PodFailed, Reason: DeadlineExceeded,
				Message: "Pod was active on the node longer than the specified deadline"}
			return d
		}
		d.wakeAt(end)
	}
	if !s.environment(&d, now) {
		return d
	}
	s.stopUnfit(&d, now)
	if len(d.Steps) > 0 {
		return d
	}
	if s.initContainers(&d, now) {
		s.containers(&d, now)
	}
	if len(d.Steps) == 0 {
		s.collect(&d)
	}
	return d
}

// environment brings up what containers need; false while something is missing.
func (s *Snapshot) environment(d *Decision, now time.Time) bool {
	box := s.Sandbox()
	up := box != nil && box.State == runtime.SandboxReady
	if p, held := s.Problems[""]; held && now.Before(p.Until) {
		// What runs already is not disturbed by a volume that cannot be updated.
		d.wakeAt(p.Until)
		return up && s.VolumesReady
	}
	switch {
	case !s.CgroupReady:
		d.add(Step{Kind: EnsureCgroup})
		return false
	case !s.VolumesReady:
		d.add(Step{Kind: MountVolumes})
		return false
	case up:
		return true
	}
	// The old sandbox's containers die with it, but may still be seen running.
	if box != nil && s.stopAll(d, now, "Killing", "Pod sandbox changed, it will be killed and re-created.") {
		return false
	}
	attempt := uint32(0)
	if box != nil {
		attempt = box.Pod.Attempt + 1
	}
	d.add(Step{Kind: RunSandbox, Attempt: attempt})
	return false
}

// stopUnfit stops containers that failed a probe or whose spec changed.
func (s *Snapshot) stopUnfit(d *Decision, now time.Time) {
	each := func(spec *corev1.Container, restartable bool) {
		c := s.Current(spec.Name)
		if c == nil || c.State != runtime.ContainerRunning {
			return
		}
		grace, reason := s.grace(nil), ""
		p := s.Probes[c.ID]
		switch {
		case spec.StartupProbe != nil && p.Startup == Failure:
			grace, reason = s.grace(spec.StartupProbe), fmt.Sprintf("Container %s failed startup probe", spec.Name)
		case spec.LivenessProbe != nil && p.Liveness == Failure && s.Started(spec, c):
			grace, reason = s.grace(spec.LivenessProbe), fmt.Sprintf("Container %s failed liveness probe", spec.Name)
		case c.Annotations[HashAnnotation] != "" && c.Annotations[HashAnnotation] != Hash(spec):
			reason = fmt.Sprintf("Container %s definition changed", spec.Name)
			restartable = true
		default:
			return
		}
		if restartable {
			reason += ", will be restarted"
		}
		d.add(Step{Kind: StopContainer, ID: c.ID, Name: c.Name, Grace: grace, Reason: "Killing", Message: reason})
	}
	for i := range s.Pod.Spec.InitContainers {
		if spec := &s.Pod.Spec.InitContainers[i]; IsSidecar(spec) {
			each(spec, true)
		}
	}
	for i := range s.Pod.Spec.Containers {
		spec := &s.Pod.Spec.Containers[i]
		each(spec, restartsAfter(s.Pod, spec, false, 137))
	}
}

// initContainers runs the init containers in order; true when the containers
// proper may run.
func (s *Snapshot) initContainers(d *Decision, now time.Time) bool {
	initialized := s.Initialized()
	for i := range s.Pod.Spec.InitContainers {
		spec := &s.Pod.Spec.InitContainers[i]
		c := s.Current(spec.Name)
		switch {
		case initialized && !IsSidecar(spec):
			continue
		case c == nil:
			s.start(d, spec, now)
		case c.State == runtime.ContainerRunning:
			if IsSidecar(spec) && (initialized || s.Started(spec, c)) {
				continue
			}
			return false
		case ended(c) && exitCode(c) == 0 && !IsSidecar(spec):
			continue
		default:
			s.restart(d, spec, true, now)
		}
		if len(d.Steps) > 0 || !initialized {
			return false
		}
	}
	return true
}

// containers starts what is to run, one at a time in the order of the spec.
func (s *Snapshot) containers(d *Decision, now time.Time) {
	for i := range s.Pod.Spec.Containers {
		spec := &s.Pod.Spec.Containers[i]
		c := s.Current(spec.Name)
		switch {
		case len(d.Steps) > 0:
			return
		case c != nil && c.State == runtime.ContainerRunning:
		case c == nil && len(s.Instances(spec.Name)) == 0:
			s.start(d, spec, now)
		default:
			s.restart(d, spec, false, now)
		}
	}
	for i := range s.Pod.Spec.EphemeralContainers {
		spec := corev1.Container(s.Pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
		if len(d.Steps) == 0 && len(s.Instances(spec.Name)) == 0 {
			s.start(d, &spec, now)
		}
	}
}

func (s *Snapshot) start(d *Decision, spec *corev1.Container, now time.Time) {
	if p, held := s.Problems[spec.Name]; held && now.Before(p.Until) {
		d.hold(spec.Name, p)
		return
	}
	d.add(Step{Kind: StartContainer, Name: spec.Name, Attempt: s.nextAttempt(spec.Name)})
}

// restart starts a container anew if policy and back-off allow.
func (s *Snapshot) restart(d *Decision, spec *corev1.Container, init bool, now time.Time) {
	last := s.Instances(spec.Name)[0]
	over := last.FinishedAt
	if ended(last) {
		// An init container runs again in a new sandbox even if it succeeded.
		again := init && s.Current(spec.Name) == nil
		if !again && !restartsAfter(s.Pod, spec, init, exitCode(last)) {
			return
		}
	}
	if over.IsZero() {
		over = last.CreatedAt
	}
	if until := s.Backoffs[spec.Name].Until(over); now.Before(until) {
		d.hold(spec.Name, Problem{Reason: CrashLoopBackOff, Until: until,
			Message: fmt.Sprintf("back-off %s restarting failed container=%s pod=%s_%s(%s)",
				s.Backoffs[spec.Name].Delay, spec.Name, s.Pod.Name, s.Pod.Namespace, s.Pod.UID)})
		return
	}
	s.start(d, spec, now)
	if n := len(d.Steps); n > 0 {
		d.Steps[n-1].Ended = over
	}
}

// keepInstances of a container stay, so that the logs of the last can be read.
const keepInstances = 2

// collect removes what is older than anybody may ask for.
func (s *Snapshot) collect(d *Decision) {
	box := s.Sandbox()
	held := map[string]bool{box.ID: true}
	seen := map[string]bool{}
	for i := range s.Containers {
		name := s.Containers[i].Name
		if seen[name] {
			continue
		}
		seen[name] = true
		for n, c := range s.Instances(name) {
			if n >= keepInstances && c.State != runtime.ContainerRunning {
				d.add(Step{Kind: RemoveContainer, ID: c.ID, Name: c.Name})
			} else {
				held[c.SandboxID] = true
			}
		}
	}
	for _, b := range s.Sandboxes {
		if !held[b.ID] {
			d.add(Step{Kind: RemoveSandbox, ID: b.ID})
		}
	}
}

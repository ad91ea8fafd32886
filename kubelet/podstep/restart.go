package podstep

import (
	"hash/fnv"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/runtime"
)

// HashAnnotation on a container holds [Hash] of the spec that it was made from.
const HashAnnotation = "io.kubernetes.container.hash"

// Hash identifies the part of a container's spec whose change replaces the
// container: its name and its image.
func Hash(c *corev1.Container) string {
	h := fnv.New32a()
	_, _ = h.Write([]byte(c.Name + "\x00" + c.Image))
	return strconv.FormatUint(uint64(h.Sum32()), 16)
}

// IsSidecar says that an init container keeps running beside the others.
func IsSidecar(c *corev1.Container) bool {
	return c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
}

// restartsAfter says whether a container that ended with the exit code is
// started again by its own or the pod's policy.
func restartsAfter(pod *corev1.Pod, c *corev1.Container, init bool, exit int32) bool {
	for _, rule := range c.RestartPolicyRules {
		if rule.Action != corev1.ContainerRestartRuleActionRestart || rule.ExitCodes == nil {
			continue
		}
		in := slices.Contains(rule.ExitCodes.Values, exit)
		if in == (rule.ExitCodes.Operator == corev1.ContainerRestartRuleOnExitCodesOpIn) {
			return true
		}
	}
	policy := corev1.ContainerRestartPolicy(pod.Spec.RestartPolicy)
	if c.RestartPolicy != nil {
		policy = *c.RestartPolicy
	}
	switch policy {
	case corev1.ContainerRestartPolicyNever:
		return false
	case corev1.ContainerRestartPolicyOnFailure:
		return exit != 0
	}
	// Always, and its default; an ordinary init container that succeeded is done.
	return !init || exit != 0 || IsSidecar(c)
}

// ended says that the container's process is over.
func ended(c *runtime.Container) bool {
	return c != nil && (c.State == runtime.ContainerExited || c.State == runtime.ContainerUnknown)
}

// exitCode of a container that ended; one in an unknown state counts as killed.
func exitCode(c *runtime.Container) int32 {
	if c.State == runtime.ContainerUnknown {
		return 137
	}
	return c.ExitCode
}

// Finished says that a container ended and will not be started again.
func (s *Snapshot) Finished(spec *corev1.Container, init bool) bool {
	all := s.Instances(spec.Name)
	return len(all) > 0 && ended(all[0]) && !restartsAfter(s.Pod, spec, init, exitCode(all[0]))
}

// Initialized says that every init container has done its part: ordinary ones
// succeeded, sidecars started. It stays true once a container was made.
func (s *Snapshot) Initialized() bool {
	for i := range s.Pod.Spec.Containers {
		if s.Current(s.Pod.Spec.Containers[i].Name) != nil {
			return true
		}
	}
	for i := range s.Pod.Spec.InitContainers {
		spec := &s.Pod.Spec.InitContainers[i]
		c := s.Current(spec.Name)
		if IsSidecar(spec) && !s.Started(spec, c) || !IsSidecar(spec) && (!ended(c) || exitCode(c) != 0) {
			return false
		}
	}
	return true
}

// initFailed says that an init container failed for good, and with it the pod.
func (s *Snapshot) initFailed() bool {
	for i := range s.Pod.Spec.InitContainers {
		spec := &s.Pod.Spec.InitContainers[i]
		if all := s.Instances(spec.Name); !IsSidecar(spec) && len(all) > 0 && ended(all[0]) && exitCode(all[0]) != 0 &&
			s.Finished(spec, true) {
			return true
		}
	}
	return false
}

// terminal phases are never left.
func terminal(p corev1.PodPhase) bool { return p == corev1.PodSucceeded || p == corev1.PodFailed }

// Ending says that no container of the pod shall run any more.
func (s *Snapshot) Ending() bool {
	return s.Deleted() || s.Verdict != nil || terminal(s.Pod.Status.Phase) || s.exhausted()
}

// exhausted says that all containers ended and none will be started again, or an
// init container failed.
func (s *Snapshot) exhausted() bool {
	if s.initFailed() {
		return true
	}
	for i := range s.Pod.Spec.Containers {
		if !s.Finished(&s.Pod.Spec.Containers[i], false) {
			return false
		}
	}
	return len(s.Pod.Spec.Containers) > 0
}

// Phase of the pod as its status shall show it.
func (s *Snapshot) Phase() corev1.PodPhase {
	if terminal(s.Pod.Status.Phase) {
		return s.Pod.Status.Phase
	}
	if s.Verdict != nil && s.Verdict.Phase != "" {
		return s.Verdict.Phase
	}
	if s.initFailed() {
		return corev1.PodFailed
	}
	var waiting, running, failed, finished int
	for i := range s.Pod.Spec.Containers {
		all := s.Instances(s.Pod.Spec.Containers[i].Name)
		switch {
		case len(all) == 0 || all[0].State == runtime.ContainerCreated && len(all) == 1:
			waiting++
		case all[0].State == runtime.ContainerRunning:
			running++
		case ended(all[0]):
			finished++
			if exitCode(all[0]) != 0 {
				failed++
			}
		default:
			running++ // between two lives
		}
	}
	switch {
	case !s.Initialized() && running == 0 && finished == 0:
		return corev1.PodPending
	case waiting > 0 && s.stopped():
		return corev1.PodFailed
	case waiting > 0:
		return corev1.PodPending
	case running > 0:
		return corev1.PodRunning
	case s.exhausted() || s.stopped():
		if failed > 0 {
			return corev1.PodFailed
		}
		return corev1.PodSucceeded
	}
	return corev1.PodRunning // all down, some to come back
}

// stopped says that a pod being ended has nothing that runs.
func (s *Snapshot) stopped() bool {
	if !s.Deleted() {
		return false
	}
	for i := range s.Containers {
		if s.Containers[i].State == runtime.ContainerRunning {
			return false
		}
	}
	return len(s.Containers) > 0
}

package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/kubelet/containerspec"
	"github.com/strake-io/strake/kubelet/podstep"
)

// leastGrace is left for the signal where a hook used up its time.
const leastGrace = 2 * time.Second

// stopContainer runs the pre-stop hook and stops the container, in the grace
// period that the step gives to both.
func (k *Kubelet) stopContainer(ctx, interruptible context.Context, w *worker, pod *corev1.Pod, s podstep.Step) error {
	w.mu.Lock()
	hooked, told := w.preStopped[s.ID], w.killed[s.ID]
	w.preStopped[s.ID], w.killed[s.ID] = true, true
	w.mu.Unlock()
	if !told {
		k.containerEvent(pod, s.Name, corev1.EventTypeNormal, s.Reason, s.Message)
	}
	grace := s.Grace
	spec, hook := k.preStop(w, pod, s)
	if hook != nil && !hooked && grace > 0 {
		began := time.Now()
		k.runPreStop(interruptible, w, pod, spec, s, hook)
		grace = max(grace-time.Since(began), leastGrace)
		if interruptible.Err() != nil {
			return interruptible.Err()
		}
	}
	if err := k.cfg.Runtime.StopContainer(interruptible, s.ID, grace); err != nil {
		if interruptible.Err() == nil {
			k.event(pod, corev1.EventTypeWarning, "FailedKillPod", fmt.Sprintf("error killing pod: failed to \"KillContainer\" for %q: %v", s.Name, err))
		}
		return err
	}
	return k.seen.readContainer(ctx, s.ID)
}

// preStop finds the hook: in the pod, or, for a pod that is not known any more,
// on the container.
func (k *Kubelet) preStop(w *worker, pod *corev1.Pod, s podstep.Step) (*corev1.Container, *corev1.LifecycleHandler) {
	if spec, _ := findContainer(pod, s.Name); spec != nil {
		if spec.Lifecycle == nil {
			return spec, nil
		}
		return spec, spec.Lifecycle.PreStop
	}
	_, containers := k.seen.get(w.uid)
	for i := range containers {
		raw := containers[i].Annotations[containerspec.AnnotationPreStop]
		if containers[i].ID != s.ID || raw == "" {
			continue
		}
		var hook corev1.LifecycleHandler
		if json.Unmarshal([]byte(raw), &hook) == nil {
			return &corev1.Container{Name: s.Name}, &hook
		}
	}
	return nil, nil
}

func (k *Kubelet) runPreStop(ctx context.Context, w *worker, pod *corev1.Pod, spec *corev1.Container, s podstep.Step, hook *corev1.LifecycleHandler) {
	ctx, cancel := context.WithTimeout(ctx, s.Grace)
	defer cancel()
	if err := k.hooks.Run(ctx, spec, s.ID, k.podIP(w.uid, pod), hook); err != nil {
		k.containerEvent(pod, s.Name, corev1.EventTypeWarning, "FailedPreStopHook", "PreStopHook failed")
		k.log.Info("pre-stop hook failed", "pod", pod.Namespace+"/"+pod.Name, "container", s.Name, "err", err.Error())
	}
}

// podIP that hooks connect to.
func (k *Kubelet) podIP(uid podUID, pod *corev1.Pod) string {
	if ips := k.podIPs(uid, pod); len(ips) > 0 {
		return ips[0]
	}
	return ""
}

func (k *Kubelet) podIPs(uid podUID, pod *corev1.Pod) []string {
	if pod.Spec.HostNetwork {
		return k.hostIPs()
	}
	boxes, _ := k.seen.get(uid)
	s := podstep.Snapshot{Sandboxes: boxes}
	if box := s.Sandbox(); box != nil {
		return box.IPs
	}
	return nil
}

// findContainer looks a container up by name; kind is 'i', 'c' or 'e'.
func findContainer(pod *corev1.Pod, name string) (spec *corev1.Container, kind byte) {
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i], 'c'
		}
	}
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i], 'i'
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			c := corev1.Container(pod.Spec.EphemeralContainers[i].EphemeralContainerCommon)
			return &c, 'e'
		}
	}
	return nil, 0
}

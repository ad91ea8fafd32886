package kubelet

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/kubelet/podstep"
	"github.com/strake-io/strake/kubelet/probes"
	"github.com/strake-io/strake/runtime"
)

// newProbes makes the manager of probes, whose news poke the pods.
func (k *Kubelet) newProbes() (*probes.Manager, error) {
	return probes.New(probes.Config{
		Handler:  k.cfg.ProbeHandler,
		OnResult: func(u probes.Update) { k.poke(u.Pod.UID) },
		OnEvent: func(e probes.Event) {
			k.containerEvent(e.Pod, e.Container, corev1.EventTypeWarning, e.Reason, e.Message)
		},
		Registerer: k.cfg.Registerer,
		Logger:     k.log,
	})
}

// probeResults translates what is known of a container.
func (k *Kubelet) probeResults(id string) podstep.Probes {
	one := func(kind probes.Kind) podstep.Result {
		switch r, ok := k.probes.Result(id, kind); {
		case ok && r == probes.Success:
			return podstep.Success
		case ok && r == probes.Failure:
			return podstep.Failure
		}
		return podstep.Unknown
	}
	return podstep.Probes{Startup: one(probes.Startup), Liveness: one(probes.Liveness), Readiness: one(probes.Readiness)}
}

// probed says that any container of a pod has a probe.
func probed(pod *corev1.Pod) bool {
	for _, list := range [][]corev1.Container{pod.Spec.Containers, pod.Spec.InitContainers} {
		for i := range list {
			if list[i].LivenessProbe != nil || list[i].ReadinessProbe != nil || list[i].StartupProbe != nil {
				return true
			}
		}
	}
	return false
}

// probe tells the prober what runs, and what the API's status said of it before
// this process.
func (k *Kubelet) probe(s *podstep.Snapshot, ip string) {
	if s.VolumesGone || s.Gone || !probed(s.Pod) {
		return
	}
	said := map[string]*corev1.ContainerStatus{}
	for _, list := range [][]corev1.ContainerStatus{s.Pod.Status.ContainerStatuses, s.Pod.Status.InitContainerStatuses} {
		for i := range list {
			said[list[i].Name+"\x00"+list[i].ContainerID] = &list[i]
		}
	}
	seen := probes.Observation{PodIP: ip}
	names := map[string]bool{}
	for i := range s.Containers {
		name := s.Containers[i].Name
		if names[name] {
			continue
		}
		names[name] = true
		c := s.Instances(name)[0]
		o := probes.ObservedContainer{Name: name, ID: c.ID, Running: c.State == runtime.ContainerRunning, StartedAt: c.StartedAt}
		if old := said[name+"\x00"+k.runtimeName()+"://"+c.ID]; old != nil {
			o.Started, o.Ready = old.Started != nil && *old.Started, old.Ready
		}
		seen.Containers = append(seen.Containers, o)
	}
	k.probes.Add(s.Pod)
	k.probes.Observe(s.Pod.UID, seen)
}

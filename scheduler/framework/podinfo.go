package framework

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	schedulinghelper "k8s.io/component-helpers/scheduling/corev1"
)

// PodInfo is a pod with what the scheduler needs of it worked out once. It is
// never changed.
type PodInfo struct {
	Pod *corev1.Pod
	// Requests is what the pod takes from a node: containers, init containers,
	// sidecars, pod-level resources and overhead.
	Requests Resource
	// NonZeroMilliCPU and NonZeroMemory are the requests with defaults for
	// containers that request none; scores use them.
	NonZeroMilliCPU, NonZeroMemory int64
	// HostPorts are the ports of the node that the pod takes.
	HostPorts []HostPort
	// Priority of the pod, 0 where it has none.
	Priority int32
}

// NewPodInfo works a pod out.
func NewPodInfo(pod *corev1.Pod) *PodInfo {
	requests, nonZero := podRequests(pod)
	return &PodInfo{
		Pod:             pod,
		Requests:        requests,
		NonZeroMilliCPU: nonZero.MilliCPU,
		NonZeroMemory:   nonZero.Memory,
		HostPorts:       podHostPorts(pod),
		Priority:        schedulinghelper.PodPriority(pod),
	}
}

// takesAsMuch says that replacing p by o on a node changes none of its sums.
func (p *PodInfo) takesAsMuch(o *PodInfo) bool {
	if !p.Requests.equal(&o.Requests) || p.NonZeroMilliCPU != o.NonZeroMilliCPU || p.NonZeroMemory != o.NonZeroMemory || len(p.HostPorts) != len(o.HostPorts) {
		return false
	}
	for i := range p.HostPorts {
		if p.HostPorts[i] != o.HostPorts[i] {
			return false
		}
	}
	return true
}

// QueuedPod is a pod that waits to be placed.
type QueuedPod struct {
	*PodInfo
	// Attempts is how often it was tried.
	Attempts int
	// Added is when it was put in the queue last.
	Added time.Time
	// FirstAttempt is when it was tried first; zero before.
	FirstAttempt time.Time
	// RejectedBy names the plugins that rejected it the last time.
	RejectedBy []string
}

// HostPort is a port taken on a node. IP is "0.0.0.0" for all addresses.
type HostPort struct {
	IP       string
	Protocol corev1.Protocol
	Port     int32
}

const anyIP = "0.0.0.0"

// Conflicts says that both cannot be on one node.
func (p HostPort) Conflicts(o HostPort) bool {
	return p.Port == o.Port && p.Protocol == o.Protocol && (p.IP == o.IP || p.IP == anyIP || o.IP == anyIP)
}

func podHostPorts(pod *corev1.Pod) []HostPort {
	var ports []HostPort
	add := func(c *corev1.Container) {
		for _, p := range c.Ports {
			if p.HostPort <= 0 {
				continue
			}
			hp := HostPort{IP: p.HostIP, Protocol: p.Protocol, Port: p.HostPort}
			if hp.IP == "" {
				hp.IP = anyIP
			}
			if hp.Protocol == "" {
				hp.Protocol = corev1.ProtocolTCP
			}
			ports = append(ports, hp)
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	for i := range pod.Spec.InitContainers {
		// Sidecars run beside the containers; other init containers are gone by then.
		if p := pod.Spec.InitContainers[i].RestartPolicy; p != nil && *p == corev1.ContainerRestartPolicyAlways {
			add(&pod.Spec.InitContainers[i])
		}
	}
	return ports
}

package containerspec

import (
	"encoding/json"
	"fmt"
	"path"
	"strconv"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/kubelet/podstep"
	"github.com/strake-io/strake/kubelet/qos"
	"github.com/strake-io/strake/runtime"
)

// Labels by which a kubelet finds its pods again. The names are those of CRI.
const (
	LabelPodName       = "io.kubernetes.pod.name"
	LabelPodNamespace  = "io.kubernetes.pod.namespace"
	LabelPodUID        = "io.kubernetes.pod.uid"
	LabelContainerName = "io.kubernetes.container.name"
)

// Annotations that tell a later kubelet, which may not know the pod any more,
// how to end a container.
const (
	AnnotationRestartCount  = "io.kubernetes.container.restartCount"
	AnnotationMessagePath   = "io.kubernetes.container.terminationMessagePath"
	AnnotationMessagePolicy = "io.kubernetes.container.terminationMessagePolicy"
	AnnotationPreStop       = "io.kubernetes.container.preStopHandler"
	AnnotationGrace         = "io.kubernetes.pod.terminationGracePeriod"
)

// LogDirectory of a pod below the directory of all pods' logs; "" keeps no logs.
func LogDirectory(logs string, pod *corev1.Pod) string {
	if logs == "" {
		return ""
	}
	return path.Join(logs, fmt.Sprintf("%s_%s_%s", pod.Namespace, pod.Name, pod.UID))
}

func podLabels(pod *corev1.Pod) map[string]string {
	return map[string]string{LabelPodName: pod.Name, LabelPodNamespace: pod.Namespace, LabelPodUID: string(pod.UID)}
}

// Sandbox configures the pod's sandbox.
func Sandbox(pod *corev1.Pod, attempt uint32, node Node, logs, cgroup, handler string) runtime.SandboxConfig {
	out := runtime.SandboxConfig{
		Pod:            runtime.PodIdentity{Name: pod.Name, Namespace: pod.Namespace, UID: string(pod.UID), Attempt: attempt},
		Hostname:       sandboxHostname(pod, node.ClusterDomain),
		LogDirectory:   LogDirectory(logs, pod),
		DNS:            DNS(pod, node),
		Labels:         podLabels(pod),
		Annotations:    pod.Annotations,
		CgroupParent:   cgroup,
		RuntimeHandler: handler,
		Namespaces:     namespaces(pod),
		Security:       podSecurity(pod),
	}
	for k, v := range pod.Labels {
		if _, taken := out.Labels[k]; !taken {
			out.Labels[k] = v
		}
	}
	for _, list := range [][]corev1.Container{pod.Spec.InitContainers, pod.Spec.Containers} {
		for i := range list {
			if s := list[i].SecurityContext; s != nil && s.Privileged != nil && *s.Privileged {
				out.Security.Privileged = true
			}
			if pod.Spec.HostNetwork {
				continue
			}
			for _, p := range list[i].Ports {
				if p.HostPort > 0 {
					out.Ports = append(out.Ports, runtime.PortMapping{Protocol: string(p.Protocol), HostIP: p.HostIP,
						HostPort: p.HostPort, ContainerPort: p.ContainerPort})
				}
			}
		}
	}
	if p := pod.Spec.SecurityContext; p != nil && len(p.Sysctls) > 0 {
		out.Sysctls = map[string]string{}
		for _, s := range p.Sysctls {
			out.Sysctls[s.Name] = s.Value
		}
	}
	return out
}

func namespaces(pod *corev1.Pod) runtime.Namespaces {
	out := runtime.Namespaces{PID: runtime.NamespaceContainer}
	if pod.Spec.HostNetwork {
		out.Network = runtime.NamespaceNode
	}
	if pod.Spec.HostIPC {
		out.IPC = runtime.NamespaceNode
	}
	switch {
	case pod.Spec.HostPID:
		out.PID = runtime.NamespaceNode
	case pod.Spec.ShareProcessNamespace != nil && *pod.Spec.ShareProcessNamespace:
		out.PID = runtime.NamespacePod
	}
	out.UserHost = pod.Spec.HostUsers == nil || *pod.Spec.HostUsers
	return out
}

// Input of [Container].
type Input struct {
	Pod       *corev1.Pod
	Container *corev1.Container
	Attempt   uint32
	Image     *runtime.Image
	Env       []runtime.EnvVar
	Mounts    []runtime.Mount
	Node      Node
	// Logs says whether the container's output is kept.
	Logs bool
	// TargetID is the container whose processes an ephemeral container joins.
	TargetID string
}

// Container configures a container.
func Container(in Input) runtime.ContainerConfig {
	c := in.Container
	out := runtime.ContainerConfig{
		Name: c.Name, Attempt: in.Attempt, UserImage: c.Image, Image: c.Image,
		Command: expandAll(c.Command, in.Env), Args: expandAll(c.Args, in.Env), WorkingDir: c.WorkingDir,
		Env: in.Env, Mounts: in.Mounts,
		Labels:      podLabels(in.Pod),
		Annotations: annotations(in.Pod, c, in.Attempt),
		Stdin:       c.Stdin, StdinOnce: c.StdinOnce, TTY: c.TTY,
		Resources:  qos.Container(in.Pod, c, in.Node.Memory),
		Namespaces: namespaces(in.Pod),
		Security:   security(in.Pod, c, in.Image),
	}
	out.Labels[LabelContainerName] = c.Name
	if in.Image != nil && in.Image.ID != "" {
		out.Image = in.Image.ID
	}
	if in.Logs {
		out.LogPath = path.Join(c.Name, strconv.Itoa(int(in.Attempt))+".log")
	}
	if in.TargetID != "" {
		out.Namespaces.PID, out.Namespaces.TargetID = runtime.NamespaceTarget, in.TargetID
	}
	if c.Lifecycle != nil && c.Lifecycle.StopSignal != nil {
		out.StopSignal = string(*c.Lifecycle.StopSignal)
	}
	return out
}

func annotations(pod *corev1.Pod, c *corev1.Container, attempt uint32) map[string]string {
	out := map[string]string{
		podstep.HashAnnotation:  podstep.Hash(c),
		AnnotationRestartCount:  strconv.Itoa(int(attempt)),
		AnnotationMessagePath:   c.TerminationMessagePath,
		AnnotationMessagePolicy: string(c.TerminationMessagePolicy),
	}
	if pod.Spec.TerminationGracePeriodSeconds != nil {
		out[AnnotationGrace] = strconv.FormatInt(*pod.Spec.TerminationGracePeriodSeconds, 10)
	}
	if c.Lifecycle != nil && c.Lifecycle.PreStop != nil {
		if raw, err := json.Marshal(c.Lifecycle.PreStop); err == nil {
			out[AnnotationPreStop] = string(raw)
		}
	}
	return out
}

package kubelet

import (
	"context"
	"fmt"
	"sort"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/kubelet/podstep"
	"github.com/strake-io/strake/kubelet/server"
	"github.com/strake-io/strake/runtime"
)

var _ server.Host = (*Kubelet)(nil)

// Pods of this node, with their newest known status. Read-only.
func (k *Kubelet) Pods() []*corev1.Pod {
	workers := k.workers()
	out := make([]*corev1.Pod, 0, len(workers))
	for _, w := range workers {
		if pod, ok := k.current(w); ok {
			out = append(out, pod)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if out[i].Namespace != out[j].Namespace {
			return out[i].Namespace < out[j].Namespace
		}
		return out[i].Name < out[j].Name
	})
	return out
}

// current is a pod as it is known best; false for one that the API lacks.
func (k *Kubelet) current(w *worker) (*corev1.Pod, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.gone {
		return nil, false
	}
	s := k.snapshot(w)
	pod := *w.pod
	pod.Status = k.status(w, s)
	return &pod, true
}

// Pod finds a pod by name; an empty uid is any.
func (k *Kubelet) Pod(namespace, name string, uid types.UID) (*corev1.Pod, bool) {
	for _, w := range k.workers() {
		if uid != "" && w.uid != uid {
			continue
		}
		w.mu.Lock()
		found := w.pod.Namespace == namespace && w.pod.Name == name && !w.gone
		w.mu.Unlock()
		if found {
			return k.current(w)
		}
	}
	return nil, false
}

func (k *Kubelet) snapshotOf(pod *corev1.Pod) *podstep.Snapshot {
	boxes, containers := k.seen.get(pod.UID)
	return &podstep.Snapshot{Pod: pod, Sandboxes: boxes, Containers: containers}
}

// ContainerID is the running container of a name.
func (k *Kubelet) ContainerID(_ context.Context, pod *corev1.Pod, container string) (string, error) {
	for _, c := range k.snapshotOf(pod).Instances(container) {
		if c.State == runtime.ContainerRunning {
			return c.ID, nil
		}
	}
	return "", fmt.Errorf("container not found (%q)", container)
}

// SandboxID is the pod's ready sandbox.
func (k *Kubelet) SandboxID(_ context.Context, pod *corev1.Pod) (string, error) {
	if box := k.snapshotOf(pod).Sandbox(); box != nil && box.State == runtime.SandboxReady {
		return box.ID, nil
	}
	return "", fmt.Errorf("pod %s/%s has no sandbox that is ready", pod.Namespace, pod.Name)
}

// ContainerLog is the log of the latest container of a name, or of the one
// before it.
func (k *Kubelet) ContainerLog(_ context.Context, pod *corev1.Pod, container string, previous bool) (server.Log, error) {
	spec, _ := findContainer(pod, container)
	if spec == nil {
		return server.Log{}, fmt.Errorf("container %s is not valid for pod %s", container, pod.Name)
	}
	all := k.snapshotOf(pod).Instances(container)
	if previous {
		if len(all) < 2 {
			return server.Log{}, fmt.Errorf("previous terminated container %q in pod %q not found", container, pod.Name)
		}
		return server.Log{Path: all[1].LogPath}, nil
	}
	if len(all) > 1 && all[0].State == runtime.ContainerCreated {
		all = all[1:]
	}
	if len(all) == 0 || all[0].State == runtime.ContainerCreated {
		return server.Log{}, fmt.Errorf("container %q in pod %q is waiting to start: %s", container, pod.Name, waitingReason(pod, container))
	}
	out := server.Log{Path: all[0].LogPath}
	if all[0].State == runtime.ContainerRunning {
		id := all[0].ID
		out.Running = func(ctx context.Context) (bool, error) {
			c, err := k.cfg.Runtime.Container(ctx, id)
			if err != nil {
				return false, err
			}
			return c.State == runtime.ContainerRunning, nil
		}
	}
	return out, nil
}

func waitingReason(pod *corev1.Pod, container string) string {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses, pod.Status.EphemeralContainerStatuses} {
		for i := range list {
			if w := list[i].State.Waiting; list[i].Name == container && w != nil {
				switch w.Reason {
				case "ErrImagePull", "ImagePullBackOff":
					return "trying and failing to pull image"
				case "":
				default:
					return w.Reason
				}
			}
		}
	}
	return "ContainerCreating"
}

// Healthy is nil while the runtime answers and the node is up.
func (k *Kubelet) Healthy(context.Context) error {
	select {
	case <-k.ready:
	default:
		return fmt.Errorf("kubelet: the node is not up yet")
	}
	return k.lastList()
}

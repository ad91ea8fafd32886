package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/kubelet/containerspec"
	"github.com/strake-io/strake/kubelet/podstep"
	"github.com/strake-io/strake/kubelet/volumes"
	"github.com/strake-io/strake/runtime"
)

// retryEnvironment is how long a pod whose sandbox or volumes failed waits.
const retryEnvironment = 5 * time.Second

// step takes one step. ctx lasts as long as the kubelet, interruptible until
// something more urgent came up.
func (k *Kubelet) step(ctx, interruptible context.Context, w *worker, s podstep.Step) error {
	w.mu.Lock()
	pod := w.pod
	w.mu.Unlock()
	switch s.Kind {
	case podstep.EnsureCgroup:
		return k.ensureCgroup(ctx, w, pod)
	case podstep.MountVolumes:
		return k.mountVolumes(interruptible, w, pod)
	case podstep.RunSandbox:
		return k.runSandbox(ctx, w, pod, s.Attempt)
	case podstep.StopSandbox:
		if err := k.cfg.Runtime.StopSandbox(ctx, s.ID); err != nil {
			k.event(pod, corev1.EventTypeWarning, "FailedKillPod", fmt.Sprintf("error killing pod: failed to \"KillPodSandbox\" for %q: %v", pod.UID, err))
			return err
		}
		return k.reread(ctx, w, s.ID)
	case podstep.RemoveSandbox:
		if err := k.cfg.Runtime.RemoveSandbox(ctx, s.ID); err != nil {
			return err
		}
		k.seen.drop(s.ID)
		return nil
	case podstep.StartContainer:
		return k.startContainer(ctx, interruptible, w, pod, s)
	case podstep.StopContainer:
		return k.stopContainer(ctx, interruptible, w, pod, s)
	case podstep.RemoveContainer:
		if err := k.cfg.Runtime.RemoveContainer(ctx, s.ID); err != nil {
			return err
		}
		k.seen.drop(s.ID)
		w.mu.Lock()
		delete(w.messages, s.ID)
		delete(w.preStopped, s.ID)
		delete(w.killed, s.ID)
		w.mu.Unlock()
		return nil
	case podstep.UnmountVolumes:
		k.probes.Remove(pod.UID)
		if err := k.cfg.Volumes.TearDown(ctx, pod.UID); err != nil {
			return err
		}
		w.mu.Lock()
		w.volumesReady, w.volumesGone, w.paths = false, true, nil
		w.mu.Unlock()
		return nil
	case podstep.RemoveCgroup:
		if err := k.cfg.Cgroups.RemovePod(ctx, string(pod.UID)); err != nil {
			return err
		}
		w.mu.Lock()
		w.cgroupReady, w.cgroupGone = false, true
		w.mu.Unlock()
		k.updateClasses()
		return nil
	case podstep.Report:
		return k.report(ctx, w)
	}
	return fmt.Errorf("kubelet: unknown step %v", s.Kind)
}

// reread a sandbox and its containers after it was stopped: they went with it.
func (k *Kubelet) reread(ctx context.Context, w *worker, id string) error {
	_, containers := k.seen.get(w.uid)
	for i := range containers {
		if containers[i].SandboxID == id && containers[i].State != runtime.ContainerExited {
			if err := k.seen.readContainer(ctx, containers[i].ID); err != nil {
				return err
			}
		}
	}
	return k.seen.readSandbox(ctx, id)
}

func (k *Kubelet) ensureCgroup(ctx context.Context, w *worker, pod *corev1.Pod) error {
	path, err := k.cfg.Cgroups.EnsurePod(ctx, pod)
	if err != nil {
		k.event(pod, corev1.EventTypeWarning, "FailedCreatePodContainer", fmt.Sprintf("unable to ensure pod container exists: %v", err))
		return err
	}
	w.mu.Lock()
	w.cgroup, w.cgroupReady = path, true
	w.mu.Unlock()
	k.updateClasses()
	return nil
}

func (k *Kubelet) updateClasses() {
	if err := k.cfg.Cgroups.UpdateClasses(k.activePods()); err != nil {
		k.log.V(1).Info("shares of the quality-of-service classes not updated", "err", err.Error())
	}
}

func (k *Kubelet) mountVolumes(ctx context.Context, w *worker, pod *corev1.Pod) error {
	paths, err := k.cfg.Volumes.SetUp(ctx, pod)
	if err != nil {
		if ctx.Err() == nil {
			k.mountEvents(pod, err)
			k.fail(w, "", podstep.Problem{Reason: "FailedMount", Message: err.Error()}, retryMount(err))
		}
		return nil
	}
	w.mu.Lock()
	w.paths, w.volumesReady = paths, true
	delete(w.problems, "")
	w.mu.Unlock()
	return nil
}

// retryMount waits less for what may have been created after the pod.
func retryMount(err error) time.Duration {
	if apierrors.IsNotFound(err) {
		return time.Second
	}
	return retryEnvironment
}

// mountEvents tells of each volume that failed.
func (k *Kubelet) mountEvents(pod *corev1.Pod, err error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			k.mountEvents(pod, e)
		}
		return
	}
	var failed *volumes.SetUpError
	if errors.As(err, &failed) {
		k.event(pod, corev1.EventTypeWarning, "FailedMount", failed.Error())
		return
	}
	k.event(pod, corev1.EventTypeWarning, "FailedMount", err.Error())
}

// fail remembers why something could not be done and when to try again.
func (k *Kubelet) fail(w *worker, name string, p podstep.Problem, wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.Until = time.Now().Add(wait)
	w.problems[name] = p
}

func (k *Kubelet) runSandbox(ctx context.Context, w *worker, pod *corev1.Pod, attempt uint32) error {
	w.mu.Lock()
	cgroup := w.cgroup
	w.mu.Unlock()
	handler := ""
	if pod.Spec.RuntimeClassName != nil && *pod.Spec.RuntimeClassName != "" {
		class, err := k.cfg.Client.NodeV1().RuntimeClasses().Get(ctx, *pod.Spec.RuntimeClassName, metav1.GetOptions{})
		if err != nil {
			return k.sandboxFailed(w, pod, fmt.Errorf("failed to get sandbox runtime: %w", err))
		}
		handler = class.Handler
	}
	config := containerspec.Sandbox(pod, attempt, k.nodeFacts(), k.cfg.PodLogsDir, cgroup, handler)
	if config.LogDirectory != "" {
		if err := os.MkdirAll(config.LogDirectory, 0o755); err != nil {
			return k.sandboxFailed(w, pod, err)
		}
	}
	id, err := k.cfg.Runtime.RunSandbox(ctx, config)
	if errors.Is(err, runtime.ErrExists) {
		// Made by an earlier process, or by a call that did not return: it is in
		// the list.
		return k.seen.relist(ctx)
	}
	if err != nil {
		return k.sandboxFailed(w, pod, err)
	}
	w.mu.Lock()
	delete(w.problems, "")
	w.mu.Unlock()
	return k.seen.readSandbox(ctx, id)
}

func (k *Kubelet) sandboxFailed(w *worker, pod *corev1.Pod, err error) error {
	k.event(pod, corev1.EventTypeWarning, "FailedCreatePodSandBox", fmt.Sprintf("Failed to create pod sandbox: %v", err))
	k.fail(w, "", podstep.Problem{Reason: "FailedCreatePodSandBox", Message: err.Error()}, retryEnvironment)
	return nil
}

// report writes the final status and, if the pod is to be deleted, deletes it.
func (k *Kubelet) report(ctx context.Context, w *worker) error {
	w.mu.Lock()
	s := k.snapshot(w)
	status := k.status(w, s)
	w.mu.Unlock()
	if err := k.statuses.flush(ctx, s.Pod, status); err != nil {
		return err
	}
	if s.Pod.DeletionTimestamp == nil {
		w.mu.Lock()
		w.reported = true
		w.mu.Unlock()
		return nil
	}
	now := int64(0)
	uid := s.Pod.UID
	err := k.cfg.Client.CoreV1().Pods(s.Pod.Namespace).Delete(ctx, s.Pod.Name,
		metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: &metav1.Preconditions{UID: &uid}})
	if err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
		return err
	}
	w.mu.Lock()
	w.deleted = true
	w.mu.Unlock()
	return nil
}

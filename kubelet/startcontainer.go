package kubelet

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/strake-io/strake/kubelet/containerspec"
	"github.com/strake-io/strake/kubelet/podstep"
	"github.com/strake-io/strake/runtime"
)

const (
	// retryConfig is how long a container waits whose configuration, or creation,
	// failed.
	retryConfig = 5 * time.Second
	// servicesTimeout bounds the wait for the services to be known.
	servicesTimeout = 5 * time.Second
)

// startContainer pulls, creates and starts a container and runs its post-start
// hook. What goes wrong becomes a problem of the container's, tried again later,
// and no error of the step.
func (k *Kubelet) startContainer(ctx, interruptible context.Context, w *worker, pod *corev1.Pod, s podstep.Step) error {
	spec, kind := findContainer(pod, s.Name)
	if spec == nil {
		return nil
	}
	image, problem := k.image(interruptible, w, pod, spec)
	if problem != nil {
		w.setProblem(spec.Name, problem)
		return interruptible.Err()
	}
	config, err := k.containerConfig(interruptible, w, pod, spec, kind, s.Attempt, image)
	if interruptible.Err() != nil {
		return interruptible.Err()
	}
	if err != nil {
		k.startFailed(w, pod, spec, "CreateContainerConfigError", err)
		return nil
	}
	boxes, _ := k.seen.get(w.uid)
	box := (&podstep.Snapshot{Sandboxes: boxes}).Sandbox()
	if box == nil {
		return nil
	}
	if !s.Ended.IsZero() {
		w.mu.Lock()
		w.backoffs[spec.Name] = w.backoffs[spec.Name].Advance(s.Ended, time.Now())
		w.mu.Unlock()
	}
	id, err := k.cfg.Runtime.CreateContainer(ctx, box.ID, config)
	if errors.Is(err, runtime.ErrExists) {
		return k.seen.relist(ctx)
	}
	if err != nil {
		k.startFailed(w, pod, spec, "CreateContainerError", err)
		return k.seen.readSandbox(ctx, box.ID)
	}
	k.containerEvent(pod, spec.Name, corev1.EventTypeNormal, "Created", "Container created")
	if err := k.cfg.Runtime.StartContainer(ctx, id); err != nil {
		k.startFailed(w, pod, spec, "RunContainerError", err)
		return k.startLost(ctx, w, spec, id, err)
	}
	k.containerEvent(pod, spec.Name, corev1.EventTypeNormal, "Started", "Container started")
	w.setProblem(spec.Name, nil)
	if err := k.seen.readContainer(ctx, id); err != nil {
		return err
	}
	if spec.Lifecycle == nil || spec.Lifecycle.PostStart == nil {
		return nil
	}
	k.publish(ctx, w)
	if err := k.hooks.Run(interruptible, spec, id, k.podIP(w.uid, pod), spec.Lifecycle.PostStart); err != nil && interruptible.Err() == nil {
		k.containerEvent(pod, spec.Name, corev1.EventTypeWarning, "FailedPostStartHook", "PostStartHook failed")
		k.log.Info("post-start hook failed", "pod", pod.Namespace+"/"+pod.Name, "container", spec.Name, "err", err.Error())
		return k.stopContainer(ctx, interruptible, w, pod, podstep.Step{Kind: podstep.StopContainer, ID: id, Name: spec.Name,
			Grace: (&podstep.Snapshot{Pod: pod}).Grace(), Reason: "Killing", Message: "FailedPostStartHook"})
	}
	return nil
}

// startLost looks at a container that was made and did not start. One that the
// runtime shows as ended waits for its back-off like any other; one that is
// still merely created is removed.
func (k *Kubelet) startLost(ctx context.Context, w *worker, spec *corev1.Container, id string, cause error) error {
	if err := k.seen.readContainer(ctx, id); err != nil {
		return err
	}
	_, containers := k.seen.get(w.uid)
	for i := range containers {
		if containers[i].ID == id && containers[i].State == runtime.ContainerCreated {
			if err := k.cfg.Runtime.RemoveContainer(ctx, id); err != nil {
				return err
			}
			k.seen.drop(id)
			return nil
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages[id] = cause.Error()
	return nil
}

func (w *worker) setProblem(name string, p *podstep.Problem) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if p == nil {
		delete(w.problems, name)
	} else if p.Reason != "" {
		w.problems[name] = *p
	}
}

func (k *Kubelet) startFailed(w *worker, pod *corev1.Pod, spec *corev1.Container, reason string, err error) {
	k.containerEvent(pod, spec.Name, corev1.EventTypeWarning, "Failed", "Error: "+err.Error())
	k.fail(w, spec.Name, podstep.Problem{Reason: reason, Message: err.Error()}, retryConfig)
}

// containerConfig is everything the runtime needs for a container.
func (k *Kubelet) containerConfig(ctx context.Context, w *worker, pod *corev1.Pod, spec *corev1.Container, kind byte, attempt uint32, image *runtime.Image) (runtime.ContainerConfig, error) {
	var none runtime.ContainerConfig
	if err := containerspec.VerifyNonRoot(pod, spec, image); err != nil {
		return none, err
	}
	services, err := k.serviceList(ctx)
	if err != nil {
		return none, err
	}
	ips := k.podIPs(w.uid, pod)
	node := k.nodeFacts()
	env, err := containerspec.Environment(ctx, pod, spec, ips, node, services, k.objects)
	if err != nil {
		return none, err
	}
	w.mu.Lock()
	paths := w.paths
	w.mu.Unlock()
	if paths == nil {
		// Adopted from an earlier process: the volumes are there, ask where.
		if paths, err = k.cfg.Volumes.SetUp(ctx, pod); err != nil {
			return none, err
		}
	}
	mounts, err := k.cfg.Volumes.ContainerMounts(pod, spec, paths, env)
	if err != nil {
		return none, err
	}
	files, err := k.containerFiles(pod, spec, attempt, ips, mounts)
	if err != nil {
		return none, err
	}
	in := containerspec.Input{Pod: pod, Container: spec, Attempt: attempt, Image: image, Env: env,
		Mounts: append(mounts, files...), Node: node, Logs: k.cfg.PodLogsDir != ""}
	if kind == 'e' {
		in.TargetID = k.target(w, pod, spec.Name)
	}
	return containerspec.Container(in), nil
}

// target is the container whose processes an ephemeral one joins.
func (k *Kubelet) target(w *worker, pod *corev1.Pod, name string) string {
	for i := range pod.Spec.EphemeralContainers {
		if e := &pod.Spec.EphemeralContainers[i]; e.Name == name && e.TargetContainerName != "" {
			boxes, containers := k.seen.get(w.uid)
			s := podstep.Snapshot{Pod: pod, Sandboxes: boxes, Containers: containers}
			if c := s.Current(e.TargetContainerName); c != nil && c.State == runtime.ContainerRunning {
				return c.ID
			}
		}
	}
	return ""
}

// serviceList waits until the services were read once: a container keeps for its
// life what it is told here.
func (k *Kubelet) serviceList(ctx context.Context) ([]*corev1.Service, error) {
	if k.servicesSynced != nil {
		ctx, cancel := context.WithTimeout(ctx, servicesTimeout)
		defer cancel()
		select {
		case <-k.servicesSynced:
		case <-ctx.Done():
			return nil, errors.New("services have not yet been read at least once, cannot construct envvars")
		}
	}
	list, err := k.services.List(labels.Everything())
	if err != nil {
		return nil, fmt.Errorf("could not list services: %w", err)
	}
	return list, nil
}

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/distribution/reference"
	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/kubelet/credentials"
	"github.com/strake-io/strake/kubelet/podstep"
	"github.com/strake-io/strake/runtime"
)

// showPullError is how long ErrImagePull stays in the status before it becomes
// ImagePullBackOff.
const showPullError = 2 * time.Second

// image makes sure that a container's image is on the machine. A problem says
// why it is not, and is for the status.
func (k *Kubelet) image(ctx context.Context, w *worker, pod *corev1.Pod, spec *corev1.Container) (*runtime.Image, *podstep.Problem) {
	if _, err := reference.ParseAnyReference(spec.Image); err != nil {
		message := fmt.Sprintf("Failed to apply default image tag %q: couldn't parse image name %q: %v", spec.Image, spec.Image, err)
		k.containerEvent(pod, spec.Name, corev1.EventTypeWarning, "InspectFailed", message)
		return nil, k.imageProblem(pod, spec, "InvalidImageName", message, retryConfig)
	}
	found, err := k.cfg.Runtime.Image(ctx, spec.Image)
	if err != nil && !errors.Is(err, runtime.ErrNotFound) {
		message := fmt.Sprintf("Failed to inspect image %q: %v", spec.Image, err)
		k.containerEvent(pod, spec.Name, corev1.EventTypeWarning, "InspectFailed", message)
		return nil, k.imageProblem(pod, spec, "ImageInspectError", message, retryConfig)
	}
	switch pullPolicy(spec) {
	case corev1.PullNever:
		if err != nil {
			message := fmt.Sprintf("Container image %q is not present with pull policy of Never", spec.Image)
			k.containerEvent(pod, spec.Name, corev1.EventTypeWarning, "ErrImageNeverPull", message)
			return nil, k.imageProblem(pod, spec, "ErrImageNeverPull", message, retryConfig)
		}
		fallthrough
	case corev1.PullIfNotPresent:
		if err == nil {
			k.containerEvent(pod, spec.Name, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", spec.Image))
			return found, nil
		}
	}
	return k.pull(ctx, w, pod, spec)
}

// pullPolicy of a container; the API sets it, static manifests may not.
func pullPolicy(spec *corev1.Container) corev1.PullPolicy {
	if spec.ImagePullPolicy != "" {
		return spec.ImagePullPolicy
	}
	last := spec.Image[strings.LastIndex(spec.Image, "/")+1:]
	if !strings.Contains(last, "@") && (!strings.Contains(last, ":") || strings.HasSuffix(last, ":latest")) {
		return corev1.PullAlways
	}
	return corev1.PullIfNotPresent
}

// pull pulls an image, unless an earlier failure says to wait.
func (k *Kubelet) pull(ctx context.Context, w *worker, pod *corev1.Pod, spec *corev1.Container) (*runtime.Image, *podstep.Problem) {
	w.mu.Lock()
	back := w.pulls[spec.Image]
	last := w.problems[spec.Name]
	w.mu.Unlock()
	if until := back.Updated.Add(back.Delay); back.Delay > 0 && time.Now().Before(until) {
		k.containerEvent(pod, spec.Name, corev1.EventTypeNormal, "BackOff", fmt.Sprintf("Back-off pulling image %q", spec.Image))
		message := fmt.Sprintf("Back-off pulling image %q", spec.Image)
		if last.Reason != "" && last.Message != "" {
			message += ": " + last.Reason + ": " + last.Message
		}
		return nil, k.imageProblem(pod, spec, "ImagePullBackOff", message, time.Until(until))
	}
	asked := time.Now()
	select {
	case k.pulls <- struct{}{}:
		defer func() { <-k.pulls }()
	case <-ctx.Done():
		return nil, &podstep.Problem{}
	}
	if pullPolicy(spec) == corev1.PullIfNotPresent {
		// Another pod may have brought it meanwhile.
		if found, err := k.cfg.Runtime.Image(ctx, spec.Image); err == nil {
			k.containerEvent(pod, spec.Name, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Container image %q already present on machine", spec.Image))
			return found, nil
		}
	}
	k.containerEvent(pod, spec.Name, corev1.EventTypeNormal, "Pulling", fmt.Sprintf("Pulling image %q", spec.Image))
	began := time.Now()
	id, err := k.pullWithSecrets(ctx, pod, spec.Image)
	var found *runtime.Image
	if err == nil {
		if found, err = k.cfg.Runtime.Image(ctx, spec.Image); err != nil {
			found, err = k.cfg.Runtime.Image(ctx, id)
		}
	}
	if ctx.Err() != nil {
		return nil, &podstep.Problem{}
	}
	if err != nil {
		w.mu.Lock()
		now := time.Now()
		next := back.Advance(now, now)
		w.pulls[spec.Image] = next
		w.mu.Unlock()
		k.containerEvent(pod, spec.Name, corev1.EventTypeWarning, "Failed", fmt.Sprintf("Failed to pull image %q: %v", spec.Image, err))
		reason := "ErrImagePull"
		var pullError *runtime.PullError
		if errors.As(err, &pullError) && pullError.Reason != "" {
			reason = pullError.Reason
		}
		return nil, k.imageProblem(pod, spec, reason, err.Error(), min(showPullError, next.Delay))
	}
	w.mu.Lock()
	delete(w.pulls, spec.Image)
	w.mu.Unlock()
	now := time.Now()
	k.containerEvent(pod, spec.Name, corev1.EventTypeNormal, "Pulled", fmt.Sprintf("Successfully pulled image %q in %s (%s including waiting). Image size: %d bytes.",
		spec.Image, now.Sub(began).Truncate(time.Millisecond), now.Sub(asked).Truncate(time.Millisecond), found.SizeBytes))
	return found, nil
}

func (k *Kubelet) imageProblem(pod *corev1.Pod, spec *corev1.Container, reason, message string, wait time.Duration) *podstep.Problem {
	k.containerEvent(pod, spec.Name, corev1.EventTypeWarning, "Failed", "Error: "+reason)
	return &podstep.Problem{Reason: reason, Message: message, Until: time.Now().Add(wait)}
}

// pullWithSecrets tries the pod's credentials for the registry one after the
// other; without any it pulls anonymously.
func (k *Kubelet) pullWithSecrets(ctx context.Context, pod *corev1.Pod, image string) (id string, err error) {
	var ring credentials.Keyring
	var missing []string
	for _, ref := range pod.Spec.ImagePullSecrets {
		secret, err := k.objects.Secret(ctx, pod.Namespace, ref.Name)
		if err == nil {
			err = ring.Add(secret)
		}
		if err != nil {
			missing = append(missing, ref.Name)
		}
	}
	if len(missing) > 0 {
		k.event(pod, corev1.EventTypeWarning, "FailedToRetrieveImagePullSecret",
			fmt.Sprintf("Unable to retrieve some image pull secrets (%s); attempting to pull the image may not succeed.", strings.Join(missing, ", ")))
	}
	auths := ring.Lookup(image)
	if len(auths) == 0 {
		return k.cfg.Runtime.Pull(ctx, image, nil)
	}
	for i := range auths {
		if id, err = k.cfg.Runtime.Pull(ctx, image, &auths[i]); err == nil || ctx.Err() != nil {
			break
		}
	}
	return id, err
}

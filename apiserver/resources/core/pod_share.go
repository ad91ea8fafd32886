package core

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/resource"
)

// The kinds of parts that pods share.
const (
	sharedEnv byte = iota
	sharedEnvFrom
	sharedPorts
	sharedProbe
	sharedResources
	sharedSecurity
	sharedProjected
	sharedTolerations
)

// sharePod lets the pods of one template have in common what the template says, which
// is most of a pod. Containers and volumes are not shared as a whole: the volume with
// the service account's token has a name of its own in each pod.
func sharePod(obj runtime.Object, seen *resource.Shared) {
	spec := &obj.(*corev1.Pod).Spec
	for i := range spec.InitContainers {
		shareContainer(&spec.InitContainers[i], seen)
	}
	for i := range spec.Containers {
		shareContainer(&spec.Containers[i], seen)
	}
	for i := range spec.Volumes {
		spec.Volumes[i].Projected = resource.Share(seen, sharedProjected, spec.Volumes[i].Projected)
	}
	spec.Tolerations = resource.ShareList(seen, sharedTolerations, spec.Tolerations, func(t *corev1.Toleration) resource.Marshaler { return t })
}

func shareContainer(c *corev1.Container, seen *resource.Shared) {
	c.Env = resource.ShareList(seen, sharedEnv, c.Env, func(e *corev1.EnvVar) resource.Marshaler { return e })
	c.EnvFrom = resource.ShareList(seen, sharedEnvFrom, c.EnvFrom, func(e *corev1.EnvFromSource) resource.Marshaler { return e })
	c.Ports = resource.ShareList(seen, sharedPorts, c.Ports, func(p *corev1.ContainerPort) resource.Marshaler { return p })
	c.LivenessProbe = resource.Share(seen, sharedProbe, c.LivenessProbe)
	c.ReadinessProbe = resource.Share(seen, sharedProbe, c.ReadinessProbe)
	c.StartupProbe = resource.Share(seen, sharedProbe, c.StartupProbe)
	c.Resources = *resource.Share(seen, sharedResources, &c.Resources)
	c.SecurityContext = resource.Share(seen, sharedSecurity, c.SecurityContext)
}

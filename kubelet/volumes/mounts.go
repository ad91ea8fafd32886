package volumes

import (
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/runtime"
)

// ContainerMount is one mount of a container, before its sub-path is resolved
// on disk.
type ContainerMount struct {
	runtime.Mount // HostPath is the volume's
	Volume        string
	// SubPath below HostPath, variables expanded; empty is the volume itself.
	SubPath string
	// Index of the volumeMount in the container.
	Index int
}

// Mounts computes a container's mounts from its volumeMounts. paths are the
// volumes' host paths as [Manager.SetUp] returns them, env the environment of
// the container, for subPathExpr. Container paths that are not absolute are
// taken from the root.
func Mounts(pod *corev1.Pod, container *corev1.Container, paths map[string]string, env []runtime.EnvVar) ([]ContainerMount, error) {
	variables := make(map[string]string, len(env))
	for _, e := range env {
		variables[e.Name] = e.Value
	}
	var out []ContainerMount
	for i := range container.VolumeMounts {
		vm := &container.VolumeMounts[i]
		hostPath, ok := paths[vm.Name]
		if !ok {
			return nil, fmt.Errorf("volume %q is not mounted in pod %q", vm.Name, pod.Name)
		}
		subPath := vm.SubPath
		if vm.SubPathExpr != "" {
			expanded, err := expandVariables(vm.SubPathExpr, variables)
			if err != nil {
				return nil, fmt.Errorf("failed to expand subPathExpr of volumeMount %q: %w", vm.Name, err)
			}
			subPath = expanded
		}
		if subPath != "" {
			if path.IsAbs(subPath) {
				return nil, fmt.Errorf("error SubPath `%s` must not be an absolute path", subPath)
			}
			for part := range strings.SplitSeq(subPath, "/") {
				if part == ".." {
					return nil, fmt.Errorf("unable to provision SubPath `%s`: must not contain '..'", subPath)
				}
			}
		}
		m := ContainerMount{
			Mount: runtime.Mount{
				HostPath:          hostPath,
				ContainerPath:     vm.MountPath,
				ReadOnly:          vm.ReadOnly || alwaysReadOnly(pod, vm.Name),
				RecursiveReadOnly: recursiveReadOnly(vm),
				Propagation:       propagation(vm.MountPropagation),
			},
			Volume: vm.Name, SubPath: subPath, Index: i,
		}
		if !path.IsAbs(m.ContainerPath) {
			m.ContainerPath = path.Join("/", m.ContainerPath)
		}
		out = append(out, m)
	}
	return out, nil
}

// alwaysReadOnly holds for volumes whose content the kubelet owns.
func alwaysReadOnly(pod *corev1.Pod, volume string) bool {
	for i := range pod.Spec.Volumes {
		if v := &pod.Spec.Volumes[i]; v.Name == volume {
			return v.ConfigMap != nil || v.Secret != nil || v.DownwardAPI != nil || v.Projected != nil
		}
	}
	return false
}

// recursiveReadOnly takes IfPossible for possible: runtimes that cannot do it
// fall back to a plain read-only mount.
func recursiveReadOnly(vm *corev1.VolumeMount) bool {
	if !vm.ReadOnly || vm.RecursiveReadOnly == nil {
		return false
	}
	return *vm.RecursiveReadOnly == corev1.RecursiveReadOnlyEnabled || *vm.RecursiveReadOnly == corev1.RecursiveReadOnlyIfPossible
}

func propagation(mode *corev1.MountPropagationMode) runtime.Propagation {
	if mode == nil {
		return runtime.PropagationPrivate
	}
	switch *mode {
	case corev1.MountPropagationHostToContainer:
		return runtime.PropagationHostToContainer
	case corev1.MountPropagationBidirectional:
		return runtime.PropagationBidirectional
	}
	return runtime.PropagationPrivate
}

// expandVariables replaces $(NAME); $$ is a dollar sign. Unlike in commands, a
// variable that does not exist is an error here: a wrong directory would be
// made otherwise.
func expandVariables(s string, variables map[string]string) (string, error) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] != '$' || i+1 == len(s) {
			b.WriteByte(s[i])
			continue
		}
		switch s[i+1] {
		case '$':
			b.WriteByte('$')
			i++
		case '(':
			end := strings.IndexByte(s[i:], ')')
			if end < 0 {
				b.WriteByte('$')
				continue
			}
			name := s[i+2 : i+end]
			value, ok := variables[name]
			if !ok {
				return "", fmt.Errorf("missing value for %q", name)
			}
			b.WriteString(value)
			i += end
		default:
			b.WriteByte('$')
		}
	}
	return b.String(), nil
}

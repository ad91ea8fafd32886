package containerspec

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/strake-io/strake/kubelet/volumes"
	"github.com/strake-io/strake/runtime"
)

// Sources are where an environment takes values from. *volumes.Objects is one.
type Sources interface {
	ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error)
	Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error)
}

// Node is what a container may know of its node.
type Node struct {
	HostIPs     []string
	Allocatable corev1.ResourceList
	// Memory of the machine in bytes, for OOM scores.
	Memory int64
	// ClusterDNS servers and ClusterDomain, for DNS and host names.
	ClusterDNS    []string
	ClusterDomain string
	// HostDNS is the machine's own resolv.conf; nil leaves it to the runtime.
	HostDNS *runtime.DNSConfig
}

// Environment computes a container's variables: from envFrom, overridden by
// env, then those of services that are not set already. Errors are worded as
// upstream words them in CreateContainerConfigError.
func Environment(ctx context.Context, pod *corev1.Pod, c *corev1.Container, podIPs []string, node Node, services []*corev1.Service, from Sources) ([]runtime.EnvVar, error) {
	env := environment{values: map[string]string{}}
	linked := ServiceVariables(pod, services)
	for _, e := range c.EnvFrom {
		if err := env.all(ctx, pod, e, from); err != nil {
			return nil, err
		}
	}
	lookup := func(name string) (string, bool) {
		if v, ok := env.values[name]; ok {
			return v, true
		}
		for _, s := range linked {
			if s.Name == name {
				return s.Value, true
			}
		}
		return "", false
	}
	for _, e := range c.Env {
		value := e.Value
		if e.Value != "" {
			value = Expand(e.Value, lookup)
		} else if e.ValueFrom != nil {
			var skip bool
			var err error
			if value, skip, err = valueFrom(ctx, pod, c, e.ValueFrom, podIPs, node, from); err != nil {
				return nil, err
			} else if skip {
				continue
			}
		}
		env.set(e.Name, value)
	}
	out := make([]runtime.EnvVar, 0, len(env.order)+len(linked))
	for _, name := range env.order {
		out = append(out, runtime.EnvVar{Name: name, Value: env.values[name]})
	}
	for _, s := range linked {
		if _, ok := env.values[s.Name]; !ok {
			out = append(out, s)
		}
	}
	return out, nil
}

// environment keeps the order in which variables were first set.
type environment struct {
	order  []string
	values map[string]string
}

func (e *environment) set(name, value string) {
	if _, ok := e.values[name]; !ok {
		e.order = append(e.order, name)
	}
	e.values[name] = value
}

func (e *environment) all(ctx context.Context, pod *corev1.Pod, f corev1.EnvFromSource, from Sources) error {
	switch {
	case f.ConfigMapRef != nil:
		cm, err := from.ConfigMap(ctx, pod.Namespace, f.ConfigMapRef.Name)
		if err != nil {
			return absent(err, f.ConfigMapRef.Optional)
		}
		for _, k := range slices.Sorted(maps.Keys(cm.Data)) {
			e.set(f.Prefix+k, cm.Data[k])
		}
	case f.SecretRef != nil:
		secret, err := from.Secret(ctx, pod.Namespace, f.SecretRef.Name)
		if err != nil {
			return absent(err, f.SecretRef.Optional)
		}
		for _, k := range slices.Sorted(maps.Keys(secret.Data)) {
			e.set(f.Prefix+k, string(secret.Data[k]))
		}
	}
	return nil
}

// absent forgives a missing optional object.
func absent(err error, optional *bool) error {
	if optional != nil && *optional && apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

func valueFrom(ctx context.Context, pod *corev1.Pod, c *corev1.Container, v *corev1.EnvVarSource, podIPs []string, node Node, from Sources) (value string, skip bool, err error) {
	switch {
	case v.FieldRef != nil:
		value, err = fieldValue(pod, v.FieldRef.FieldPath, podIPs, node)
		return value, false, err
	case v.ResourceFieldRef != nil:
		name := v.ResourceFieldRef.ContainerName
		if name == "" {
			name = c.Name
		}
		value, err = volumes.ResourceValue(pod, name, v.ResourceFieldRef, node.Allocatable)
		return value, false, err
	case v.ConfigMapKeyRef != nil:
		ref := v.ConfigMapKeyRef
		cm, err := from.ConfigMap(ctx, pod.Namespace, ref.Name)
		if err != nil {
			return "", true, absent(err, ref.Optional)
		}
		if value, ok := cm.Data[ref.Key]; ok {
			return value, false, nil
		}
		if ref.Optional != nil && *ref.Optional {
			return "", true, nil
		}
		return "", false, fmt.Errorf("couldn't find key %v in ConfigMap %v/%v", ref.Key, pod.Namespace, ref.Name)
	case v.SecretKeyRef != nil:
		ref := v.SecretKeyRef
		secret, err := from.Secret(ctx, pod.Namespace, ref.Name)
		if err != nil {
			return "", true, absent(err, ref.Optional)
		}
		if value, ok := secret.Data[ref.Key]; ok {
			return string(value), false, nil
		}
		if ref.Optional != nil && *ref.Optional {
			return "", true, nil
		}
		return "", false, fmt.Errorf("couldn't find key %v in Secret %v/%v", ref.Key, pod.Namespace, ref.Name)
	}
	return "", false, fmt.Errorf("the source of an environment variable of container %s is not supported", c.Name)
}

// fieldValue is a field of the pod in an environment: unlike in a volume, what
// the node and the runtime added is known.
func fieldValue(pod *corev1.Pod, path string, podIPs []string, node Node) (string, error) {
	switch path {
	case "spec.nodeName":
		return pod.Spec.NodeName, nil
	case "spec.serviceAccountName":
		return pod.Spec.ServiceAccountName, nil
	case "status.hostIP":
		return first(node.HostIPs), nil
	case "status.hostIPs":
		return strings.Join(node.HostIPs, ","), nil
	case "status.podIP":
		return first(podIPs), nil
	case "status.podIPs":
		return strings.Join(podIPs, ","), nil
	}
	return volumes.FieldValue(pod, path)
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

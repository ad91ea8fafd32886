package volumes

import (
	"fmt"
	"math"
	"sort"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
)

// FieldValue is what the downward API gives for a field of a pod, in a volume.
// Whole maps (metadata.labels) are one line per entry: key="value", sorted.
func FieldValue(pod *corev1.Pod, fieldPath string) (string, error) {
	if name, key, ok := subscript(fieldPath); ok {
		switch name {
		case "metadata.annotations":
			return pod.Annotations[key], nil
		case "metadata.labels":
			return pod.Labels[key], nil
		}
		return "", fmt.Errorf("fieldPath %q does not support subscript", fieldPath)
	}
	switch fieldPath {
	case "metadata.annotations":
		return formatMap(pod.Annotations), nil
	case "metadata.labels":
		return formatMap(pod.Labels), nil
	case "metadata.name":
		return pod.Name, nil
	case "metadata.namespace":
		return pod.Namespace, nil
	case "metadata.uid":
		return string(pod.UID), nil
	}
	return "", fmt.Errorf("unsupported fieldPath: %v", fieldPath)
}

// subscript splits metadata.labels['key'] into its name and key.
func subscript(fieldPath string) (name, key string, ok bool) {
	if !strings.HasSuffix(fieldPath, "']") {
		return "", "", false
	}
	name, key, ok = strings.Cut(strings.TrimSuffix(fieldPath, "']"), "['")
	return name, key, ok && name != ""
}

func formatMap(m map[string]string) string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	var b strings.Builder
	for i, k := range keys {
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(k + "=" + strconv.Quote(m[k]))
	}
	return b.String()
}

// ResourceValue is what the downward API gives for a container's request or
// limit, divided by the divisor and rounded up. A limit that is not set is the
// node's allocatable amount.
func ResourceValue(pod *corev1.Pod, containerName string, ref *corev1.ResourceFieldSelector, allocatable corev1.ResourceList) (string, error) {
	container := findContainer(pod, containerName)
	if container == nil {
		return "", fmt.Errorf("container %s not found", containerName)
	}
	divisor := ref.Divisor
	if divisor.IsZero() {
		divisor = resource.MustParse("1")
	}
	kind, name, ok := strings.Cut(ref.Resource, ".")
	if !ok || kind != "limits" && kind != "requests" {
		return "", fmt.Errorf("unsupported container resource : %v", ref.Resource)
	}
	resourceName := corev1.ResourceName(name)
	switch {
	case resourceName == corev1.ResourceCPU, resourceName == corev1.ResourceMemory, resourceName == corev1.ResourceEphemeralStorage:
	case strings.HasPrefix(name, corev1.ResourceHugePagesPrefix):
	default:
		return "", fmt.Errorf("unsupported container resource : %v", ref.Resource)
	}
	var quantity resource.Quantity
	if kind == "limits" {
		var set bool
		if quantity, set = container.Resources.Limits[resourceName]; !set || quantity.IsZero() {
			quantity = allocatable[resourceName]
		}
	} else {
		quantity = container.Resources.Requests[resourceName]
	}
	if resourceName == corev1.ResourceCPU {
		return strconv.FormatInt(int64(math.Ceil(float64(quantity.MilliValue())/float64(divisor.MilliValue()))), 10), nil
	}
	return strconv.FormatInt(int64(math.Ceil(float64(quantity.Value())/float64(divisor.Value()))), 10), nil
}

func findContainer(pod *corev1.Pod, name string) *corev1.Container {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return &pod.Spec.InitContainers[i]
		}
	}
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return &pod.Spec.Containers[i]
		}
	}
	return nil
}

// DownwardPayload is the content of a downwardAPI volume.
func DownwardPayload(pod *corev1.Pod, items []corev1.DownwardAPIVolumeFile, mode *int32, allocatable corev1.ResourceList) (Payload, error) {
	defaultMode := modeOr(mode, corev1.DownwardAPIVolumeSourceDefaultMode)
	payload := Payload{}
	for _, item := range items {
		var value string
		var err error
		switch {
		case item.FieldRef != nil:
			value, err = FieldValue(pod, item.FieldRef.FieldPath)
		case item.ResourceFieldRef != nil:
			value, err = ResourceValue(pod, item.ResourceFieldRef.ContainerName, item.ResourceFieldRef, allocatable)
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		payload[item.Path] = File{Data: []byte(value), Mode: modeOr(item.Mode, defaultMode)}
	}
	return payload, nil
}

package podspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// deprecated node labels and what took their place.
var deprecatedNodeLabels = map[string]string{
	"beta.kubernetes.io/arch":                  "use \"kubernetes.io/arch\" instead",
	"beta.kubernetes.io/os":                    "use \"kubernetes.io/os\" instead",
	"failure-domain.beta.kubernetes.io/region": "use \"topology.kubernetes.io/region\" instead",
	"failure-domain.beta.kubernetes.io/zone":   "use \"topology.kubernetes.io/zone\" instead",
	"beta.kubernetes.io/instance-type":         "use \"node.kubernetes.io/instance-type\" instead",
}

// Warnings are what a client should hear about a pod or template that is legal
// but not wise: deprecated fields and names, duplicates that overwrite each
// other. path is that of the pod spec.
func Warnings(spec *corev1.PodSpec, annotations map[string]string, path *field.Path) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(spec.NodeSelector)) {
		if msg, old := deprecatedNodeLabels[k]; old {
			out = append(out, fmt.Sprintf("%s: deprecated since v1.14; %s", path.Child("nodeSelector").Key(k), msg))
		}
	}
	for i, a := range spec.HostAliases {
		if strings.TrimSpace(a.IP) != a.IP {
			out = append(out, fmt.Sprintf("%s: %q contains whitespace", path.Child("hostAliases").Index(i).Child("ip"), a.IP))
		}
	}
	for i := range spec.Volumes {
		v, at := &spec.Volumes[i], path.Child("volumes").Index(i)
		switch {
		case v.GitRepo != nil:
			out = append(out, fmt.Sprintf("%s: deprecated in v1.11, and disabled by default in v1.33+", at.Child("gitRepo")))
		case v.Glusterfs != nil:
			out = append(out, fmt.Sprintf("%s: deprecated in v1.25, non-functional in v1.26+", at.Child("glusterfs")))
		case v.ScaleIO != nil:
			out = append(out, fmt.Sprintf("%s: deprecated in v1.16, non-functional in v1.22+", at.Child("scaleIO")))
		case v.RBD != nil:
			out = append(out, fmt.Sprintf("%s: deprecated in v1.28, non-functional in v1.31+", at.Child("rbd")))
		case v.CephFS != nil:
			out = append(out, fmt.Sprintf("%s: deprecated in v1.28, non-functional in v1.31+", at.Child("cephfs")))
		case v.StorageOS != nil:
			out = append(out, fmt.Sprintf("%s: deprecated in v1.22, non-functional in v1.25+", at.Child("storageOS")))
		}
	}
	seen := sets.New[string]()
	for i, s := range spec.ImagePullSecrets {
		at := path.Child("imagePullSecrets").Index(i).Child("name")
		switch {
		case s.Name == "":
			out = append(out, fmt.Sprintf("%s: invalid empty name %q", at, s.Name))
		case seen.Has(s.Name):
			out = append(out, fmt.Sprintf("%s: duplicate name %q", at, s.Name))
		}
		seen.Insert(s.Name)
	}
	if spec.TerminationGracePeriodSeconds != nil && *spec.TerminationGracePeriodSeconds < 0 {
		out = append(out, fmt.Sprintf("%s: must be >= 0; negative values are invalid and will be treated as 1", path.Child("terminationGracePeriodSeconds")))
	}
	for _, list := range []struct {
		name       string
		containers []corev1.Container
	}{{"initContainers", spec.InitContainers}, {"containers", spec.Containers}} {
		for i := range list.containers {
			out = append(out, containerWarnings(&list.containers[i], path.Child(list.name).Index(i))...)
		}
	}
	for _, k := range slices.Sorted(maps.Keys(annotations)) {
		if strings.HasPrefix(k, "container.apparmor.security.beta.kubernetes.io/") {
			out = append(out, fmt.Sprintf("metadata.annotations[%s]: deprecated since v1.30; use the \"appArmorProfile\" field instead", k))
		}
	}
	return out
}

func containerWarnings(c *corev1.Container, path *field.Path) []string {
	var out []string
	for _, part := range []struct {
		name string
		list corev1.ResourceList
	}{{"limits", c.Resources.Limits}, {"requests", c.Resources.Requests}} {
		if q, ok := part.list[corev1.ResourceMemory]; ok && q.MilliValue()%1000 != 0 {
			at := path.Child("resources", part.name).Key(string(corev1.ResourceMemory))
			out = append(out, fmt.Sprintf("%s: fractional byte value %q is invalid, must be an integer", at, q.String()))
		}
	}
	seen := map[string]bool{}
	for i, e := range c.Env {
		if seen[e.Name] && !strings.Contains(e.Value, "$("+e.Name+")") {
			out = append(out, fmt.Sprintf("%s: hides previous definition of %q, which may be dropped when using apply", path.Child("env").Index(i), e.Name))
		}
		seen[e.Name] = true
	}
	type port struct {
		number   int32
		protocol corev1.Protocol
		host     int32
		ip       string
	}
	ports := map[port]int{}
	for i, p := range c.Ports {
		k := port{p.ContainerPort, p.Protocol, p.HostPort, p.HostIP}
		if first, dup := ports[k]; dup {
			out = append(out, fmt.Sprintf("%s: duplicate port definition with %s", path.Child("ports").Index(i), path.Child("ports").Index(first)))
			continue
		}
		ports[k] = i
	}
	return out
}

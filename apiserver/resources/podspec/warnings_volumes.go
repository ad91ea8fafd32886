package podspec

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// placed is a container with its place in the spec.
type placed struct {
	*corev1.EphemeralContainerCommon
	at *field.Path
}

// containersOf are all containers of a spec, in the order they start.
func containersOf(spec *corev1.PodSpec, path *field.Path) []placed {
	var out []placed
	for _, list := range []struct {
		name       string
		containers []corev1.Container
	}{{"initContainers", spec.InitContainers}, {"containers", spec.Containers}} {
		for i := range list.containers {
			out = append(out, placed{(*corev1.EphemeralContainerCommon)(&list.containers[i]), path.Child(list.name).Index(i)})
		}
	}
	for i := range spec.EphemeralContainers {
		out = append(out, placed{&spec.EphemeralContainers[i].EphemeralContainerCommon, path.Child("ephemeralContainers").Index(i)})
	}
	return out
}

// volumes warns of kinds of volumes that are gone, and of files in each other's place.
func (w *warner) volumes(spec *corev1.PodSpec) {
	for i := range spec.Volumes {
		v, at := &spec.Volumes[i], w.at.Child("volumes").Index(i)
		for _, old := range []struct {
			used          bool
			name, message string
		}{
			{v.PhotonPersistentDisk != nil, "photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"},
			{v.GitRepo != nil, "gitRepo", "deprecated in v1.11, and disabled by default in v1.33+"},
			{v.ScaleIO != nil, "scaleIO", "deprecated in v1.16, non-functional in v1.22+"},
			{v.Flocker != nil, "flocker", "deprecated in v1.22, non-functional in v1.25+"},
			{v.StorageOS != nil, "storageOS", "deprecated in v1.22, non-functional in v1.25+"},
			{v.Quobyte != nil, "quobyte", "deprecated in v1.22, non-functional in v1.25+"},
			{v.Glusterfs != nil, "glusterfs", "deprecated in v1.25, non-functional in v1.26+"},
			{v.CephFS != nil, "cephfs", "deprecated in v1.28, non-functional in v1.31+"},
			{v.RBD != nil, "rbd", "deprecated in v1.28, non-functional in v1.31+"},
		} {
			if old.used {
				w.add(at.Child(old.name), "%s", old.message)
			}
		}
		if e := v.Ephemeral; e != nil && e.VolumeClaimTemplate != nil {
			r, resources := &e.VolumeClaimTemplate.Spec.Resources, at.Child("ephemeral", "volumeClaimTemplate", "spec", "resources")
			w.wholeBytes(r.Requests, corev1.ResourceStorage, resources.Child("requests"))
			w.wholeBytes(r.Limits, corev1.ResourceStorage, resources.Child("limits"))
		}
	}
	for i := range spec.Volumes {
		w.overlaps(&spec.Volumes[i])
	}
}

// ports warns of ports of all containers that are, or may come to be, the same.
func (w *warner) ports(spec *corev1.PodSpec) {
	type block struct {
		at   *field.Path
		port corev1.ContainerPort
	}
	all := map[string][]block{}
	for _, c := range containersOf(spec, w.at) {
		for i, port := range c.Ports {
			at := c.at.Child("ports").Index(i)
			if port.HostIP != "" && port.HostPort == 0 {
				w.add(at, "hostIP set without hostPort: %+v", port)
			}
			key := fmt.Sprintf("%d/%s", port.ContainerPort, port.Protocol)
			for _, other := range all[key] {
				anyIP, otherAny := port.HostIP == "", other.port.HostIP == ""
				switch {
				case port.HostIP == other.port.HostIP && port.HostPort == other.port.HostPort:
					w.add(at, "duplicate port definition with %s", other.at)
				case port.HostPort == 0 || other.port.HostPort == 0:
					w.add(at, "overlapping port definition with %s", other.at)
				case port.HostPort == other.port.HostPort && anyIP != otherAny:
					w.add(at, "dangerously ambiguous port definition with %s", other.at)
				}
			}
			all[key] = append(all[key], block{at, port})
		}
	}
	named := map[string]*field.Path{}
	for _, c := range containersOf(spec, w.at) {
		for i, port := range c.Ports {
			if port.Name == "" {
				continue
			}
			at := c.at.Child("ports").Index(i)
			if first, twice := named[port.Name]; twice {
				w.add(at, "duplicate port name %q with %s, services and probes that select ports by name will use %s", port.Name, first, first)
				continue
			}
			named[port.Name] = at
		}
	}
}

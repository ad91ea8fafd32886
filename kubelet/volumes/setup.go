package volumes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
)

// Plugin names in the directory layout, upstream's.
const (
	pluginConfigMap   = "kubernetes.io~configmap"
	pluginSecret      = "kubernetes.io~secret"
	pluginDownwardAPI = "kubernetes.io~downward-api"
	pluginProjected   = "kubernetes.io~projected"
	pluginEmptyDir    = "kubernetes.io~empty-dir"
)

// mountedVolumes are the names of the volumes that some container mounts.
func mountedVolumes(pod *corev1.Pod) map[string]bool {
	used := map[string]bool{}
	for i := range pod.Spec.InitContainers {
		for _, vm := range pod.Spec.InitContainers[i].VolumeMounts {
			used[vm.Name] = true
		}
	}
	for i := range pod.Spec.Containers {
		for _, vm := range pod.Spec.Containers[i].VolumeMounts {
			used[vm.Name] = true
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		for _, vm := range pod.Spec.EphemeralContainers[i].VolumeMounts {
			used[vm.Name] = true
		}
	}
	return used
}

func (m *Manager) setUpLocked(ctx context.Context, pod *corev1.Pod) (map[string]string, error) {
	used := mountedVolumes(pod)
	paths := map[string]string{}
	var failed []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if !used[v.Name] {
			continue
		}
		path, err := m.setUpVolume(ctx, pod, v)
		if err != nil {
			failed = append(failed, &SetUpError{Volume: v.Name, Err: err})
			continue
		}
		paths[v.Name] = path
	}
	return paths, errors.Join(failed...)
}

func (m *Manager) setUpVolume(ctx context.Context, pod *corev1.Pod, v *corev1.Volume) (string, error) {
	switch {
	case v.HostPath != nil:
		if m.cfg.Simulate {
			return v.HostPath.Path, nil
		}
		return v.HostPath.Path, checkHostPath(v.HostPath.Path, v.HostPath.Type)
	case v.EmptyDir != nil:
		return m.setUpEmptyDir(pod, v)
	case v.ConfigMap != nil:
		payload, err := m.configMap(ctx, pod, v.ConfigMap.Name, v.ConfigMap.Items, v.ConfigMap.DefaultMode, v.ConfigMap.Optional)
		return m.setUpFiles(pod, v.Name, pluginConfigMap, false, payload, err)
	case v.Secret != nil:
		payload, err := m.secret(ctx, pod, v.Secret.SecretName, v.Secret.Items, v.Secret.DefaultMode, v.Secret.Optional)
		return m.setUpFiles(pod, v.Name, pluginSecret, true, payload, err)
	case v.DownwardAPI != nil:
		payload, err := DownwardPayload(pod, v.DownwardAPI.Items, v.DownwardAPI.DefaultMode, m.cfg.Allocatable())
		return m.setUpFiles(pod, v.Name, pluginDownwardAPI, true, payload, err)
	case v.Projected != nil:
		payload, err := m.projected(ctx, pod, v.Projected)
		return m.setUpFiles(pod, v.Name, pluginProjected, true, payload, err)
	}
	return "", fmt.Errorf("unsupported volume type: %s", sourceName(&v.VolumeSource))
}

// setUpFiles writes a volume of files that the kubelet owns.
func (m *Manager) setUpFiles(pod *corev1.Pod, volume, plugin string, memory bool, payload Payload, err error) (string, error) {
	if err != nil {
		return "", err
	}
	dir := filepath.Join(m.podDir(pod.UID), "volumes", plugin, volume)
	if m.cfg.Simulate {
		return dir, payload.Validate()
	}
	if err := m.makeDir(dir, memory, 0); err != nil {
		return "", err
	}
	group := fsGroup(pod)
	_, err = writeAtomic(dir, payload, time.Now(), func(content string) error {
		if group == nil {
			return nil
		}
		return setGroup(content, *group, true)
	})
	return dir, err
}

// makeDir makes a volume's directory, which containers of any user may write to
// as far as the mount lets them; in memory where that is asked for and possible.
func (m *Manager) makeDir(dir string, memory bool, sizeBytes int64) error {
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	if memory {
		mounted, err := m.mounted(dir)
		if err != nil {
			return err
		}
		if !mounted {
			err := m.cfg.Mounter.Tmpfs(dir, sizeBytes)
			if errors.Is(err, ErrMountDenied) {
				m.warnOnce.Do(func() {
					m.cfg.Logger.Info("volumes in memory are kept on disk: this process may not mount", "err", err)
				})
			} else if err != nil {
				return err
			}
		}
	}
	// The volume itself, and what leads to it, must be passable for containers.
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if info.Mode().Perm() != 0o777 {
		return os.Chmod(dir, 0o777|info.Mode()&os.ModeSetgid)
	}
	return nil
}

func (m *Manager) mounted(dir string) (bool, error) {
	points, err := m.cfg.Mounter.Under(dir)
	if err != nil {
		return false, err
	}
	for _, p := range points {
		if p == dir {
			return true, nil
		}
	}
	return false, nil
}

func (m *Manager) setUpEmptyDir(pod *corev1.Pod, v *corev1.Volume) (string, error) {
	dir := filepath.Join(m.podDir(pod.UID), "volumes", pluginEmptyDir, v.Name)
	if m.cfg.Simulate {
		return dir, nil
	}
	memory := false
	var size int64
	switch medium := v.EmptyDir.Medium; medium {
	case corev1.StorageMediumDefault:
	case corev1.StorageMediumMemory:
		memory = true
		size = memoryVolumeSize(pod, v.EmptyDir.SizeLimit, m.cfg.Allocatable())
	default:
		return "", fmt.Errorf("unsupported storage medium %q", medium)
	}
	// A marker beside the volume says that it was handed out already: from then
	// on it belongs to the containers. What is in memory is lost by a reboot,
	// and is set up again.
	marker := filepath.Join(m.podDir(pod.UID), "plugins", pluginEmptyDir, v.Name, "ready")
	_, err := os.Stat(marker)
	isReady := err == nil
	if isReady {
		if _, err := os.Stat(dir); err != nil {
			isReady = false
		} else if memory {
			mounted, err := m.mounted(dir)
			if err != nil {
				return "", err
			}
			isReady = mounted
		}
	}
	if isReady {
		return dir, nil
	}
	if err := m.makeDir(dir, memory, size); err != nil {
		return "", err
	}
	if group := fsGroup(pod); group != nil {
		if err := setGroup(dir, *group, false); err != nil {
			return "", err
		}
	}
	if err := os.MkdirAll(filepath.Dir(marker), 0o750); err != nil {
		return "", err
	}
	return dir, os.WriteFile(marker, nil, 0o640)
}

// memoryVolumeSize is how large a volume in memory may grow: the smallest of
// its own limit, the pod's memory limit and the node's memory; 0 is no bound.
func memoryVolumeSize(pod *corev1.Pod, limit *resource.Quantity, allocatable corev1.ResourceList) int64 {
	var size int64
	lower := func(n int64) {
		if n > 0 && (size == 0 || n < size) {
			size = n
		}
	}
	if q, ok := allocatable[corev1.ResourceMemory]; ok {
		lower(q.Value())
	}
	var total int64
	for i := range pod.Spec.Containers {
		q, ok := pod.Spec.Containers[i].Resources.Limits[corev1.ResourceMemory]
		if !ok || q.IsZero() {
			total = 0
			break
		}
		total += q.Value()
	}
	lower(total)
	if limit != nil {
		lower(limit.Value())
	}
	return size
}

func (m *Manager) configMap(ctx context.Context, pod *corev1.Pod, name string, items []corev1.KeyToPath, mode *int32, optional *bool) (Payload, error) {
	isOptional := optional != nil && *optional
	cm, err := m.cfg.Objects.ConfigMap(ctx, pod.Namespace, name)
	if apierrors.IsNotFound(err) && isOptional {
		cm, err = &corev1.ConfigMap{}, nil
	}
	if err != nil {
		return nil, err
	}
	return ConfigMapPayload(cm, items, mode, isOptional)
}

func (m *Manager) secret(ctx context.Context, pod *corev1.Pod, name string, items []corev1.KeyToPath, mode *int32, optional *bool) (Payload, error) {
	isOptional := optional != nil && *optional
	secret, err := m.cfg.Objects.Secret(ctx, pod.Namespace, name)
	if apierrors.IsNotFound(err) && isOptional {
		secret, err = &corev1.Secret{}, nil
	}
	if err != nil {
		return nil, err
	}
	return SecretPayload(secret, items, mode, isOptional)
}

// projected collects all sources; what fails is reported together.
func (m *Manager) projected(ctx context.Context, pod *corev1.Pod, p *corev1.ProjectedVolumeSource) (Payload, error) {
	all := Payload{}
	var failed []error
	for i := range p.Sources {
		s := &p.Sources[i]
		var payload Payload
		var err error
		switch {
		case s.ConfigMap != nil:
			payload, err = m.configMap(ctx, pod, s.ConfigMap.Name, s.ConfigMap.Items, p.DefaultMode, s.ConfigMap.Optional)
		case s.Secret != nil:
			payload, err = m.secret(ctx, pod, s.Secret.Name, s.Secret.Items, p.DefaultMode, s.Secret.Optional)
		case s.DownwardAPI != nil:
			payload, err = DownwardPayload(pod, s.DownwardAPI.Items, p.DefaultMode, m.cfg.Allocatable())
		case s.ServiceAccountToken != nil:
			payload, err = m.tokenPayload(ctx, pod, s.ServiceAccountToken, p.DefaultMode)
		default:
			err = errors.New("unsupported projected volume source")
		}
		if err != nil {
			failed = append(failed, err)
			continue
		}
		all.merge(payload)
	}
	return all, joinOnOneLine(failed)
}

func (m *Manager) tokenPayload(ctx context.Context, pod *corev1.Pod, p *corev1.ServiceAccountTokenProjection, mode *int32) (Payload, error) {
	if m.cfg.Simulate {
		return Payload{p.Path: {}}, nil // nobody would read it
	}
	token, err := m.tokens.get(ctx, pod, p, time.Now())
	if err != nil {
		return nil, fmt.Errorf("failed to fetch token: %w", err)
	}
	f := File{Data: []byte(token), Mode: modeOr(mode, corev1.ProjectedVolumeSourceDefaultMode)}
	// Where one user or group can own the token, nobody else needs to read it.
	if user := commonUser(pod); user != nil || fsGroup(pod) != nil {
		f.Mode, f.UID = 0o600, user
	}
	return Payload{p.Path: f}, nil
}

// sourceName is the API's name of a volume source, for messages.
func sourceName(s *corev1.VolumeSource) string {
	switch {
	case s.PersistentVolumeClaim != nil:
		return "persistentVolumeClaim"
	case s.Image != nil:
		return "image"
	case s.CSI != nil:
		return "csi"
	case s.NFS != nil:
		return "nfs"
	case s.ISCSI != nil:
		return "iscsi"
	case s.Ephemeral != nil:
		return "ephemeral"
	case s.FC != nil:
		return "fc"
	case s.FlexVolume != nil:
		return "flexVolume"
	case s.GitRepo != nil:
		return "gitRepo"
	case s.RBD != nil:
		return "rbd"
	case s.CephFS != nil:
		return "cephfs"
	}
	return "unknown"
}

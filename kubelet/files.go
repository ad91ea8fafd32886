package kubelet

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/kubelet/containerspec"
	"github.com/strake-io/strake/kubelet/logs"
	"github.com/strake-io/strake/runtime"
)

const (
	hostsPath = "/etc/hosts"
	// Limits of a termination message, from a file and from the log.
	maxMessage    = 4096
	maxLogMessage = 2048
	maxLogLines   = 80
)

func (k *Kubelet) podDir(uid types.UID) string {
	return filepath.Join(k.cfg.RootDir, "pods", string(uid))
}

// messageFile of a container's life: found again from what its labels say.
func (k *Kubelet) messageFile(uid types.UID, name string, attempt uint32) string {
	return filepath.Join(k.podDir(uid), "containers", name, strconv.Itoa(int(attempt)))
}

// containerFiles makes the files that the kubelet itself adds to a container:
// /etc/hosts and the one for the termination message.
func (k *Kubelet) containerFiles(pod *corev1.Pod, spec *corev1.Container, attempt uint32, ips []string, mounts []runtime.Mount) ([]runtime.Mount, error) {
	if k.cfg.RootDir == "" {
		return nil, nil
	}
	var out []runtime.Mount
	own := true
	for i := range mounts {
		own = own && path.Clean(mounts[i].ContainerPath) != hostsPath
	}
	if own {
		var machine []byte
		if pod.Spec.HostNetwork {
			machine, _ = os.ReadFile(hostsPath)
		}
		file := filepath.Join(k.podDir(pod.UID), "etc-hosts")
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			return nil, fmt.Errorf("hosts file: %w", err)
		}
		// Written in place: containers that run have this very file mounted.
		if err := os.WriteFile(file, containerspec.Hosts(pod, ips, k.cfg.ClusterDomain, machine), 0o644); err != nil {
			return nil, fmt.Errorf("hosts file: %w", err)
		}
		out = append(out, runtime.Mount{HostPath: file, ContainerPath: hostsPath})
	}
	if spec.TerminationMessagePath != "" {
		file := k.messageFile(pod.UID, spec.Name, attempt)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			return nil, fmt.Errorf("termination message: %w", err)
		}
		f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o666)
		if err != nil {
			return nil, fmt.Errorf("termination message: %w", err)
		}
		// Whoever the container runs as may write it, whatever the umask.
		if err := errors.Join(f.Chmod(0o666), f.Close()); err != nil {
			return nil, fmt.Errorf("termination message: %w", err)
		}
		out = append(out, runtime.Mount{HostPath: file, ContainerPath: spec.TerminationMessagePath})
	}
	return out, nil
}

// terminationMessage is what a container left when it ended: its file, or the
// end of its log where it failed, left none and the pod asks for it. A message
// that the API has already wins over files that are gone.
func (k *Kubelet) terminationMessage(pod *corev1.Pod, c *runtime.Container) string {
	for _, list := range [][]corev1.ContainerStatus{pod.Status.ContainerStatuses, pod.Status.InitContainerStatuses} {
		for i := range list {
			if t := list[i].State.Terminated; t != nil && t.Message != "" && strings.HasSuffix(t.ContainerID, "://"+c.ID) {
				return t.Message
			}
		}
	}
	if k.cfg.RootDir == "" {
		return c.Message
	}
	if text := readHead(k.messageFile(types.UID(c.Labels[containerspec.LabelPodUID]), c.Name, c.Attempt), maxMessage); text != "" {
		return text
	}
	policy := c.Annotations[containerspec.AnnotationMessagePolicy]
	if policy == string(corev1.TerminationMessageFallbackToLogsOnError) && c.ExitCode != 0 && c.LogPath != "" {
		if text := logTail(c.LogPath); text != "" {
			return text
		}
	}
	return c.Message
}

func readHead(name string, most int64) string {
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return ""
	}
	return string(data)
}

// logTail is the end of a container's log, as a message.
func logTail(name string) string {
	const window = 64 << 10
	f, err := os.Open(name)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > window {
		if _, err := f.Seek(-window, io.SeekEnd); err != nil {
			return ""
		}
	}
	data, err := io.ReadAll(io.LimitReader(f, window))
	if err != nil {
		return ""
	}
	records := strings.SplitAfter(string(data), "\n")
	if len(records) > maxLogLines {
		records = records[len(records)-maxLogLines:]
	}
	var b strings.Builder
	for _, r := range records {
		if line, err := logs.ParseLine([]byte(strings.TrimSuffix(r, "\n"))); err == nil {
			b.Write(line.Text)
			if !line.Partial {
				b.WriteByte('\n')
			}
		}
	}
	text := b.String()
	if len(text) > maxLogMessage {
		text = text[len(text)-maxLogMessage:]
	}
	return text
}

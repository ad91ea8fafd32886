// Package cgroups keeps the control groups of a node's pods: one for each
// quality-of-service class and one for each pod below it, in the layout of
// upstream's cgroupfs driver. The runtime makes the containers' groups inside.
//
//	<root>/kubepods/pod<uid>               guaranteed
//	<root>/kubepods/burstable/pod<uid>
//	<root>/kubepods/besteffort/pod<uid>
//
// It writes to the files of cgroup v1 (also the hybrid layout) and v2 itself;
// which one is found by [Detect].
package cgroups

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/kubelet/qos"
	"github.com/strake-io/strake/runtime"
)

// Version of the kernel's cgroup interface.
type Version uint8

const (
	None Version = iota
	V1
	V2
)

// controllers of version 1 in which pods get groups; those that the machine
// lacks are left out.
var controllers = []string{"cpu", "memory", "pids"}

// Config of a [Manager].
type Config struct {
	// Mountpoint of the cgroup file system; "/sys/fs/cgroup" by default.
	Mountpoint string
	// Root below which all groups are; "/strake" by default. Give each kubelet
	// of a machine its own.
	Root string
	// Version of the interface; None (the default) finds out.
	Version Version
	// PodPids bounds the processes of one pod; 0 is no bound.
	PodPids int64
}

// Manager makes and removes groups. Safe for concurrent use as long as calls
// about one pod do not overlap.
type Manager struct {
	mount, root string
	version     Version
	v1          []string // controllers that exist
	// hierarchies are all that there are: in those that only the runtime writes
	// to, it makes the groups above a container's as well, and leaves them.
	hierarchies []string
	pids        int64
}

// ErrNoCgroups says that the machine has none that could be used.
var ErrNoCgroups = errors.New("cgroups: no usable cgroup file system")

// Detect says which interface is mounted at a directory.
func Detect(mountpoint string) Version {
	if _, err := os.Stat(filepath.Join(mountpoint, "cgroup.controllers")); err == nil {
		return V2
	}
	if _, err := os.Stat(filepath.Join(mountpoint, "memory")); err == nil {
		return V1
	}
	return None
}

// New validates the configuration and looks at the machine; it changes nothing.
func New(c Config) (*Manager, error) {
	if c.Mountpoint == "" {
		c.Mountpoint = "/sys/fs/cgroup"
	}
	if c.Root == "" {
		c.Root = "/strake"
	}
	if !path.IsAbs(c.Root) || path.Clean(c.Root) != c.Root {
		return nil, fmt.Errorf("cgroups: root %q is not a clean absolute path", c.Root)
	}
	m := &Manager{mount: c.Mountpoint, root: c.Root, version: c.Version, pids: c.PodPids}
	if m.version == None {
		m.version = Detect(c.Mountpoint)
	}
	switch m.version {
	case None:
		return nil, fmt.Errorf("%w at %s", ErrNoCgroups, c.Mountpoint)
	case V1:
		for _, name := range controllers {
			if _, err := os.Stat(filepath.Join(c.Mountpoint, name)); err == nil {
				m.v1 = append(m.v1, name)
			}
		}
		if err := m.findHierarchies(); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// findHierarchies lists what is mounted below the mountpoint. Names that are links
// are second names of a hierarchy with several controllers.
func (m *Manager) findHierarchies() error {
	entries, err := os.ReadDir(m.mount)
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			m.hierarchies = append(m.hierarchies, e.Name())
		}
	}
	return nil
}

// Version that is in use.
func (m *Manager) Version() Version { return m.version }

// classPath is the group of a class.
func (m *Manager) classPath(class corev1.PodQOSClass) string {
	switch class {
	case corev1.PodQOSBurstable:
		return path.Join(m.root, "kubepods", "burstable")
	case corev1.PodQOSBestEffort:
		return path.Join(m.root, "kubepods", "besteffort")
	}
	return path.Join(m.root, "kubepods")
}

// PodPath is the group of a pod, as the runtime wants it for a parent.
func (m *Manager) PodPath(pod *corev1.Pod) string {
	return path.Join(m.classPath(qos.Class(pod)), "pod"+string(pod.UID))
}

// EnsurePod makes the pod's group with its limits, or brings those up to date,
// and returns its path.
func (m *Manager) EnsurePod(_ context.Context, pod *corev1.Pod) (string, error) {
	if uid := string(pod.UID); uid == "" || strings.ContainsAny(uid, "/\x00") {
		return "", fmt.Errorf("cgroups: invalid pod UID %q", uid)
	}
	group := m.PodPath(pod)
	limits := qos.Pod(pod)
	return group, m.ensure(group, limits, m.pids)
}

// UpdateClasses gives the burstable class the shares that its pods request
// together, and the best-effort class the least there is.
func (m *Manager) UpdateClasses(pods []*corev1.Pod) error {
	return errors.Join(
		m.ensure(m.classPath(corev1.PodQOSBurstable), runtime.Resources{CPUShares: qos.Shares(qos.Sum(pods, corev1.PodQOSBurstable))}, 0),
		m.ensure(m.classPath(corev1.PodQOSBestEffort), runtime.Resources{CPUShares: qos.Shares(0)}, 0))
}

// RemovePod removes the pod's groups, of whatever class. What still runs inside
// is killed first. Idempotent.
func (m *Manager) RemovePod(ctx context.Context, uid string) error {
	var failed []error
	for _, dir := range m.podDirs(uid) {
		if err := removeTree(ctx, dir); err != nil {
			failed = append(failed, err)
		}
	}
	return errors.Join(failed...)
}

// Remove removes the root with all below it, and the groups above it that are
// empty then: when a node is taken off a machine.
func (m *Manager) Remove(ctx context.Context) error {
	var failed []error
	for _, dir := range m.everywhere(m.root) {
		failed = append(failed, removeTree(ctx, dir))
	}
	for above := path.Dir(m.root); above != "/"; above = path.Dir(above) {
		for _, dir := range m.everywhere(above) {
			_ = syscall.Rmdir(dir) // fails where another node has groups in it
		}
	}
	return errors.Join(failed...)
}

// Pods lists the UIDs that have a group: after a crash, also of pods that are
// gone.
func (m *Manager) Pods() ([]string, error) {
	seen := map[string]bool{}
	var uids []string
	for _, class := range []corev1.PodQOSClass{corev1.PodQOSGuaranteed, corev1.PodQOSBurstable, corev1.PodQOSBestEffort} {
		for _, dir := range m.everywhere(m.classPath(class)) {
			entries, err := os.ReadDir(dir)
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, fmt.Errorf("cgroups: %w", err)
			}
			for _, e := range entries {
				if uid, ok := strings.CutPrefix(e.Name(), "pod"); ok && e.IsDir() && !seen[uid] {
					seen[uid] = true
					uids = append(uids, uid)
				}
			}
		}
	}
	return uids, nil
}

func (m *Manager) podDirs(uid string) []string {
	if uid == "" || strings.ContainsAny(uid, "/\x00") {
		return nil
	}
	var out []string
	for _, class := range []corev1.PodQOSClass{corev1.PodQOSGuaranteed, corev1.PodQOSBurstable, corev1.PodQOSBestEffort} {
		out = append(out, m.everywhere(path.Join(m.classPath(class), "pod"+uid))...)
	}
	return out
}

// everywhere is where a group may be: one directory in each hierarchy.
func (m *Manager) everywhere(group string) []string {
	if m.version == V2 {
		return []string{filepath.Join(m.mount, group)}
	}
	out := make([]string, len(m.hierarchies))
	for i, name := range m.hierarchies {
		out[i] = filepath.Join(m.mount, name, group)
	}
	return out
}

// removeTree removes a group and those below it, deepest first. The kernel needs
// a moment after the last process died.
func removeTree(ctx context.Context, dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("cgroups: %w", err)
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(ctx, filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for wait := time.Millisecond; ; wait *= 2 {
		err := syscall.Rmdir(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || wait > 500*time.Millisecond {
			return fmt.Errorf("cgroups: remove %s: %w", dir, err)
		}
		killAll(dir)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(wait):
		}
	}
}

func killAll(dir string) {
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return
	}
	for _, field := range strings.Fields(string(data)) {
		if pid, err := strconv.Atoi(field); err == nil && pid > 1 && pid != os.Getpid() {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

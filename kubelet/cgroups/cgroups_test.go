package cgroups_test

import (
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/strake-io/strake/kubelet/cgroups"
)

func pod() *corev1.Pod {
	p := &corev1.Pod{}
	p.UID = "u1"
	p.Spec.Containers = []corev1.Container{{Name: "c", Resources: corev1.ResourceRequirements{
		Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("250m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
		Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m"), corev1.ResourceMemory: resource.MustParse("128Mi")},
	}}}
	return p
}

func TestWeight(t *testing.T) {
	for shares, want := range map[int64]int64{0: 0, 2: 1, 1024: 100, 262144: 10000} {
		if got := cgroups.Weight(shares); got != want {
			t.Errorf("Weight(%d) = %d, want %d", shares, got, want)
		}
	}
}

// The files of the pod's group are there before, as the kernel would make them.
func TestVersion1(t *testing.T) {
	dir := t.TempDir()
	group := "strake/kubepods/burstable/podu1"
	for file, content := range map[string]string{"cpu/" + group + "/cpu.shares": "", "cpu/" + group + "/cpu.cfs_quota_us": "",
		"cpu/" + group + "/cpu.cfs_period_us": "", "memory/" + group + "/memory.limit_in_bytes": ""} {
		write(t, filepath.Join(dir, file), content)
	}
	m, err := cgroups.New(cgroups.Config{Mountpoint: dir})
	if err != nil {
		t.Fatal(err)
	}
	path, err := m.EnsurePod(t.Context(), pod())
	if err != nil || path != "/"+group {
		t.Fatalf("%q, %v", path, err)
	}
	for file, want := range map[string]string{"cpu/" + group + "/cpu.shares": "256", "cpu/" + group + "/cpu.cfs_quota_us": "50000",
		"memory/" + group + "/memory.limit_in_bytes": "134217728"} {
		if got := read(t, filepath.Join(dir, file)); got != want {
			t.Errorf("%s: %q, want %q", file, got, want)
		}
	}
	if uids, err := m.Pods(); err != nil || len(uids) != 1 || uids[0] != "u1" {
		t.Errorf("pods %v, %v", uids, err)
	}
}

func TestVersion2HandsControllersDown(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "cgroup.controllers"), "cpu memory pids")
	write(t, filepath.Join(dir, "cgroup.subtree_control"), "cpu memory")
	group := filepath.Join(dir, "strake/kubepods/burstable/podu1")
	write(t, filepath.Join(group, "cpu.max"), "")
	write(t, filepath.Join(group, "cpu.weight"), "")
	m, err := cgroups.New(cgroups.Config{Mountpoint: dir})
	if err != nil || m.Version() != cgroups.V2 {
		t.Fatalf("%v, %v", m, err)
	}
	if _, err := m.EnsurePod(t.Context(), pod()); err != nil {
		t.Fatal(err)
	}
	if got := read(t, filepath.Join(dir, "cgroup.subtree_control")); got != "+pids" {
		t.Errorf("the controller that was missing: %q", got)
	}
	if got := read(t, filepath.Join(group, "cpu.max")); got != "50000 100000" {
		t.Errorf("cpu.max %q", got)
	}
}

// TestThisMachine makes real groups where that is allowed.
func TestThisMachine(t *testing.T) {
	const top = "/strake-cgroups-test"
	m, err := cgroups.New(cgroups.Config{Root: top + "/node"})
	if err != nil {
		t.Skip(err)
	}
	if os.Getuid() != 0 {
		t.Skip("needs privileges")
	}
	if _, err := m.EnsurePod(t.Context(), pod()); err != nil {
		t.Skipf("groups cannot be made here: %v", err)
	}
	// A runtime makes its groups in every hierarchy, below groups of the same names.
	for _, dir := range hierarchies(t, m.Version()) {
		if err := os.MkdirAll(filepath.Join(dir, m.PodPath(pod()), "container"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.RemovePod(t.Context(), "u1"); err != nil {
		t.Error(err)
	}
	for _, dir := range hierarchies(t, m.Version()) {
		if _, err := os.Stat(filepath.Join(dir, m.PodPath(pod()))); !os.IsNotExist(err) {
			t.Errorf("%s%s is left: %v", dir, m.PodPath(pod()), err)
		}
	}
	if uids, err := m.Pods(); err != nil || len(uids) != 0 {
		t.Errorf("pods left: %v, %v", uids, err)
	}
	if err := m.Remove(t.Context()); err != nil {
		t.Error(err)
	}
	for _, dir := range hierarchies(t, m.Version()) {
		if _, err := os.Stat(filepath.Join(dir, top)); !os.IsNotExist(err) {
			t.Errorf("%s%s is left: %v", dir, top, err)
		}
	}
}

// hierarchies of this machine's cgroup file system.
func hierarchies(t *testing.T, version cgroups.Version) []string {
	t.Helper()
	const mount = "/sys/fs/cgroup"
	if version == cgroups.V2 {
		return []string{mount}
	}
	entries, err := os.ReadDir(mount)
	if err != nil {
		t.Fatal(err)
	}
	var dirs []string
	for _, e := range entries {
		if e.IsDir() {
			dirs = append(dirs, filepath.Join(mount, e.Name()))
		}
	}
	return dirs
}

func write(t *testing.T, name, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

package volumes

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/fake"
)

// realManager mounts for real, or skips the test where it may not.
func realManager(t *testing.T) (*Manager, string) {
	t.Helper()
	root := t.TempDir()
	probe := filepath.Join(root, "probe")
	if err := os.Mkdir(probe, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := SystemMounter().Tmpfs(probe, 0); err != nil {
		t.Skipf("mounting needs privileges: %v", err)
	}
	if err := SystemMounter().Unmount(probe); err != nil {
		t.Fatal(err)
	}
	objects, err := NewObjects(ObjectsConfig{Client: fake.NewClientset()})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(Config{Root: root, Objects: objects})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		points, _ := m.cfg.Mounter.Under(root)
		for _, p := range points {
			_ = m.cfg.Mounter.Unmount(p)
		}
	})
	return m, root
}

func TestMemoryVolumeAndSubPath(t *testing.T) {
	m, root := realManager(t)
	limit := resource.MustParse("1Mi")
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "pod", UID: "uid-1"},
		Spec: corev1.PodSpec{
			SecurityContext: &corev1.PodSecurityContext{FSGroup: ptr(int64(1234))},
			Volumes: []corev1.Volume{{Name: "m", VolumeSource: corev1.VolumeSource{
				EmptyDir: &corev1.EmptyDirVolumeSource{Medium: corev1.StorageMediumMemory, SizeLimit: &limit},
			}}},
			Containers: []corev1.Container{{Name: "c", VolumeMounts: []corev1.VolumeMount{
				{Name: "m", MountPath: "/m", SubPath: "a/b"},
			}}},
		},
	}
	paths, err := m.SetUp(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	dir := paths["m"]
	info, err := os.Stat(dir)
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode(); got&os.ModeSetgid == 0 || got.Perm() != 0o777 {
		t.Errorf("mode %v", got)
	}
	if err := os.WriteFile(filepath.Join(dir, "big"), make([]byte, 2<<20), 0o600); err == nil {
		t.Error("the size limit does not hold")
	}
	os.Remove(filepath.Join(dir, "big"))

	container := &pod.Spec.Containers[0]
	mounts, err := m.ContainerMounts(pod, container, paths, nil)
	if err != nil {
		t.Fatal(err)
	}
	want := filepath.Join(root, "pods/uid-1/volume-subpaths/m/c/0")
	if mounts[0].HostPath != want {
		t.Fatalf("mount %+v, want %s", mounts[0], want)
	}
	// What the mount shows is the directory, not what the name leads to later.
	if err := os.WriteFile(filepath.Join(dir, "a/b/file"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(dir, "a"), filepath.Join(dir, "moved")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc", filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(want, "file")); err != nil {
		t.Error(err)
	}
	// Now that a container has put a link there, it leads nowhere.
	if _, err := m.ContainerMounts(pod, container, paths, nil); err == nil || !strings.Contains(err.Error(), "a/b") {
		t.Errorf("a link out of the volume was followed: %v", err)
	}

	// A new process finds the volume as it is and takes it down.
	later, err := New(Config{Root: root, Objects: m.cfg.Objects})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := later.SetUp(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(dir, "moved/b/file")); err != nil {
		t.Errorf("the restart lost what was in the volume: %v", err)
	}
	if err := later.CleanOrphans(t.Context(), func(uid types.UID) bool { return false }); err != nil {
		t.Fatal(err)
	}
	if left, _ := later.cfg.Mounter.Under(root); len(left) > 0 {
		t.Errorf("mounts are left over: %v", left)
	}
	if entries, _ := os.ReadDir(filepath.Join(root, "pods")); len(entries) > 0 {
		t.Errorf("left over: %v", entries)
	}
}

func TestSecretIsInMemory(t *testing.T) {
	m, _ := realManager(t)
	client := m.cfg.Objects.cfg.Client.(*fake.Clientset)
	if err := client.Tracker().Add(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s"}, Data: map[string][]byte{"k": []byte("v")}}); err != nil {
		t.Fatal(err)
	}
	pod := podWith(corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s", DefaultMode: ptr(int32(0o400))}}})
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{FSGroup: ptr(int64(1234))}
	done := make(chan error, 1)
	ctx := t.Context()
	go func() { done <- m.cfg.Objects.Run(ctx) }()
	paths, err := m.SetUp(t.Context(), pod)
	if err != nil {
		t.Fatal(err)
	}
	if mounted, err := m.mounted(paths["v"]); err != nil || !mounted {
		t.Errorf("mounted %v, %v", mounted, err)
	}
	// The group may read it, nobody else.
	if got := files(t, paths["v"]); len(got) != 1 || got[0] != "-r--r----- k=v" {
		t.Errorf("files %v", got)
	}
	if err := m.TearDown(t.Context(), pod.UID); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(paths["v"]); !os.IsNotExist(err) {
		t.Errorf("left over: %v", err)
	}
}

package volumes

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/fake"

	"github.com/strake-io/strake/runtime"
)

func ptr[T any](v T) *T { return &v }

// plainMounter stands for a process that may not mount.
type plainMounter struct{}

func (plainMounter) Tmpfs(string, int64) error      { return ErrMountDenied }
func (plainMounter) Bind(string, string) error      { return ErrMountDenied }
func (plainMounter) Unmount(string) error           { return nil }
func (plainMounter) Under(string) ([]string, error) { return nil, nil }

type tokenFunc func(audience string, seconds int64) (string, time.Time, error)

func (f tokenFunc) Token(_ context.Context, _ *corev1.Pod, audience string, seconds int64) (string, time.Time, error) {
	return f(audience, seconds)
}

// bench is a manager with its objects, both running.
type bench struct {
	*Manager
	client *fake.Clientset
	root   string
}

func newBench(t *testing.T, change func(*Config), objects ...*corev1.ConfigMap) *bench {
	t.Helper()
	b := &bench{client: fake.NewClientset(), root: t.TempDir()}
	for _, cm := range objects {
		if err := b.client.Tracker().Add(cm); err != nil {
			t.Fatal(err)
		}
	}
	objs, err := NewObjects(ObjectsConfig{Client: b.client})
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config{Root: b.root, Objects: objs, Mounter: plainMounter{}}
	if change != nil {
		change(&cfg)
	}
	if b.Manager, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 2)
	go func() { done <- objs.Run(ctx) }()
	go func() { done <- b.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
	})
	return b
}

// podWith mounts each volume in one container, at /<name>.
func podWith(volumes ...corev1.Volume) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "pod", UID: "uid-1", Labels: map[string]string{"app": "web", "b": `x"y`}},
		Spec:       corev1.PodSpec{Volumes: volumes, Containers: []corev1.Container{{Name: "c"}}},
	}
	for _, v := range volumes {
		pod.Spec.Containers[0].VolumeMounts = append(pod.Spec.Containers[0].VolumeMounts, corev1.VolumeMount{Name: v.Name, MountPath: "/" + v.Name})
	}
	return pod
}

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name, ResourceVersion: "1"}, Data: data}
}

func configVolume(name, of string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: of},
	}}}
}

// files shows what a container sees: "mode path=content", links followed.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var out []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var walk func(path, show string)
	walk = func(path, show string) {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if info.IsDir() {
			below, _ := os.ReadDir(path)
			for _, e := range below {
				walk(filepath.Join(path, e.Name()), show+"/"+e.Name())
			}
			return
		}
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, info.Mode().String()+" "+show+"="+string(b))
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), "..") {
			walk(filepath.Join(dir, e.Name()), e.Name())
		}
	}
	sort.Strings(out)
	return out
}

func TestConfigMapFollowsItsObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, configMap("cm", map[string]string{"a": "1", "b": "2"}))
		pod := podWith(configVolume("v", "cm"))
		paths, err := b.SetUp(t.Context(), pod)
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(b.root, "pods/uid-1/volumes/kubernetes.io~configmap/v"); paths["v"] != want {
			t.Fatalf("path %s, want %s", paths["v"], want)
		}
		if diff := cmp.Diff([]string{"-rw-r--r-- a=1", "-rw-r--r-- b=2"}, files(t, paths["v"])); diff != "" {
			t.Error(diff)
		}
		before, _ := os.Readlink(filepath.Join(paths["v"], dataLink))
		if _, err := b.SetUp(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
		if again, _ := os.Readlink(filepath.Join(paths["v"], dataLink)); again != before {
			t.Error("written again although nothing changed")
		}

		cm := configMap("cm", map[string]string{"b": "3", "c": "4"})
		cm.ResourceVersion = "2"
		if _, err := b.client.CoreV1().ConfigMaps("ns").Update(t.Context(), cm, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"-rw-r--r-- b=3", "-rw-r--r-- c=4"}, files(t, paths["v"])); diff != "" {
			t.Error(diff)
		}
		if _, err := os.Stat(filepath.Join(paths["v"], before)); !os.IsNotExist(err) {
			t.Error("the old content is left over")
		}
		if err := b.TearDown(t.Context(), pod.UID); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(b.root, "pods", "uid-1")); !os.IsNotExist(err) {
			t.Error("the pod's directory is left over")
		}
		if err := b.TearDown(t.Context(), pod.UID); err != nil {
			t.Errorf("a second tear-down: %v", err)
		}
	})
}

func TestMissingObjects(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, configMap("there", map[string]string{"a": "1"}))
		optional := configVolume("optional", "absent")
		optional.ConfigMap.Optional = ptr(true)
		key := configVolume("key", "there")
		key.ConfigMap.Items = []corev1.KeyToPath{{Key: "nope", Path: "x"}}
		pod := podWith(configVolume("good", "there"), configVolume("bad", "absent"), key, optional,
			corev1.Volume{Name: "nfs", VolumeSource: corev1.VolumeSource{NFS: &corev1.NFSVolumeSource{}}},
			corev1.Volume{Name: "secret", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: "s"}}})
		paths, err := b.SetUp(t.Context(), pod)
		if err == nil {
			t.Fatal("no error")
		}
		want := []string{
			`MountVolume.SetUp failed for volume "bad" : configmap "absent" not found`,
			`MountVolume.SetUp failed for volume "key" : references non-existent config key: nope`,
			`MountVolume.SetUp failed for volume "nfs" : unsupported volume type: nfs`,
			`MountVolume.SetUp failed for volume "secret" : secret "s" not found`,
		}
		if diff := cmp.Diff(want, strings.Split(err.Error(), "\n")); diff != "" {
			t.Error(diff)
		}
		var one *SetUpError
		if !errors.As(err, &one) || one.Volume != "bad" {
			t.Errorf("error %v is no SetUpError", err)
		}
		if len(paths) != 2 || paths["good"] == "" || paths["optional"] == "" {
			t.Errorf("paths %v", paths)
		}
		// It comes into being: the optional volume follows, the other works when
		// it is tried again.
		if _, err := b.client.CoreV1().ConfigMaps("ns").Create(t.Context(), configMap("absent", map[string]string{"k": "v"}), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if diff := cmp.Diff([]string{"-rw-r--r-- k=v"}, files(t, paths["optional"])); diff != "" {
			t.Error(diff)
		}
	})
}

func TestItemsAndModes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, configMap("cm", map[string]string{"a": "1", "b": "2", "c": "3"}))
		v := configVolume("v", "cm")
		v.ConfigMap.DefaultMode = ptr(int32(0o600))
		v.ConfigMap.Items = []corev1.KeyToPath{{Key: "a", Path: "dir/sub/x"}, {Key: "b", Path: "dir/y", Mode: ptr(int32(0o400))}}
		paths, err := b.SetUp(t.Context(), podWith(v))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"-r-------- dir/y=2", "-rw------- dir/sub/x=1"}, files(t, paths["v"])); diff != "" {
			t.Error(diff)
		}
	})
}

func TestProjectedAndTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var minted atomic.Int32
		b := newBench(t, func(c *Config) {
			c.Tokens = tokenFunc(func(audience string, seconds int64) (string, time.Time, error) {
				return audience + strings.Repeat("!", int(minted.Add(1))), time.Now().Add(time.Duration(seconds) * time.Second), nil
			})
			c.Allocatable = func() corev1.ResourceList {
				return corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("4"), corev1.ResourceMemory: resource.MustParse("8Gi")}
			}
		}, configMap("cm", map[string]string{"ca.crt": "CA"}))
		v := corev1.Volume{Name: "v", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", Audience: "aud", ExpirationSeconds: ptr(int64(3600))}},
			{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: corev1.LocalObjectReference{Name: "cm"}}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{
				{Path: "labels", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels"}},
				{Path: "app", FieldRef: &corev1.ObjectFieldSelector{FieldPath: "metadata.labels['app']"}},
				{Path: "cpu", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.cpu", Divisor: resource.MustParse("1m")}},
				{Path: "memory", ResourceFieldRef: &corev1.ResourceFieldSelector{ContainerName: "c", Resource: "limits.memory", Divisor: resource.MustParse("1Mi")}},
			}}},
		}}}}
		pod := podWith(v)
		pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("500m")}
		paths, err := b.SetUp(t.Context(), pod)
		if err != nil {
			t.Fatal(err)
		}
		want := []string{
			"-rw-r--r-- app=web", "-rw-r--r-- ca.crt=CA", "-rw-r--r-- cpu=500",
			"-rw-r--r-- labels=app=\"web\"\nb=\"x\\\"y\"", "-rw-r--r-- memory=8192", "-rw-r--r-- token=aud!",
		}
		if diff := cmp.Diff(want, files(t, paths["v"])); diff != "" {
			t.Error(diff)
		}
		time.Sleep(30 * time.Minute)
		synctest.Wait()
		if minted.Load() != 1 {
			t.Errorf("%d tokens after half of the first one's life", minted.Load())
		}
		time.Sleep(20 * time.Minute)
		synctest.Wait()
		if got, _ := os.ReadFile(filepath.Join(paths["v"], "token")); string(got) != "aud!!" || minted.Load() != 2 {
			t.Errorf("token %s, %d minted", got, minted.Load())
		}
	})
}

func TestImmutableObjectsAreNotWatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cm := configMap("cm", map[string]string{"a": "1"})
		cm.Immutable = ptr(true)
		b := newBench(t, nil, cm)
		if _, err := b.SetUp(t.Context(), podWith(configVolume("v", "cm"))); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		for _, a := range b.client.Actions() {
			if a.GetVerb() == "watch" {
				t.Errorf("watched: %v", a)
			}
		}
	})
}

func TestOrphansOfAnEarlierProcess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, nil, configMap("cm", map[string]string{"a": "1"}))
		if _, err := b.SetUp(t.Context(), podWith(configVolume("v", "cm"))); err != nil {
			t.Fatal(err)
		}
		// A new manager knows nothing but the disk.
		later, err := New(Config{Root: b.root, Objects: b.cfg.Objects, Mounter: plainMounter{}})
		if err != nil {
			t.Fatal(err)
		}
		uids, err := later.PodsOnDisk()
		if err != nil || len(uids) != 1 || uids[0] != "uid-1" {
			t.Fatalf("pods %v, %v", uids, err)
		}
		// The same content is left in place.
		dir := filepath.Join(b.root, "pods/uid-1/volumes/kubernetes.io~configmap/v")
		before, _ := os.Readlink(filepath.Join(dir, dataLink))
		if _, err := later.SetUp(t.Context(), podWith(configVolume("v", "cm"))); err != nil {
			t.Fatal(err)
		}
		if after, _ := os.Readlink(filepath.Join(dir, dataLink)); after != before {
			t.Error("a restart rewrote what had not changed")
		}
	})
}

func TestHostPath(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		path string
		kind corev1.HostPathType
		want string
	}{
		{dir, corev1.HostPathDirectory, ""},
		{file, corev1.HostPathDirectory, "hostPath type check failed: " + file + " is not a directory"},
		{dir + "/no", corev1.HostPathDirectory, "hostPath type check failed: " + dir + "/no is not a directory"},
		{dir + "/new/dir", corev1.HostPathDirectoryOrCreate, ""},
		{file, corev1.HostPathDirectoryOrCreate, "hostPath type check failed: " + file + " is not a directory"},
		{file, corev1.HostPathFile, ""},
		{dir, corev1.HostPathFile, "hostPath type check failed: " + dir + " is not a file"},
		{dir + "/newfile", corev1.HostPathFileOrCreate, ""},
		{dir + "/newfile", corev1.HostPathFile, ""},
		{file, corev1.HostPathSocket, "hostPath type check failed: " + file + " is not a socket file"},
		{"/dev/null", corev1.HostPathCharDev, ""},
		{"/dev/null", corev1.HostPathBlockDev, "hostPath type check failed: /dev/null is not a block device"},
		{dir + "/unset", corev1.HostPathUnset, ""},
	} {
		got := ""
		if err := checkHostPath(tc.path, &tc.kind); err != nil {
			got = err.Error()
		}
		if got != tc.want {
			t.Errorf("%s as %q: got %q, want %q", tc.path, tc.kind, got, tc.want)
		}
	}
}

func TestMounts(t *testing.T) {
	mode := corev1.MountPropagationBidirectional
	enabled := corev1.RecursiveReadOnlyEnabled
	pod := podWith(configVolume("cm", "x"), corev1.Volume{Name: "data"})
	container := &corev1.Container{Name: "c", VolumeMounts: []corev1.VolumeMount{
		{Name: "cm", MountPath: "/etc/x"},
		{Name: "data", MountPath: "data", SubPathExpr: "logs/$(POD)-$$x", MountPropagation: &mode},
		{Name: "data", MountPath: "/ro", ReadOnly: true, RecursiveReadOnly: &enabled},
	}}
	got, err := Mounts(pod, container, map[string]string{"cm": "/v/cm", "data": "/v/data"}, []runtime.EnvVar{{Name: "POD", Value: "p"}})
	if err != nil {
		t.Fatal(err)
	}
	want := []ContainerMount{
		{Mount: runtime.Mount{HostPath: "/v/cm", ContainerPath: "/etc/x", ReadOnly: true}, Volume: "cm"},
		{Mount: runtime.Mount{HostPath: "/v/data", ContainerPath: "/data", Propagation: runtime.PropagationBidirectional}, Volume: "data", SubPath: "logs/p-$x", Index: 1},
		{Mount: runtime.Mount{HostPath: "/v/data", ContainerPath: "/ro", ReadOnly: true, RecursiveReadOnly: true}, Volume: "data", Index: 2},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for sub, message := range map[string]string{"a/../../b": "must not contain '..'", "/abs": "must not be an absolute path"} {
		container.VolumeMounts = []corev1.VolumeMount{{Name: "data", MountPath: "/d", SubPath: sub}}
		if _, err := Mounts(pod, container, map[string]string{"data": "/v"}, nil); err == nil || !strings.Contains(err.Error(), message) {
			t.Errorf("%s: %v", sub, err)
		}
	}
}

func TestMemoryVolumeSize(t *testing.T) {
	node := corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("8Gi")}
	pod := podWith()
	for _, tc := range []struct{ limit, container, want string }{
		{"", "", "8Gi"}, {"1Gi", "", "1Gi"}, {"", "2Gi", "2Gi"}, {"3Gi", "2Gi", "2Gi"}, {"16Gi", "", "8Gi"},
	} {
		var limit *resource.Quantity
		if tc.limit != "" {
			limit = ptr(resource.MustParse(tc.limit))
		}
		pod.Spec.Containers[0].Resources.Limits = nil
		if tc.container != "" {
			pod.Spec.Containers[0].Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(tc.container)}
		}
		want := resource.MustParse(tc.want)
		if got := memoryVolumeSize(pod, limit, node); got != want.Value() {
			t.Errorf("%+v: %d", tc, got)
		}
	}
}

func TestSimulateTouchesNoDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, func(c *Config) { c.Simulate = true; c.Root = "/nonexistent" }, configMap("cm", map[string]string{"a": "1"}))
		pod := podWith(configVolume("v", "cm"), corev1.Volume{Name: "e", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		if _, err := b.SetUp(t.Context(), pod); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat("/nonexistent"); !os.IsNotExist(err) {
			t.Error("it wrote to disk")
		}
		pod.Spec.Volumes[0].ConfigMap.Name = "absent"
		if _, err := b.SetUp(t.Context(), pod); err == nil {
			t.Error("a missing object was not noticed")
		}
		if err := b.TearDown(t.Context(), pod.UID); err != nil {
			t.Error(err)
		}
	})
}

func FuzzPayloadPath(f *testing.F) {
	for _, s := range []string{"a", "a/b", "..", "a/../b", "..data", "/a", "", ".", "./..x", "a//b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		dir := t.TempDir()
		inside := filepath.Join(dir, "in")
		if err := os.Mkdir(inside, 0o700); err != nil {
			t.Fatal(err)
		}
		_, err := writeAtomic(inside, Payload{name: {Data: []byte("x"), Mode: 0o600}}, time.Unix(0, 0), nil)
		entries, _ := os.ReadDir(dir)
		if len(entries) != 1 {
			t.Fatalf("%q left the volume: %v", name, entries)
		}
		if err == nil {
			if b, err := os.ReadFile(filepath.Join(inside, name)); err != nil || string(b) != "x" {
				t.Fatalf("%q: %q, %v", name, b, err)
			}
		}
	})
}

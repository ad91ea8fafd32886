package kubelet_test

import (
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/kubelet"
	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/fake"
)

// TestFiles: on a node with a directory, containers get their hosts file and the
// one for the termination message, whose content reaches the status, and a pod
// that is deleted leaves no file.
func TestFiles(t *testing.T) {
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex // guards mounts
		mounts := map[string]string{}
		behave := func(_ runtime.PodIdentity, c runtime.ContainerConfig) (fake.Behaviour, bool) {
			mu.Lock()
			defer mu.Unlock()
			for _, m := range c.Mounts {
				mounts[m.ContainerPath] = m.HostPath
			}
			if file := mounts[corev1.TerminationMessagePathDefault]; file != "" {
				if err := os.WriteFile(file, []byte("the reason"), 0o666); err != nil {
					t.Error(err)
				}
			}
			return fake.Behaviour{Ends: true, RunFor: 2 * time.Second, ExitCode: 4}, true
		}
		machine, err := fake.New(fake.Config{Behave: behave})
		if err != nil {
			t.Fatal(err)
		}
		n := start(t, newAPI(), machine, func(c *kubelet.Config) {
			c.RootDir, c.PodLogsDir = filepath.Join(root, "kubelet"), filepath.Join(root, "logs")
		})
		defer func() { n.stop() }()
		n.create(newPod("job", func(p *corev1.Pod) {
			p.Spec.RestartPolicy = corev1.RestartPolicyNever
			p.Spec.Containers[0].TerminationMessagePath = corev1.TerminationMessagePathDefault
		}))
		n.wait(time.Second)
		hosts, err := os.ReadFile(mounts["/etc/hosts"])
		if err != nil || !strings.Contains(string(hosts), n.pod("job").Status.PodIP+"\tjob\n") {
			t.Errorf("hosts file %q, %v", hosts, err)
		}
		n.wait(5 * time.Second)
		if s := n.pod("job").Status.ContainerStatuses[0].State.Terminated; s == nil || s.Message != "the reason" || s.ExitCode != 4 {
			t.Errorf("state %+v", s)
		}
		if err := n.client.CoreV1().Pods("default").Delete(t.Context(), "job", *deleteNow()); err != nil {
			t.Fatal(err)
		}
		n.wait(5 * time.Second)
		for _, dir := range []string{"kubelet/pods", "logs"} {
			if left, _ := os.ReadDir(filepath.Join(root, dir)); len(left) > 0 {
				t.Errorf("left in %s: %v", dir, left)
			}
		}
	})
}

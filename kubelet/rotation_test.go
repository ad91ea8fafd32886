package kubelet_test

import (
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/kubelet"
	"github.com/strake-io/strake/runtime/fake"
)

func TestLogsAreRotated(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		machine, err := fake.New(fake.Config{WriteLogs: true})
		if err != nil {
			t.Fatal(err)
		}
		n := start(t, newAPI(), machine, func(c *kubelet.Config) { c.PodLogsDir, c.ContainerLogMaxBytes = dir, 10 })
		defer n.stop()
		n.create(newPod("p", func(p *corev1.Pod) { p.Spec.Containers[0].Command = []string{"onterm"} }))
		rotated := func() []string {
			found, err := filepath.Glob(filepath.Join(dir, "default_p_uid-p", "*", "0.log.*"))
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		n.wait(5 * time.Second)
		if found := rotated(); len(found) != 0 {
			t.Errorf("rotated before anybody looked: %v", found)
		}
		n.wait(10 * time.Second)
		if found := rotated(); len(found) != 1 {
			t.Errorf("rotated logs %v, want one", found)
		}
	})
}

package kubelet_test

import (
	"fmt"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/strake-io/strake/runtime/fake"
)

// TestIdlePodsCostNoGoroutine: what one process can hold depends on it.
func TestIdlePodsCostNoGoroutine(t *testing.T) {
	bubble(t, fake.Config{}, func(n *node) {
		n.wait(time.Minute)
		before := goruntime.NumGoroutine()
		for i := range 60 {
			n.create(newPod(fmt.Sprintf("pod-%d", i), nil))
		}
		n.wait(time.Minute)
		for _, pod := range n.kubelet.Pods() {
			if pod.Status.Phase != "Running" {
				t.Fatalf("%s is %s", pod.Name, pod.Status.Phase)
			}
		}
		if after := goruntime.NumGoroutine(); after > before+5 {
			t.Errorf("%d goroutines with 60 pods, %d without", after, before)
		}
	})
}

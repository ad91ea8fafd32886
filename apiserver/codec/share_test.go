package codec

import (
	"bytes"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/strake-io/strake/apiserver/resource"
)

func known(c *Codec) int {
	_, n := c.shared.Size()
	return n
}

func TestSharedBytes(t *testing.T) {
	s := New(scheme.Scheme)
	one, two := []byte("abc"), append(make([]byte, 0, 100), "abc"...)
	first := s.shareBytes(one)
	if second := s.shareBytes(two); &first[0] != &second[0] || cap(second) != 3 {
		t.Error("equal pieces are not one")
	}
	if other := s.shareBytes([]byte("abd")); string(other) != "abd" || string(first) != "abc" {
		t.Errorf("%s and %s", other, first)
	}
	large := bytes.Repeat([]byte("x"), maxShared+1)
	if got := s.shareBytes(large); &got[0] != &large[0] || known(s) != 2 {
		t.Error("a large piece is kept")
	}
	if got := s.shareBytes(nil); got != nil {
		t.Error("nothing became something")
	}
	// All that it knows is bounded.
	for i := range 3 * maxSharedBytes / (2 * 1000) {
		s.shareBytes([]byte(fmt.Sprintf("%d%s", i, strings.Repeat("y", 1000))))
		if size, _ := s.shared.Size(); size > maxSharedBytes {
			t.Fatalf("%d bytes are known", size)
		}
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i := range 1000 {
				want := fmt.Sprint(i % 100)
				if got := s.shareBytes([]byte(want)); string(got) != want {
					t.Errorf("%s for %s", got, want)
				}
			}
		})
	}
	all.Wait()
}

// replica is a pod as a server stores it, of about 3.8 KB in JSON.
func replica(i int) *corev1.Pod {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{
		Name: fmt.Sprintf("web-%d", i), Namespace: "default", Labels: map[string]string{"app": "web"},
		ManagedFields: []metav1.ManagedFieldsEntry{{
			Manager: "kube-controller-manager", Operation: metav1.ManagedFieldsOperationUpdate, APIVersion: "v1", FieldsType: "FieldsV1",
			FieldsV1: &metav1.FieldsV1{Raw: []byte(`{"f:metadata":{"f:labels":{".":{},"f:app":{}}},"f:spec":{` + strings.Repeat(`"f:field":{},`, 100) + `"f:last":{}}}`)},
		}},
	}}
	container := corev1.Container{Name: "main", Image: "registry.example.com/web:v1"}
	for n := range 10 {
		container.Env = append(container.Env, corev1.EnvVar{Name: fmt.Sprintf("VARIABLE_%d", n), Value: fmt.Sprintf("the value of variable %d", n)})
	}
	pod.Spec.Containers = []corev1.Container{container}
	return pod
}

// BenchmarkReplicas decodes pods of one template from the store and says what each
// takes in memory; x-apart is that against pods that share nothing.
func BenchmarkReplicas(b *testing.B) {
	storage := New(scheme.Scheme).Storage(&resource.Resource{GVK: corev1.SchemeGroupVersion.WithKind("Pod"), New: newPod})
	const n = 5000
	stored := make([][]byte, n)
	for i := range stored {
		var err error
		if stored[i], err = storage.Encode(replica(i)); err != nil {
			b.Fatal(err)
		}
	}
	each := func(apart bool) float64 {
		var before, after runtime.MemStats
		pods := make([]*corev1.Pod, n)
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i, data := range stored {
			obj, err := storage.Decode(data)
			if err != nil {
				b.Fatal(err)
			}
			pods[i] = obj.(*corev1.Pod)
			if apart {
				pods[i] = pods[i].DeepCopy()
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		runtime.KeepAlive(pods)
		return float64(after.HeapAlloc-before.HeapAlloc) / n
	}
	var shared, apart float64
	for b.Loop() {
		shared, apart = each(false), each(true)
	}
	b.ReportMetric(shared, "B/pod")
	b.ReportMetric(shared/apart, "x-apart")
}

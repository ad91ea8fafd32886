package apiserver_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
	"k8s.io/client-go/kubernetes"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"
)

// podVerbs are what a client does to a running pod, the i-th time.
var podVerbs = []struct {
	name string
	do   func(b *testing.B, pods typedcorev1.PodInterface, i int) error
}{
	{"get", func(b *testing.B, pods typedcorev1.PodInterface, _ int) error {
		_, err := pods.Get(b.Context(), "p", metav1.GetOptions{})
		return err
	}},
	{"merge patch", func(b *testing.B, pods typedcorev1.PodInterface, i int) error {
		return patched(pods.Patch(b.Context(), "p", types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, i), metav1.PatchOptions{}))
	}},
	{"strategic patch", func(b *testing.B, pods typedcorev1.PodInterface, i int) error {
		return patched(pods.Patch(b.Context(), "p", types.StrategicMergePatchType, fmt.Appendf(nil, `{"metadata":{"annotations":{"n":"%d"}}}`, i), metav1.PatchOptions{}))
	}},
	{"apply", func(b *testing.B, pods typedcorev1.PodInterface, i int) error {
		pod := applycorev1.Pod("p", "default").WithAnnotations(map[string]string{"n": fmt.Sprint(i)})
		return patched(pods.Apply(b.Context(), pod, metav1.ApplyOptions{FieldManager: "bench", Force: true}))
	}},
	{"apply of the same", func(b *testing.B, pods typedcorev1.PodInterface, _ int) error {
		pod := applycorev1.Pod("p", "default").WithAnnotations(map[string]string{"n": "1"})
		return patched(pods.Apply(b.Context(), pod, metav1.ApplyOptions{FieldManager: "bench", Force: true}))
	}},
}

func patched(_ *corev1.Pod, err error) error { return err }

// BenchmarkPodVerbs takes each of the verbs through a typed client: in process, and
// over HTTP as JSON and protobuf. x-bare is the time in those of an HTTP server that
// only answers with the pod's bytes, to the same client in the same run.
func BenchmarkPodVerbs(b *testing.B) {
	for _, verb := range podVerbs {
		b.Run(verb.name+"/in process", func(b *testing.B) {
			_, c := benchServer(b)
			runningPod(b, c, "p")
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if err := verb.do(b, c.CoreV1().Pods("default"), i); err != nil {
					b.Fatal(err)
				}
			}
		})
		for _, media := range []string{"json", "vnd.kubernetes.protobuf"} {
			b.Run(verb.name+"/http "+media, func(b *testing.B) {
				inside, url := benchHTTP(b)
				runningPod(b, inside, "p")
				c := over(b, url, media)
				bare := over(b, bareServer(b, url, media), media)
				b.ReportAllocs()
				begun := time.Now()
				for i := 0; b.Loop(); i++ {
					if err := verb.do(b, c.CoreV1().Pods("default"), i); err != nil {
						b.Fatal(err)
					}
				}
				each := time.Since(begun) / time.Duration(b.N)
				b.StopTimer()
				n := min(b.N, 2000)
				begun = time.Now()
				for i := range n {
					if err := verb.do(b, bare.CoreV1().Pods("default"), i); err != nil {
						b.Fatal(err)
					}
				}
				b.ReportMetric(float64(each)/float64(time.Since(begun)/time.Duration(n)), "x-bare")
			})
		}
	}
}

func over(b *testing.B, url, media string) kubernetes.Interface {
	media = "application/" + media
	c, err := kubernetes.NewForConfig(&rest.Config{Host: url, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: media, AcceptContentTypes: media}})
	if err != nil {
		b.Fatal(err)
	}
	return c
}

// bareServer serves the bytes of one pod, whatever is asked.
func bareServer(b *testing.B, from, media string) string {
	r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, from+"/api/v1/namespaces/default/pods/p", nil)
	if err != nil {
		b.Fatal(err)
	}
	r.Header.Set("Accept", "application/"+media)
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		b.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil || !bytes.Contains(data, []byte("containerd://0")) {
		b.Fatalf("%s %v", data, err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/"+media)
		_, _ = w.Write(data)
	}))
	b.Cleanup(server.Close)
	return server.URL
}

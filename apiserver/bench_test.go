package apiserver_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources"
)

func builtIn(b *testing.B) []*resource.Resource {
	all, err := resources.BuiltIn(resources.Config{})
	if err != nil {
		b.Fatal(err)
	}
	return all
}

// benchServer serves the real resources, with the namespace default.
func benchServer(b *testing.B) (*apiserver.Server, kubernetes.Interface) {
	s := start(b, func(c *apiserver.Config) { c.Resources = builtIn(b) })
	return s, clientWithNamespace(b, s)
}

// runningPod is a pod as it is when its containers run.
func runningPod(b *testing.B, c kubernetes.Interface, name string) *corev1.Pod {
	made, err := c.CoreV1().Pods("default").Create(b.Context(), pod(name), metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	now := metav1.Now()
	made.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: "10.0.0.1", PodIPs: []corev1.PodIP{{IP: "10.0.0.1"}}, HostIP: "10.0.1.1", StartTime: &now}
	for _, t := range []corev1.PodConditionType{corev1.PodScheduled, corev1.PodInitialized, corev1.ContainersReady, corev1.PodReady} {
		made.Status.Conditions = append(made.Status.Conditions, corev1.PodCondition{Type: t, Status: corev1.ConditionTrue, LastTransitionTime: now})
	}
	made.Status.ContainerStatuses = []corev1.ContainerStatus{{
		Name: "c", Image: "i", ImageID: "i@sha256:0", ContainerID: "containerd://0", Ready: true,
		State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: now}},
	}}
	if made, err = c.CoreV1().Pods("default").UpdateStatus(b.Context(), made, metav1.UpdateOptions{}); err != nil {
		b.Fatal(err)
	}
	return made
}

// BenchmarkRenewLease is what every node does every ten seconds.
func BenchmarkRenewLease(b *testing.B) {
	_, c := benchServer(b)
	holder, seconds := "node", int32(40)
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Name: "node"}, Spec: coordinationv1.LeaseSpec{HolderIdentity: &holder, LeaseDurationSeconds: &seconds}}
	lease, err := c.CoordinationV1().Leases("default").Create(b.Context(), lease, metav1.CreateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	at := time.Now()
	b.ReportAllocs()
	for b.Loop() {
		at = at.Add(time.Second)
		lease.Spec.RenewTime = &metav1.MicroTime{Time: at}
		if lease, err = c.CoordinationV1().Leases("default").Update(b.Context(), lease, metav1.UpdateOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkUpdatePodStatus changes a condition back and forth.
func BenchmarkUpdatePodStatus(b *testing.B) {
	_, c := benchServer(b)
	p := runningPod(b, c, "p")
	b.ReportAllocs()
	var err error
	for i := 0; b.Loop(); i++ {
		ready := &p.Status.Conditions[3]
		ready.Status = []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionTrue}[i%2]
		ready.LastTransitionTime = metav1.NewTime(ready.LastTransitionTime.Add(time.Second))
		if p, err = c.CoreV1().Pods("default").UpdateStatus(b.Context(), p, metav1.UpdateOptions{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCreatePod(b *testing.B) {
	create := func(b *testing.B, c kubernetes.Interface) {
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			if _, err := c.CoreV1().Pods("default").Create(b.Context(), pod(fmt.Sprintf("p%d", i)), metav1.CreateOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("in process", func(b *testing.B) {
		_, c := benchServer(b)
		create(b, c)
	})
	for _, media := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		b.Run("http "+media[len("application/"):], func(b *testing.B) {
			_, url := benchHTTP(b)
			c, err := kubernetes.NewForConfig(&rest.Config{Host: url, QPS: -1, ContentConfig: rest.ContentConfig{ContentType: media, AcceptContentTypes: media}})
			if err != nil {
				b.Fatal(err)
			}
			create(b, c)
		})
	}
}

// benchHTTP serves over HTTP, everyone as the administrator.
func benchHTTP(b *testing.B) (kubernetes.Interface, string) {
	s := start(b, func(c *apiserver.Config) {
		c.Resources = builtIn(b)
		c.Authenticator = authenticator.RequestFunc(func(*http.Request) (*authenticator.Response, bool, error) {
			return &authenticator.Response{User: admin}, true, nil
		})
	})
	c := clientWithNamespace(b, s)
	server := httptest.NewServer(s)
	b.Cleanup(server.Close)
	return c, server.URL
}

// BenchmarkReads compares the reads with a copy of the bytes they answer.
func BenchmarkReads(b *testing.B) {
	c, url := benchHTTP(b)
	const pods = 10000
	for i := range pods {
		runningPod(b, c, fmt.Sprintf("p%d", i))
	}
	for _, media := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		for _, path := range []string{"/api/v1/pods?resourceVersion=0", "/api/v1/namespaces/default/pods/p77"} {
			b.Run(path+" "+media[len("application/"):], func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					r, err := http.NewRequestWithContext(b.Context(), http.MethodGet, url+path, nil)
					if err != nil {
						b.Fatal(err)
					}
					r.Header.Set("Accept", media)
					r.Header.Set("Accept-Encoding", "identity")
					response, err := http.DefaultClient.Do(r)
					if err != nil {
						b.Fatal(err)
					}
					n, err := io.Copy(io.Discard, response.Body)
					if err != nil || response.StatusCode != http.StatusOK {
						b.Fatal(response.Status, err)
					}
					_ = response.Body.Close()
					b.SetBytes(n)
				}
			})
		}
	}
}

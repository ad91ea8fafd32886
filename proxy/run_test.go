package proxy

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
)

// recorder keeps what it was told to apply.
type recorder struct {
	mu      sync.Mutex // guards all below
	updates []Update
	fail    int // that many times
}

func (r *recorder) seen() []Update {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.updates)
}

func (r *recorder) Apply(_ context.Context, u Update) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail > 0 {
		r.fail--
		return errors.New("the kernel said no")
	}
	r.updates = append(r.updates, u)
	return nil
}

func (r *recorder) Cleanup(context.Context) error { return nil }

func named(name string, ip string) *corev1.Service {
	svc := service(func(svc *corev1.Service) { svc.Spec.ClusterIP, svc.Spec.ClusterIPs = ip, []string{ip} })
	svc.Namespace, svc.Name = "default", name
	return svc
}

func sliceOf(svc string, eps ...discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	s := slice(8080, eps...)
	s.Namespace, s.Name = "default", svc+"-1"
	s.Labels = map[string]string{discoveryv1.LabelServiceName: svc}
	return s
}

func TestRunFollowsTheAPI(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := fake.NewClientset(named("a", "10.96.0.1"), named("b", "10.96.0.2"), sliceOf("a", ep("10.0.0.1", "ready", "n")))
		factory := informers.NewSharedInformerFactory(client, 0)
		r := &recorder{fail: 2}
		p, err := New(Config{Informers: factory, Proxier: r, NodeName: "n"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		factory.Start(ctx.Done())
		go func() { done <- p.Run(ctx) }()

		<-p.Ready()
		synctest.Wait()
		if got := r.seen(); len(got) != 1 || !got[0].Full || len(got[0].Services) != 2 {
			t.Fatalf("first: %+v, want one full update with both services, after the failures", got)
		}

		// A burst about one service is one update that names only it.
		for i := range 5 {
			s := sliceOf("b", ep("10.0.0.2", "ready", "n"))
			s.Endpoints = append(s.Endpoints, ep("10.0.0.3", []string{"ready", "down"}[i%2], "n"))
			if i == 0 {
				_, err = client.DiscoveryV1().EndpointSlices("default").Create(ctx, s, metav1.CreateOptions{})
			} else {
				_, err = client.DiscoveryV1().EndpointSlices("default").Update(ctx, s, metav1.UpdateOptions{})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second)
		all := r.seen()
		last := all[len(all)-1]
		b := types.NamespacedName{Namespace: "default", Name: "b"}
		if keys := slices.Collect(maps.Keys(last.Services)); last.Full || len(keys) != 1 || keys[0] != b {
			t.Fatalf("update names %v (full %v), want only b", keys, last.Full)
		}
		if got := last.Services[b][0].Internal.Endpoints; len(got) != 2 {
			t.Errorf("endpoints of b: %v, want two", got)
		}
		if n := len(all); n > 3 {
			t.Errorf("%d updates for one burst", n-1)
		}

		// A slice that moves to another service concerns both.
		moved := sliceOf("b", ep("10.0.0.4", "ready", "n"))
		moved.Labels[discoveryv1.LabelServiceName] = "a"
		if _, err := client.DiscoveryV1().EndpointSlices("default").Update(ctx, moved, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		all = r.seen()
		last = all[len(all)-1]
		a := types.NamespacedName{Namespace: "default", Name: "a"}
		if len(last.Services) != 2 || len(last.Services[a][0].Internal.Endpoints) != 2 || len(last.Services[b][0].Internal.Endpoints) != 0 {
			t.Errorf("after a slice moved from b to a: %+v", last)
		}

		if err := client.CoreV1().Services("default").Delete(ctx, "a", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		all = r.seen()
		last = all[len(all)-1]
		if ports, told := last.Services[types.NamespacedName{Namespace: "default", Name: "a"}]; !told || len(ports) != 0 {
			t.Errorf("after the deletion: %+v, want a with no ports", last)
		}

		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		factory.Shutdown()
	})
}

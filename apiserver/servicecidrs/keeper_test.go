package servicecidrs

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/apiserver/allocator"
	"github.com/strake-io/strake/store/memory"
)

// server reads through a client, and can break its watches off.
type server struct {
	client *fake.Clientset
	mu     sync.Mutex // guards open
	open   []watch.Interface
	lists  atomic.Int32
}

func (s *server) ListerWatcher(schema.GroupResource, string) (cache.ListerWatcherWithContext, error) {
	cidrs := s.client.NetworkingV1().ServiceCIDRs()
	return cache.ToListerWatcherWithContext(&cache.ListWatch{
		ListWithContextFunc: func(ctx context.Context, opts metav1.ListOptions) (runtime.Object, error) {
			if s.lists.Add(1)%2 == 0 {
				return nil, errors.New("no list today")
			}
			return cidrs.List(ctx, opts)
		},
		WatchFuncWithContext: func(ctx context.Context, opts metav1.ListOptions) (watch.Interface, error) {
			w, err := cidrs.Watch(ctx, opts)
			if err != nil {
				return nil, err
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			s.open = append(s.open, w)
			return w, nil
		},
	}), nil
}

func (s *server) breakOff() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.open {
		w.Stop()
	}
	s.open = nil
}

// The default ServiceCIDR comes though the first tries fail, and what changes while a
// watch is broken off is seen all the same.
func TestKeeper(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := memory.New(memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		pool, err := allocator.NewAddresses(allocator.AddressConfig{Store: s, CIDR: netip.MustParsePrefix("10.0.0.9/28")})
		if err != nil {
			t.Fatal(err)
		}
		client := fake.NewClientset()
		refused := 0
		client.PrependReactor("create", "servicecidrs", func(clienttesting.Action) (bool, runtime.Object, error) {
			if refused == 3 {
				return false, nil, nil
			}
			refused++
			return true, nil, errors.New("not yet")
		})
		api := &server{client: client}
		k, err := New(Config{Server: api, Client: client, Addresses: []*allocator.Addresses{pool}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := k.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		defer wg.Wait()
		defer cancel()
		begun := time.Now()
		synctest.Wait()
		wants := func(text string, want error) {
			t.Helper()
			synctest.Wait()
			if err := pool.Allocate(ctx, allocator.Owner{}, netip.MustParseAddr(text), true); !errors.Is(err, want) {
				t.Errorf("%s: %v, want %v", text, err, want)
			}
		}
		wants("10.0.0.1", allocator.ErrOtherNetwork) // there is no range yet
		<-k.Ready()
		if took := time.Since(begun); took != 3*startInterval {
			t.Errorf("ready after %s", took)
		}
		wants("10.0.0.1", nil)
		cidrs := client.NetworkingV1().ServiceCIDRs()
		made, err := cidrs.Get(ctx, Default, metav1.GetOptions{})
		if err != nil || len(made.Spec.CIDRs) != 1 || made.Spec.CIDRs[0] != "10.0.0.0/28" || len(made.Status.Conditions) != 1 || made.Status.Conditions[0].Status != metav1.ConditionTrue {
			t.Fatalf("%+v, %v", made, err)
		}

		more := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "more"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.1.0.0/28"}}}
		more, err = cidrs.Create(ctx, more, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		wants("10.1.0.1", nil)
		more.Status.Conditions = []metav1.Condition{{Type: networkingv1.ServiceCIDRConditionReady, Status: metav1.ConditionFalse}}
		if _, err := cidrs.UpdateStatus(ctx, more, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		wants("10.1.0.1", allocator.ErrOtherNetwork)
		wants("10.0.0.1", nil)

		api.breakOff()
		if err := errors.Join(cidrs.Delete(ctx, Default, metav1.DeleteOptions{}), cidrs.Delete(ctx, "more", metav1.DeleteOptions{})); err != nil {
			t.Fatal(err)
		}
		if _, err := cidrs.Create(ctx, &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: "other"}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: []string{"10.2.0.0/28"}}}, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(interval)
		wants("10.1.0.1", allocator.ErrOtherNetwork)
		wants("10.2.0.1", nil)
		wants("10.0.0.1", nil)
		if _, err := cidrs.Get(ctx, Default, metav1.GetOptions{}); err != nil {
			t.Errorf("the default one was not made again: %v", err)
		}
	})
}

func TestNewWantsAll(t *testing.T) {
	if _, err := New(Config{Client: fake.NewClientset()}); err == nil {
		t.Error("a keeper without a server")
	}
}

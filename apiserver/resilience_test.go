package apiserver_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/store/memory"
)

// Patches and unconditional updates of many writers must all get through, and none
// may be lost.
func TestManyWriters(t *testing.T) {
	c := clientWithNamespace(t, start(t)).CoreV1().ConfigMaps("default")
	if _, err := c.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}}, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for i := range 16 {
		wait.Go(func() {
			for j := range 8 {
				key := string(rune('a'+i)) + string(rune('a'+j))
				if _, err := c.Patch(t.Context(), "m", types.MergePatchType, []byte(`{"data":{"`+key+`":"x"}}`), metav1.PatchOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	got, err := c.Get(t.Context(), "m", metav1.GetOptions{})
	if err != nil || len(got.Data) != 16*8 {
		t.Errorf("%d of %d patches are there, %v", len(got.Data), 16*8, err)
	}
}

// A client in the process that does not end its watch does not keep the server
// from ending, and nothing is left over: a bubble fails on a goroutine that is.
func TestRunEndsWithOpenWatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, err := memory.New(memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		s, err := apiserver.New(apiserver.Config{Store: st, Resources: testResources()})
		if err != nil {
			t.Fatal(err)
		}
		c, err := kubernetes.NewForConfig(s.RESTConfig(admin))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		early := make(chan error)
		go func() {
			_, err := c.CoreV1().Pods("").List(ctx, metav1.ListOptions{})
			early <- err
		}()
		synctest.Wait()
		go func() { done <- s.Run(ctx) }()
		if err := <-early; err != nil {
			t.Errorf("a request before Run: %v", err)
		}
		w, err := c.CoreV1().Pods("").Watch(context.Background(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour / 4)
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		for range w.ResultChan() {
		}
		if _, err := c.CoreV1().Pods("").List(context.Background(), metav1.ListOptions{}); !errors.Is(err, apiserver.ErrStopped) {
			t.Errorf("after Run: %v", err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
}

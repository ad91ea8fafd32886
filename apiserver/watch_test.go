package apiserver_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/informers"
	clientcache "k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/apiserver"
)

func next(t *testing.T, w watch.Interface) (watch.EventType, string) {
	t.Helper()
	ev, ok := <-w.ResultChan()
	if !ok {
		t.Fatal("the watch ended")
	}
	if status, ok := ev.Object.(*metav1.Status); ok {
		return ev.Type, string(status.Reason)
	}
	return ev.Type, ev.Object.(metav1.ObjectMetaAccessor).GetObjectMeta().GetName()
}

func expect(t *testing.T, w watch.Interface, kind watch.EventType, name string) {
	t.Helper()
	if k, n := next(t, w); k != kind || n != name {
		t.Errorf("got %s %q, want %s %q", k, n, kind, name)
	}
}

func TestWatch(t *testing.T) {
	_, c := withPods(t, 1)
	pods := c.CoreV1().Pods("default")
	list, err := pods.List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := pods.Watch(t.Context(), metav1.ListOptions{ResourceVersion: list.ResourceVersion})
	if err != nil {
		t.Fatal(err)
	}
	defer all.Stop()
	red, err := pods.Watch(t.Context(), metav1.ListOptions{LabelSelector: "color=red"})
	if err != nil {
		t.Fatal(err)
	}
	defer red.Stop()
	p := pod("q")
	if p, err = pods.Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.Labels["color"] = "red"
	if p, err = pods.Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	p.Labels["color"] = "blue"
	if p, err = pods.Update(t.Context(), p, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	if err = pods.Delete(t.Context(), "q", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	expect(t, all, watch.Added, "q")
	expect(t, all, watch.Modified, "q")
	expect(t, all, watch.Modified, "q")
	expect(t, all, watch.Deleted, "q")
	expect(t, red, watch.Added, "q")
	ev := <-red.ResultChan()
	if got := ev.Object.(*corev1.Pod); ev.Type != watch.Deleted || got.Labels["color"] != "red" || got.ResourceVersion != p.ResourceVersion {
		t.Errorf("leaving the selection: %s %+v, want the last state at revision %s", ev.Type, got.ObjectMeta, p.ResourceVersion)
	}
	// Without a version: what is there, then what comes.
	fresh, err := pods.Watch(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer fresh.Stop()
	expect(t, fresh, watch.Added, "p00")
}

func TestWatchTooOld(t *testing.T) {
	_, c := withPods(t, 20, func(c *apiserver.Config) { c.History = 4 })
	// A consistent read: the cache has seen all of it then, and forgotten the start.
	if _, err := c.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
	w, err := c.CoreV1().Pods("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: "2"})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	expect(t, w, watch.Error, "Expired")
}

func TestWatchInitialEvents(t *testing.T) {
	_, c := withPods(t, 2)
	yes := true
	w, err := c.CoreV1().Pods("default").Watch(t.Context(), metav1.ListOptions{
		SendInitialEvents: &yes, AllowWatchBookmarks: true, ResourceVersionMatch: metav1.ResourceVersionMatchNotOlderThan,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	expect(t, w, watch.Added, "p00")
	expect(t, w, watch.Added, "p01")
	ev := <-w.ResultChan()
	if p := ev.Object.(*corev1.Pod); ev.Type != watch.Bookmark || p.Annotations[metav1.InitialEventsAnnotationKey] != "true" || p.ResourceVersion == "" {
		t.Errorf("end of the initial events: %s %+v", ev.Type, p.ObjectMeta)
	}
}

func TestWatchOfTables(t *testing.T) {
	s, c := withPods(t, 1)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, _ := http.NewRequestWithContext(ctx, "GET", "http://x/api/v1/namespaces/default/pods?watch=true", nil)
	r.Header.Set("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io")
	response, err := s.RESTConfig(admin).Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	decoder := json.NewDecoder(response.Body)
	event := func() (kind string, table metav1.Table) {
		var ev struct {
			Type   string
			Object metav1.Table
		}
		if err := decoder.Decode(&ev); err != nil {
			t.Fatal(err)
		}
		return ev.Type, ev.Object
	}
	if kind, table := event(); kind != "ADDED" || table.Kind != "Table" || len(table.ColumnDefinitions) != 2 || len(table.Rows) != 1 {
		t.Errorf("first: %s %+v", kind, table)
	}
	if _, err := c.CoreV1().Pods("default").Create(t.Context(), pod("q"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if kind, table := event(); kind != "ADDED" || len(table.ColumnDefinitions) != 0 || table.Rows[0].Cells[0] != "q" {
		t.Errorf("second: %s %+v", kind, table)
	}
}

// A day of an idle watch passes in a moment: bookmarks come every minute, and the
// watch ends between half an hour and an hour.
func TestBookmarksAndTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, c := withPods(t, 1)
		began := time.Now()
		for time.Since(began) < 24*time.Hour {
			opened := time.Now()
			w, err := c.CoreV1().Pods("default").Watch(t.Context(), metav1.ListOptions{ResourceVersion: "2", AllowWatchBookmarks: true})
			if err != nil {
				t.Fatal(err)
			}
			expect(t, w, watch.Added, "p00")
			bookmarks := 0
			for ev := range w.ResultChan() {
				if ev.Type != watch.Bookmark || ev.Object.(*corev1.Pod).ResourceVersion == "" {
					t.Fatalf("got %s %v", ev.Type, ev.Object)
				}
				bookmarks++
			}
			w.Stop()
			lasted := time.Since(opened)
			if lasted < 30*time.Minute || lasted > time.Hour || bookmarks < 29 {
				t.Errorf("a watch lasted %v with %d bookmarks", lasted, bookmarks)
			}
		}
	})
}

func TestInformersShareTheCache(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := withPods(t, 3)
		direct := s.Informers(c, 0)
		again := s.Informers(c, 0)
		remote := informers.NewSharedInformerFactory(c, 0)
		ctx, cancel := context.WithCancel(t.Context())
		var seen []string
		lister := direct.Core().V1().Pods().Lister()
		_, err := direct.Core().V1().Pods().Informer().AddEventHandler(clientcache.ResourceEventHandlerFuncs{
			AddFunc: func(obj any) { seen = append(seen, obj.(*corev1.Pod).Name) },
		})
		if err != nil {
			t.Fatal(err)
		}
		other := again.Core().V1().Pods().Lister()
		generic, err := direct.ForResource(corev1.SchemeGroupVersion.WithResource("configmaps"))
		if err != nil {
			t.Fatal(err)
		}
		_ = generic.Informer()
		overHTTP := remote.Core().V1().Pods().Lister()
		for _, f := range []informers.SharedInformerFactory{direct, again, remote} {
			f.Start(ctx.Done())
			f.WaitForCacheSync(ctx.Done())
		}
		if _, err := c.CoreV1().Pods("default").Create(ctx, pod("late"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if strings.Join(seen, " ") != "p00 p01 p02 late" {
			t.Errorf("seen: %v", seen)
		}
		a, err := lister.Pods("default").Get("late")
		if err != nil {
			t.Fatal(err)
		}
		b, err := other.Pods("default").Get("late")
		if err != nil || a != b {
			t.Errorf("two informers hold %p and %p: not one object (%v)", a, b, err)
		}
		if d, err := overHTTP.Pods("default").Get("late"); err != nil || d == a || d.UID != a.UID {
			t.Errorf("over HTTP: %v", err)
		}
		cancel()
		for _, f := range []informers.SharedInformerFactory{direct, again, remote} {
			f.Shutdown()
		}
	})
}

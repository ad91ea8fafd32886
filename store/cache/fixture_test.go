package cache

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/memory"
)

// thing is the object of the tests: a value of comma-separated words, with the
// revision that it says it has.
type thing struct {
	kv       store.KV
	revision int64
}

func (t *thing) GetObjectKind() schema.ObjectKind { return schema.EmptyObjectKind }
func (t *thing) DeepCopyObject() runtime.Object   { panic("the cache copied an object") }

func decode(kv store.KV) (runtime.Object, error) {
	switch string(kv.Value) {
	case "bad":
		return nil, fmt.Errorf("a bad value")
	case "panic":
		panic("a value that panics")
	}
	return &thing{kv: kv, revision: kv.ModRevision}, nil
}

func withRevision(obj runtime.Object, revision int64) runtime.Object {
	t := *obj.(*thing)
	t.revision = revision
	return &t
}

func words(obj runtime.Object) []string {
	return strings.Split(string(obj.(*thing).kv.Value), ",")
}

func things(prefix string) ResourceConfig {
	return ResourceConfig{Prefix: prefix, Decode: decode, WithRevision: withRevision,
		Indexes: map[string]func(runtime.Object) []string{"word": words}}
}

// fixture is a running cache over a memory store, with one resource.
type fixture struct {
	testing.TB
	store *memory.Store
	cache *Cache
	pods  *Resource
	stop  func()
}

const pods = "/registry/pods/"

func start(t testing.TB, cfg Config) *fixture {
	t.Helper()
	s, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	f := &fixture{TB: t, store: s}
	if cfg.Store == nil {
		cfg.Store = s
	}
	if f.cache, err = New(cfg); err != nil {
		t.Fatal(err)
	}
	if f.pods, err = f.cache.Add(things(pods)); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.cache.Run(ctx) }()
	var once sync.Once
	f.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(f.stop)
	return f
}

func (f *fixture) put(key, value string) int64 {
	f.Helper()
	revision, err := f.store.Put(f.Context(), store.Put{Key: key, Value: []byte(value), If: store.Any})
	if err != nil {
		f.Fatal(err)
	}
	return revision
}

func (f *fixture) delete(key string) int64 {
	f.Helper()
	revision, err := f.store.Delete(f.Context(), key, store.Any)
	if err != nil {
		f.Fatal(err)
	}
	return revision
}

func (f *fixture) snapshot(at At) *Snapshot {
	f.Helper()
	s, err := f.pods.Snapshot(f.Context(), at)
	if err != nil {
		f.Fatal(err)
	}
	return s
}

func (f *fixture) watch(opts WatchOptions) *Watcher {
	f.Helper()
	w, err := f.pods.Watch(f.Context(), opts)
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(w.Stop)
	return w
}

// next collects n events.
func (f *fixture) next(w *Watcher, n int) []Event {
	f.Helper()
	var events []Event
	for len(events) < n {
		batch, err := w.Next(f.Context())
		if err != nil {
			f.Fatalf("Next after %d of %d events: %v", len(events), n, err)
		}
		events = append(events, batch.Events...)
	}
	return events
}

// story renders events as "ADDED a@5=x", with the revision of the object.
func story(events []Event) []string {
	lines := []string{}
	for _, ev := range events {
		t := ev.Entry.Object.(*thing)
		lines = append(lines, fmt.Sprintf("%s %s@%d=%s", ev.Type, strings.TrimPrefix(ev.Entry.Key, pods), t.revision, t.kv.Value))
	}
	return lines
}

// content renders a snapshot as "a@5=x" lines.
func content(s *Snapshot) []string {
	lines := []string{}
	s.Ascend("", "", func(e *Entry) bool {
		lines = append(lines, fmt.Sprintf("%s@%d=%s", strings.TrimPrefix(e.Key, pods), e.Revision, e.Object.(*thing).kv.Value))
		return true
	})
	return lines
}

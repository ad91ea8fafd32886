package cache

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/strake-io/strake/store"
)

func same(t testing.TB, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

func TestEventsTellTheStory(t *testing.T) {
	f := start(t, Config{})
	r1 := f.put(pods+"ns/a", "x")
	s, w, err := f.pods.SnapshotAndWatch(t.Context(), Latest, WatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	same(t, "the snapshot", []string{fmt.Sprintf("ns/a@%d=x", r1)}, content(s))
	r2 := f.put(pods+"ns/b", "y")
	r3 := f.put(pods+"ns/a", "z")
	r4 := f.delete(pods + "ns/a")
	events := f.next(w, 3)
	// A deletion carries the last state with the revision of the deletion.
	same(t, "events", []string{
		fmt.Sprintf("ADDED ns/b@%d=y", r2), fmt.Sprintf("MODIFIED ns/a@%d=z", r3), fmt.Sprintf("DELETED ns/a@%d=z", r4),
	}, story(events))
	if events[1].Old != s.Get(pods+"ns/a") {
		t.Error("Old is not the very entry of the snapshot")
	}
	left := events[1].Left()
	if left != events[1].Left() || left.Object.(*thing).revision != r3 || string(left.Object.(*thing).kv.Value) != "x" {
		t.Errorf("the entry that left: %+v", left)
	}
	if events[2].Left() != events[2].Entry || events[0].Left() != nil {
		t.Error("Left of a deletion, or of an addition, is wrong")
	}
	same(t, "the snapshot, later", []string{fmt.Sprintf("ns/a@%d=x", r1)}, content(s))
}

// TestAgainstModel makes random writes and compares every revision, index and
// watch with what a list of the store says.
func TestAgainstModel(t *testing.T) {
	f := start(t, Config{})
	rnd := rand.New(rand.NewPCG(1, 2))
	interests := []Interest{{}, {Prefix: pods + "ns0/"}, {Key: pods + "ns1/k3"}, {Index: "word", Value: "w1"}}
	first := f.snapshot(Latest)
	var watchers []*Watcher
	for _, interest := range interests {
		watchers = append(watchers, f.watch(WatchOptions{After: first.Revision(), Interest: interest}))
	}
	var revisions []int64
	for range 300 {
		key := fmt.Sprintf("%sns%d/k%d", pods, rnd.IntN(2), rnd.IntN(6))
		revision, err := f.store.Delete(t.Context(), key, store.Any)
		if rnd.IntN(4) > 0 || err != nil {
			revision = f.put(key, fmt.Sprintf("w%d,w%d", rnd.IntN(3), rnd.IntN(3)))
		}
		revisions = append(revisions, revision)
	}
	last := revisions[len(revisions)-1]
	f.snapshot(NotOlderThan(last))

	for _, revision := range revisions {
		list, err := f.store.List(t.Context(), pods, store.ListOptions{Revision: revision})
		if err != nil {
			t.Fatal(err)
		}
		want := []string{}
		byWord := map[string][]string{}
		for _, kv := range list.KVs {
			want = append(want, fmt.Sprintf("%s@%d=%s", strings.TrimPrefix(kv.Key, pods), kv.ModRevision, kv.Value))
			for i, w := range strings.Split(string(kv.Value), ",") {
				if i == 0 || !strings.HasPrefix(string(kv.Value), w+",") {
					byWord[w] = append(byWord[w], kv.Key)
				}
			}
		}
		s := f.snapshot(Exactly(revision))
		same(t, fmt.Sprintf("the snapshot at %d", revision), want, content(s))
		if s.Revision() != revision || s.Len() != len(want) {
			t.Fatalf("a snapshot at %d says %d and has %d entries of %d", revision, s.Revision(), s.Len(), len(want))
		}
		for _, w := range []string{"w0", "w1", "w2"} {
			var keys []string
			s.Index("word", w, "", func(e *Entry) bool { keys = append(keys, e.Key); return true })
			same(t, fmt.Sprintf("index %s at %d", w, revision), byWord[w], keys)
		}
	}

	// Each watch is the whole story, filtered.
	everything := f.watch(WatchOptions{After: first.Revision()})
	all := f.next(everything, 1)
	for all[len(all)-1].Revision < last {
		all = append(all, f.next(everything, 1)...)
	}
	for i, interest := range interests {
		var want, got []Event
		for _, ev := range all {
			if interest.wants(f.pods, &ev) {
				want = append(want, ev)
			}
		}
		got = f.next(watchers[i], len(want))
		same(t, fmt.Sprintf("a live watch of %+v", interest), story(want), story(got))
		got = f.next(f.watch(WatchOptions{After: first.Revision(), Interest: interest}), len(want))
		same(t, fmt.Sprintf("a watch of %+v from the history", interest), story(want), story(got))
	}
}

func TestAscend(t *testing.T) {
	f := start(t, Config{})
	for _, key := range []string{"a/1", "a/2", "a/3", "b/1", "a-/1"} {
		f.put(pods+key, "x,y")
	}
	s := f.snapshot(Latest)
	for _, c := range []struct {
		prefix, after string
		want          []string
	}{
		{"", "", []string{"a-/1", "a/1", "a/2", "a/3", "b/1"}},
		{pods + "a/", "", []string{"a/1", "a/2", "a/3"}},
		{pods + "a/", pods + "a/1", []string{"a/2", "a/3"}},
		{pods + "a/", pods + "a/1x", []string{"a/2", "a/3"}},
		{pods + "a/", pods + "a-/1", []string{"a/1", "a/2", "a/3"}},
		{pods + "a/", pods + "b/1", nil},
		{"", pods + "a/3", []string{"b/1"}},
		{pods + "c/", "", nil},
	} {
		var got []string
		s.Ascend(c.prefix, c.after, func(e *Entry) bool { got = append(got, strings.TrimPrefix(e.Key, pods)); return true })
		same(t, fmt.Sprintf("under %q after %q", c.prefix, c.after), c.want, got)
		if n := s.Count(c.prefix, c.after); n != len(c.want) {
			t.Errorf("count under %q after %q: %d", c.prefix, c.after, n)
		}
	}
	var got []string
	s.Index("word", "y", pods+"a/2", func(e *Entry) bool { got = append(got, strings.TrimPrefix(e.Key, pods)); return len(got) < 1 })
	same(t, "the index after a/2, one", []string{"a/3"}, got)
	if s.Index("none", "", "", nil) {
		t.Error("an index that does not exist")
	}
}

func TestEncodingIsMadeOnce(t *testing.T) {
	e := &Entry{}
	var made atomic.Int64
	release := make(chan struct{})
	var group sync.WaitGroup
	results := make([][]byte, 16)
	for i := range results {
		group.Go(func() {
			results[i], _ = e.Encoding(fmt.Sprintf("media%d", i%2), func() ([]byte, error) {
				made.Add(1)
				<-release
				return fmt.Appendf(nil, "%d", i%2), nil
			})
		})
	}
	close(release)
	group.Wait()
	if made.Load() != 2 {
		t.Errorf("made %d times, want 2", made.Load())
	}
	for i, data := range results {
		if &data[0] != &results[i%2][0] {
			t.Errorf("reader %d has bytes of its own", i)
		}
	}
	// A failure is not remembered.
	if _, err := e.Encoding("other", func() ([]byte, error) { return nil, errors.New("no") }); err == nil {
		t.Error("the failure is lost")
	}
	if data, err := e.Encoding("other", func() ([]byte, error) { return []byte("yes"), nil }); err != nil || string(data) != "yes" {
		t.Errorf("after a failure: %s, %v", data, err)
	}
}

func TestUndecodableIsKeptOut(t *testing.T) {
	reg := prometheus.NewRegistry()
	f := start(t, Config{Registerer: reg})
	f.put(pods+"bad", "bad")
	w := f.watch(WatchOptions{After: f.snapshot(Latest).Revision()})
	r1 := f.put(pods+"a", "x")
	r2 := f.put(pods+"a", "panic")
	f.put(pods+"a", "bad")
	r3 := f.put(pods+"a", "y")
	f.put(pods+"bad", "panic")
	f.delete(pods + "bad")
	r4 := f.put(pods+"bad", "good")
	same(t, "events", []string{
		fmt.Sprintf("ADDED a@%d=x", r1), fmt.Sprintf("DELETED a@%d=x", r2),
		fmt.Sprintf("ADDED a@%d=y", r3), fmt.Sprintf("ADDED bad@%d=good", r4),
	}, story(f.next(w, 4)))
	if n := counted(t, reg, "strake_cache_decode_errors_total"); n < 3 {
		t.Errorf("%v decode errors were counted", n)
	}
}

// counted sums a counter over its labels.
func counted(t *testing.T, reg *prometheus.Registry, name string) (sum float64) {
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() == name {
			for _, m := range family.GetMetric() {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}

func TestAddAndRemoveWhileRunning(t *testing.T) {
	f := start(t, Config{WatcherBacklog: 1 << 20, History: 1 << 20})
	<-f.cache.Ready()
	const prefix = "/registry/example.com/things/"
	// Writes go on before, while and after the resource is added.
	var group sync.WaitGroup
	stop := make(chan struct{})
	group.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				// No faster than the cache follows.
				revision := f.put(fmt.Sprintf("%sk%d", prefix, i%10), fmt.Sprint(i))
				if err := f.cache.waitFor(t.Context(), revision); err != nil {
					return
				}
			}
		}
	})
	for range 20 {
		r, err := f.cache.Add(things(prefix))
		if err != nil {
			t.Fatal(err)
		}
		s, w, err := r.SnapshotAndWatch(t.Context(), Latest, WatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
		events := f.next(w, 100)
		// Nothing is missing and nothing comes twice: applied to the
		// snapshot, the events make the state.
		state := map[string]int64{}
		s.Ascend("", "", func(e *Entry) bool { state[e.Key] = e.Revision; return true })
		for i, ev := range events {
			if ev.Revision <= s.Revision() || i > 0 && ev.Revision != events[i-1].Revision+1 {
				t.Fatalf("event %d has revision %d after a snapshot at %d", i, ev.Revision, s.Revision())
			}
			state[ev.Entry.Key] = ev.Revision
		}
		list, err := f.store.List(t.Context(), prefix, store.ListOptions{Revision: events[len(events)-1].Revision})
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]int64{}
		for _, kv := range list.KVs {
			want[kv.Key] = kv.ModRevision
		}
		same(t, "the state", want, state)

		if _, err := f.cache.Add(things(prefix + "sub/")); err == nil {
			t.Fatal("an overlapping prefix was added")
		}
		if !f.cache.Remove(prefix) || f.cache.Remove(prefix) {
			t.Fatal("Remove does not say whether there was one")
		}
		for err = nil; err == nil; _, err = w.Next(t.Context()) {
		}
		if !errors.Is(err, ErrClosed) {
			t.Errorf("the watcher of a removed resource: %v", err)
		}
		if _, err := r.Snapshot(t.Context(), Any); !errors.Is(err, ErrClosed) {
			t.Errorf("a snapshot of a removed resource: %v", err)
		}
	}
	close(stop)
	group.Wait()
}

func TestInvalid(t *testing.T) {
	if _, err := New(Config{}); err == nil {
		t.Error("a cache without a store")
	}
	f := start(t, Config{})
	for _, cfg := range []ResourceConfig{{Prefix: "/registry/x/"}, {Prefix: "/registry/", Decode: decode}, {Prefix: "/x/", Decode: decode}, {Prefix: "/registry/x", Decode: decode}, things(pods)} {
		if _, err := f.cache.Add(cfg); err == nil {
			t.Errorf("Add took %+v", cfg)
		}
	}
	f.snapshot(Latest)
	for _, interest := range []Interest{{Prefix: "/registry/"}, {Prefix: pods + "a"}, {Key: "a", Index: "word"}, {Value: "x"}, {Index: "none", Value: "x"}} {
		if _, err := f.pods.Watch(t.Context(), WatchOptions{Interest: interest}); err == nil {
			t.Errorf("Watch took %+v", interest)
		}
	}
}

func TestIndexNeedsNoOrder(t *testing.T) {
	// An object may have a value twice, and share values before and after.
	f := start(t, Config{})
	f.put(pods+"a", "x,x,y")
	f.put(pods+"a", "y,z,z")
	s := f.snapshot(Latest)
	var got []string
	for _, v := range []string{"x", "y", "z"} {
		s.Index("word", v, "", func(e *Entry) bool { got = append(got, v); return true })
	}
	if !slices.Equal(got, []string{"y", "z"}) {
		t.Errorf("values found: %v", got)
	}
}

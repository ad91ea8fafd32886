package cache

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// fill makes the cache hold n objects of a pod's size.
func fill(b *testing.B, n int) *fixture {
	f := start(b, Config{})
	value := string(make([]byte, 2600))
	for i := range n {
		f.put(fmt.Sprintf("%sns%d/pod-%05d", pods, i%10, i), value)
	}
	f.snapshot(Latest)
	return f
}

// BenchmarkList writes 10,000 ready encodings of 3.4 kB into a buffer; the ratio
// is against copying the same bytes in one piece.
func BenchmarkList(b *testing.B) {
	f := fill(b, 10_000)
	encoded := make([]byte, 3400)
	encode := func() ([]byte, error) { return append([]byte(nil), encoded...), nil }
	whole := make([]byte, 10_000*len(encoded))
	out := make([]byte, 0, len(whole))
	list := func() {
		out = out[:0]
		f.snapshot(Latest).Ascend("", "", func(e *Entry) bool {
			data, _ := e.Encoding("application/json", encode)
			out = append(out, data...)
			return true
		})
	}
	list() // the first one encodes
	b.SetBytes(int64(len(whole)))
	var listing, copying time.Duration
	for b.Loop() {
		begun := time.Now()
		list()
		listing += time.Since(begun)
		begun = time.Now()
		out = append(out[:0], whole...)
		copying += time.Since(begun)
	}
	b.ReportMetric(float64(listing)/float64(copying), "x-copy")
	b.ReportMetric(float64(listing.Microseconds())/float64(b.N)/1000, "ms/list")
}

// BenchmarkSnapshot is one consistent read of one object.
func BenchmarkSnapshot(b *testing.B) {
	f := fill(b, 10_000)
	for b.Loop() {
		if f.snapshot(Latest).Get(pods+"ns0/pod-00000") == nil {
			b.Fatal("the pod is not there")
		}
	}
}

// BenchmarkPublish is one write as the cache sees it, beside 10,000 objects.
func BenchmarkPublish(b *testing.B) {
	f := fill(b, 10_000)
	value := string(make([]byte, 2600))
	for i := 0; b.Loop(); i++ {
		revision := f.put(fmt.Sprintf("%sns%d/pod-%05d", pods, i%10, i%10_000), value)
		if err := f.cache.waitFor(b.Context(), revision); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "writes/s")
}

// BenchmarkFanOut delivers writes to watchers of the whole collection.
func BenchmarkFanOut(b *testing.B) {
	for _, watchers := range []int{1, 500, 5000} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			f := fill(b, 1000)
			after := f.snapshot(Latest).Revision()
			const round = 100
			var group sync.WaitGroup
			b.ResetTimer()
			rounds := make([]chan struct{}, watchers)
			var delivered sync.WaitGroup
			for i := range watchers {
				w := f.watch(WatchOptions{After: after})
				rounds[i] = make(chan struct{}, 1)
				group.Go(func() {
					for range rounds[i] {
						f.next(w, round)
						delivered.Done()
					}
				})
			}
			for b.Loop() {
				delivered.Add(watchers)
				for _, r := range rounds {
					r <- struct{}{}
				}
				for i := range round {
					revision := f.put(fmt.Sprintf("%sns0/pod-%05d", pods, i), "x")
					if err := f.cache.waitFor(b.Context(), revision); err != nil {
						b.Fatal(err)
					}
				}
				delivered.Wait()
			}
			for _, r := range rounds {
				close(r)
			}
			group.Wait()
			b.ReportMetric(float64(b.N*round*watchers)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

// BenchmarkSelectiveFanOut delivers each write to the one watcher of many that wants
// it: what the others cost must not grow with their number. x-few is the time of a
// write against that with ten watchers, measured in the same run.
func BenchmarkSelectiveFanOut(b *testing.B) {
	var few float64
	for _, watchers := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprintf("watchers=%d", watchers), func(b *testing.B) {
			f := fill(b, 1000)
			after := f.snapshot(Latest).Revision()
			all := make([]*Watcher, watchers)
			var idle sync.WaitGroup
			ctx, cancel := context.WithCancel(b.Context())
			for i := range all {
				all[i] = f.watch(WatchOptions{After: after, Interest: Interest{Index: "word", Value: fmt.Sprintf("node-%d", i)}})
				if i >= 10 {
					// As a kubelet's: it waits for an event of its own.
					idle.Go(func() { _, _ = all[i].Next(ctx) })
				}
			}
			b.ResetTimer()
			for i := 0; b.Loop(); i++ {
				f.put(fmt.Sprintf("%sns0/pod-%05d", pods, i%1000), fmt.Sprintf("node-%d", i%10))
				f.next(all[i%10], 1)
			}
			b.StopTimer()
			perWrite := float64(b.Elapsed()) / float64(b.N)
			if watchers == 10 {
				few = perWrite
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
			b.ReportMetric(perWrite/few, "x-few")
			cancel()
			idle.Wait()
		})
	}
}

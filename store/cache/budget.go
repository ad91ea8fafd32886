package cache

import (
	"sync"
	"weak"

	"github.com/prometheus/client_golang/prometheus"
)

// budget bounds what the encodings of all entries of a cache take together: beyond it
// those that were made first are dropped, and made again by whoever asks. Encodings of
// entries that were replaced do not count: they live as long as the history, which has a
// bound of its own, and as the readers that hold them.
type budget struct {
	limit int64 // bytes; 0: none
	gauge prometheus.Gauge

	mu    sync.Mutex
	total int64
	// made are the encodings in the order in which they were made, from first on. They
	// are held weakly: an entry that nobody has any more takes its encodings along.
	made  []weak.Pointer[encoding]
	first int
	live  int // of made, those that count
}

// minQueue is how many encodings that do not count may stand in the queue at least.
const minQueue = 1024

// add counts an encoding that was made for an entry, and drops others for it.
func (b *budget) add(e *Entry, enc *encoding, size int) {
	if b == nil || b.limit <= 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if e.replaced {
		return
	}
	enc.counted = int64(size)
	b.total += enc.counted
	b.live++
	b.made = append(b.made, weak.Make(enc))
	for b.total > b.limit && b.first < len(b.made)-1 {
		oldest := b.made[b.first].Value()
		b.made[b.first] = weak.Pointer[encoding]{}
		b.first++
		if oldest != nil && oldest.counted > 0 {
			b.discount(oldest)
			oldest.data.Store(nil)
		}
	}
	b.tidy()
	b.gauge.Set(float64(b.total))
}

// replace stops counting what an entry has: another is in its place.
func (b *budget) replace(e *Entry) {
	if b == nil || b.limit <= 0 || e == nil {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	e.replaced = true
	for enc := e.encodings.Load(); enc != nil; enc = enc.next {
		if enc.counted > 0 {
			b.discount(enc)
		}
	}
}

func (b *budget) discount(enc *encoding) {
	b.total -= enc.counted
	enc.counted = 0
	b.live--
}

// tidy takes those that do not count out of the queue, once they are most of it.
func (b *budget) tidy() {
	if len(b.made)-b.first <= 2*b.live+minQueue && b.first <= len(b.made)/2+minQueue {
		return
	}
	kept := make([]weak.Pointer[encoding], 0, b.live)
	for _, p := range b.made[b.first:] {
		if enc := p.Value(); enc != nil && enc.counted > 0 {
			kept = append(kept, p)
		}
	}
	b.made, b.first = kept, 0
}

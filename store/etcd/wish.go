package etcd

import "sync/atomic"

// wish is a request for progress that has not been granted. Progress makes it
// from anywhere, Next grants it.
type wish struct {
	revision atomic.Int64 // 0: none
	made     chan struct{}
}

func newWish() wish { return wish{made: make(chan struct{}, 1)} }

// make asks for a batch that reaches the revision; of several wishes the
// greatest stands.
func (w *wish) make(revision int64) {
	for {
		old := w.revision.Load()
		if old >= revision || w.revision.CompareAndSwap(old, revision) {
			break
		}
	}
	select {
	case w.made <- struct{}{}:
	default:
	}
}

// pending says that there is a wish beyond what was delivered.
func (w *wish) pending(delivered int64) bool { return w.revision.Load() > delivered }

// grant says that what was delivered satisfies a wish, and forgets the wish.
func (w *wish) grant(delivered int64) bool {
	revision := w.revision.Load()
	return revision != 0 && revision <= delivered && w.revision.CompareAndSwap(revision, 0)
}

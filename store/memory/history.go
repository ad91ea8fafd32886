package memory

import (
	"sort"

	"github.com/strake-io/strake/store"
)

// checkpointEvery is how many writes lie between two kept roots: a read at a
// past revision takes back at most so many from the root after it.
const checkpointEvery = 256

// history is what is remembered of the past: a log of single writes, one per
// revision without a gap, and roots of the tree here and there.
type history struct {
	bound int
	// log holds the writes from revision compacted on. Forks and batches share
	// its backing array: it is appended to, cut off in front, never changed.
	log         []change
	checkpoints []checkpoint // ascending
	// compacted is the oldest revision that can be read; 0 means all.
	compacted int64
}

type change struct {
	event  store.Event
	before *record // what the key held; nil for nothing
}

type checkpoint struct {
	revision int64
	tree     *tree
}

func (h *history) fork() history {
	f := *h
	f.log = h.log[:len(h.log):len(h.log)]
	// Copying a tree marks it, so forks, which share no lock, share no tree.
	f.checkpoints = make([]checkpoint, len(h.checkpoints))
	for i, c := range h.checkpoints {
		f.checkpoints[i] = checkpoint{c.revision, c.tree.Copy()}
	}
	return f
}

// add remembers a write after which the tree is now.
func (h *history) add(c change, now *tree) {
	h.log = append(h.log, c)
	revision := c.event.KV.ModRevision
	if revision%checkpointEvery == 0 {
		h.checkpoints = append(h.checkpoints, checkpoint{revision, now.Copy()})
	}
	if cut := len(h.log) - h.bound; cut > 0 {
		h.compact(h.log[cut-1].event.KV.ModRevision + 1)
	}
}

// compact forgets what was before a revision.
func (h *history) compact(revision int64) {
	if revision <= h.compacted {
		return
	}
	h.compacted = revision
	h.log = h.log[h.find(revision):]
	i := sort.Search(len(h.checkpoints), func(i int) bool { return h.checkpoints[i].revision >= revision })
	h.checkpoints = h.checkpoints[i:]
}

// find is the place in the log of the first write from a revision on.
func (h *history) find(revision int64) int {
	if len(h.log) == 0 {
		return 0
	}
	i := revision - h.log[0].event.KV.ModRevision
	return int(min(max(i, 0), int64(len(h.log))))
}

// past reconstructs the tree as it was at a revision that is not compacted.
// present is the tree now, which the caller lets it copy.
func (h *history) past(revision int64, present *tree) *tree {
	from := len(h.log)
	i := sort.Search(len(h.checkpoints), func(i int) bool { return h.checkpoints[i].revision >= revision })
	if i < len(h.checkpoints) {
		present = h.checkpoints[i].tree
		from = h.find(h.checkpoints[i].revision + 1)
	}
	t := present.Copy()
	for i := from - 1; i >= h.find(revision+1); i-- {
		c := &h.log[i]
		if c.before == nil {
			t.Delete(c.event.KV.Key)
		} else {
			t.Set(c.event.KV.Key, c.before)
		}
	}
	return t
}

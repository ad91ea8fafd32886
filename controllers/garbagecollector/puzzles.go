package garbagecollector

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// puzzles are objects that could not be decided about, because nobody served the
// kind that their references name: they are looked at again as soon as the served
// kinds have been discovered anew. There are no more of them than nodes in the graph.
type puzzles struct {
	mu  sync.Mutex // guards set
	set map[types.UID]struct{}
}

func (p *puzzles) add(uid types.UID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.set == nil {
		p.set = map[types.UID]struct{}{}
	}
	p.set[uid] = struct{}{}
}

// take returns them all, and forgets them.
func (p *puzzles) take() []types.UID {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := make([]types.UID, 0, len(p.set))
	for uid := range p.set {
		out = append(out, uid)
	}
	p.set = nil
	return out
}

package proxy

import (
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// dirty is the set of services to compute anew. Informers mark, the one loop
// takes.
type dirty struct {
	// some has a token while anything is marked.
	some chan struct{}

	mu    sync.Mutex // guards names and all
	names map[types.NamespacedName]struct{}
	all   bool
}

func newDirty() *dirty {
	return &dirty{some: make(chan struct{}, 1), names: map[types.NamespacedName]struct{}{}}
}

func (d *dirty) mark(name types.NamespacedName) {
	if name.Name == "" {
		return
	}
	d.mu.Lock()
	d.names[name] = struct{}{}
	d.mu.Unlock()
	d.signal()
}

func (d *dirty) markAll() {
	d.mu.Lock()
	d.all = true
	d.mu.Unlock()
	d.signal()
}

func (d *dirty) signal() {
	select {
	case d.some <- struct{}{}:
	default:
	}
}

// take empties the set.
func (d *dirty) take() (names map[types.NamespacedName]struct{}, all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	names, all = d.names, d.all
	d.names, d.all = map[types.NamespacedName]struct{}{}, false
	return names, all
}

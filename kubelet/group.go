package kubelet

import "sync"

// group joins goroutines that timers and callbacks may still want to start while
// the owner is stopping: after Wait began, none starts.
type group struct {
	wg     sync.WaitGroup
	mu     sync.Mutex // guards closed, and Go against Wait
	closed bool
}

// Go starts f and says whether it did.
func (g *group) Go(f func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.wg.Go(f)
	return true
}

// Wait lets nothing start any more and waits for what runs.
func (g *group) Wait() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.wg.Wait()
}

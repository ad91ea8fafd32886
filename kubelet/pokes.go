package kubelet

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// pokes are pods to be looked at. Anybody may add one at any time, without
// waiting; each is there once.
type pokes struct {
	signal chan struct{}

	mu      sync.Mutex // guards what follows
	waiting map[types.UID]bool
	order   []types.UID
}

func newPokes() *pokes {
	return &pokes{signal: make(chan struct{}, 1), waiting: map[types.UID]bool{}}
}

func (p *pokes) add(uid types.UID) {
	p.mu.Lock()
	if !p.waiting[uid] {
		p.waiting[uid] = true
		p.order = append(p.order, uid)
	}
	p.mu.Unlock()
	select {
	case p.signal <- struct{}{}:
	default:
	}
}

func (p *pokes) take() []types.UID {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := p.order
	p.order = nil
	clear(p.waiting)
	return out
}

// poke has a pod looked at soon.
func (k *Kubelet) poke(uid types.UID) { k.pokes.add(uid) }

// dispatch starts the workers of poked pods until ctx ends.
func (k *Kubelet) dispatch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.pokes.signal:
		}
		for _, uid := range k.pokes.take() {
			k.mu.Lock()
			w := k.pods[uid]
			k.mu.Unlock()
			if w != nil && ctx.Err() == nil {
				k.wake(ctx, w)
			}
		}
	}
}

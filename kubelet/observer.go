package kubelet

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/kubelet/containerspec"
	"github.com/strake-io/strake/runtime"
)

// observer keeps what the runtime reports, by pod. Workers tell it what they did
// themselves, events say what to read again, and now and then everything is
// listed.
type observer struct {
	runtime runtime.Runtime
	// changed is called, without the lock, for each pod of which something
	// changed.
	changed func(types.UID)

	mu   sync.Mutex // guards what follows
	tick uint64     // counts updates, so that a list knows what is newer than it
	pods map[types.UID]*observed
	// lost is what was seen of removed IDs, until the next list has passed.
	lost map[string]uint64
}

type observed struct {
	sandboxes  map[string]seenSandbox
	containers map[string]seenContainer
}

type seenSandbox struct {
	runtime.Sandbox
	at uint64
}

type seenContainer struct {
	runtime.Container
	at uint64
}

func newObserver(r runtime.Runtime, changed func(types.UID)) *observer {
	return &observer{runtime: r, changed: changed, pods: map[types.UID]*observed{}, lost: map[string]uint64{}}
}

func (o *observer) pod(uid types.UID) *observed {
	p := o.pods[uid]
	if p == nil {
		p = &observed{sandboxes: map[string]seenSandbox{}, containers: map[string]seenContainer{}}
		o.pods[uid] = p
	}
	return p
}

// get returns what is known of a pod; the slices are the caller's.
func (o *observer) get(uid types.UID) (boxes []runtime.Sandbox, containers []runtime.Container) {
	o.mu.Lock()
	defer o.mu.Unlock()
	p := o.pods[uid]
	if p == nil {
		return nil, nil
	}
	for _, b := range p.sandboxes {
		boxes = append(boxes, b.Sandbox)
	}
	for _, c := range p.containers {
		containers = append(containers, c.Container)
	}
	return boxes, containers
}

// uids lists the pods that have anything in the runtime.
func (o *observer) uids() []types.UID {
	o.mu.Lock()
	defer o.mu.Unlock()
	out := make([]types.UID, 0, len(o.pods))
	for uid := range o.pods {
		out = append(out, uid)
	}
	return out
}

func sandboxUID(b *runtime.Sandbox) types.UID {
	if b.Pod.UID != "" {
		return types.UID(b.Pod.UID)
	}
	return types.UID(b.Labels[containerspec.LabelPodUID])
}

// setSandbox takes a reading that began at tick.
func (o *observer) setSandbox(b runtime.Sandbox, tick uint64) bool {
	uid := sandboxUID(&b)
	if uid == "" || o.lost[b.ID] > tick {
		return false
	}
	p := o.pod(uid)
	old, known := p.sandboxes[b.ID]
	if known && old.at > tick {
		return false
	}
	// Nothing goes back: a reading that was overtaken is recognised by its state.
	if known && old.State == runtime.SandboxNotReady {
		b.State = runtime.SandboxNotReady
	}
	o.tick++
	p.sandboxes[b.ID] = seenSandbox{b, o.tick}
	return !known || old.State != b.State || len(old.IPs) != len(b.IPs)
}

func (o *observer) setContainer(c runtime.Container, tick uint64) bool {
	uid := types.UID(c.Labels[containerspec.LabelPodUID])
	if uid == "" || o.lost[c.ID] > tick {
		return false
	}
	p := o.pod(uid)
	old, known := p.containers[c.ID]
	if known && (old.at > tick || old.State > c.State && c.State != runtime.ContainerUnknown) {
		return false
	}
	o.tick++
	p.containers[c.ID] = seenContainer{c, o.tick}
	return !known || old.State != c.State
}

func (o *observer) now() uint64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.tick
}

// readSandbox reads one again.
func (o *observer) readSandbox(ctx context.Context, id string) error {
	tick := o.now()
	b, err := o.runtime.Sandbox(ctx, id)
	if errors.Is(err, runtime.ErrNotFound) {
		o.drop(id)
		return nil
	}
	if err != nil {
		return err
	}
	o.mu.Lock()
	changed := o.setSandbox(*b, tick)
	o.mu.Unlock()
	if changed {
		o.changed(sandboxUID(b))
	}
	return nil
}

// readContainer reads one again.
func (o *observer) readContainer(ctx context.Context, id string) error {
	tick := o.now()
	c, err := o.runtime.Container(ctx, id)
	if errors.Is(err, runtime.ErrNotFound) {
		o.drop(id)
		return nil
	}
	if err != nil {
		return err
	}
	o.mu.Lock()
	changed := o.setContainer(*c, tick)
	o.mu.Unlock()
	if changed {
		o.changed(types.UID(c.Labels[containerspec.LabelPodUID]))
	}
	return nil
}

// drop forgets a sandbox, with its containers, or a container.
func (o *observer) drop(id string) {
	o.mu.Lock()
	var touched types.UID
	o.tick++
	o.lost[id] = o.tick
	for uid, p := range o.pods {
		if _, ok := p.sandboxes[id]; ok {
			touched = uid
			delete(p.sandboxes, id)
			for cid, c := range p.containers {
				if c.SandboxID == id {
					o.lost[cid] = o.tick
					delete(p.containers, cid)
				}
			}
		}
		if _, ok := p.containers[id]; ok {
			touched = uid
			delete(p.containers, id)
		}
		if touched == uid && len(p.sandboxes)+len(p.containers) == 0 {
			delete(o.pods, uid)
		}
		if touched == uid {
			break
		}
	}
	o.mu.Unlock()
	if touched != "" {
		o.changed(touched)
	}
}

// relist reads everything.
func (o *observer) relist(ctx context.Context) error {
	tick := o.now()
	boxes, err := o.runtime.ListSandboxes(ctx)
	if err != nil {
		return err
	}
	containers, err := o.runtime.ListContainers(ctx)
	if err != nil {
		return err
	}
	changed := map[types.UID]bool{}
	present := make(map[string]bool, len(boxes)+len(containers))
	o.mu.Lock()
	for _, b := range boxes {
		present[b.ID] = true
		if o.setSandbox(b, tick) {
			changed[sandboxUID(&b)] = true
		}
	}
	for _, c := range containers {
		present[c.ID] = true
		if o.setContainer(c, tick) {
			changed[types.UID(c.Labels[containerspec.LabelPodUID])] = true
		}
	}
	for uid, p := range o.pods {
		for id, b := range p.sandboxes {
			if !present[id] && b.at <= tick {
				delete(p.sandboxes, id)
				changed[uid] = true
			}
		}
		for id, c := range p.containers {
			if !present[id] && c.at <= tick {
				delete(p.containers, id)
				changed[uid] = true
			}
		}
		if len(p.sandboxes)+len(p.containers) == 0 {
			delete(o.pods, uid)
		}
	}
	for id, at := range o.lost {
		if at <= tick {
			delete(o.lost, id)
		}
	}
	o.mu.Unlock()
	for uid := range changed {
		o.changed(uid)
	}
	return nil
}

// run follows the runtime until ctx ends. after is called when a full list was
// taken, with its outcome.
func (o *observer) run(ctx context.Context, period time.Duration, after func(error)) {
	var events <-chan runtime.Event
	source, hasEvents := o.runtime.(runtime.EventSource)
	if !hasEvents {
		period = time.Second
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if hasEvents && events == nil {
			// A nil channel after an error just never delivers; the list below
			// stands in until the next try.
			events, _ = source.Events(ctx)
		}
		select {
		case <-ctx.Done():
			return
		case e, ok := <-events:
			if !ok {
				events = nil
				continue
			}
			if e.ContainerID != "" {
				_ = o.readContainer(ctx, e.ContainerID)
			} else if e.SandboxID != "" {
				_ = o.readSandbox(ctx, e.SandboxID)
			}
		case <-timer.C:
			err := o.relist(ctx)
			next := period
			if err != nil || hasEvents && events == nil {
				next = time.Second
			}
			timer.Reset(next)
			if ctx.Err() == nil {
				after(err)
			}
		}
	}
}

package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/strake-io/strake/internal/eventrecorder"
	"github.com/strake-io/strake/scheduler/framework"
)

const (
	// maxBatch is how many pods a worker takes at once where the bind plugin can
	// use that.
	maxBatch = 64
	// rereads is how often the pod is looked up after an answer that leaves open
	// whether it was bound.
	rereads     = 3
	rereadDelay = 500 * time.Millisecond
)

// bindResult is how a binding ended. The zero value is success.
type bindResult struct {
	plugin string
	step   string
	status *framework.Status
	// gone says that the pod is no more, or no more ours to place.
	gone bool
}

func (r bindResult) ok() bool { return r.status.IsSuccess() && !r.gone }

func (r bindResult) err() error {
	return fmt.Errorf("running %s plugin %q: %w", r.step, r.plugin, r.status.AsError())
}

// binder takes pods from the loop through Permit, PreBind, Bind and PostBind.
type binder struct {
	profile  *profile
	client   kubernetes.Interface
	recorder *eventrecorder.Recorder
	metrics  *metrics
	log      logr.Logger
	inbox    *inbox
	flights  chan *flight
	batch    int
	permits  *sync.WaitGroup // joins what holds pods for Permit plugins
}

func newBinder(p *profile, client kubernetes.Interface, recorder *eventrecorder.Recorder, m *metrics, log logr.Logger, in *inbox) *binder {
	b := &binder{profile: p, client: client, recorder: recorder, metrics: m, log: log, inbox: in, batch: 1, flights: make(chan *flight, 1024)}
	if len(p.bind) == 1 {
		if _, ok := p.bind[0].(framework.BatchBindPlugin); ok {
			b.batch = maxBatch
		}
	}
	return b
}

// start runs the workers until ctx ends. The loop calls send before wg is waited
// for, never after.
func (b *binder) start(ctx context.Context, wg *sync.WaitGroup, workers int) {
	for range workers {
		wg.Go(func() { b.work(ctx) })
	}
	b.permits = wg
}

// send hands a pod over. It blocks while the workers are far behind, so that the
// loop does not run ahead of what the API server takes. Where there are Permit
// plugins, which may hold a pod for long, each pod has a goroutine to wait in.
// Only the loop calls it.
func (b *binder) send(ctx context.Context, f *flight) {
	if len(b.profile.permit) == 0 {
		select {
		case b.flights <- f:
		case <-ctx.Done():
		}
		return
	}
	permitCtx, cancel := context.WithCancel(ctx)
	f.cancel = cancel
	b.permits.Go(func() {
		for _, x := range b.profile.permit {
			if s := x.Permit(permitCtx, f.cycle, f.node); !s.IsSuccess() {
				b.inbox.put(boundMessage{f, bindResult{plugin: x.Name(), step: "Permit", status: s}})
				return
			}
		}
		select {
		case b.flights <- f:
		case <-ctx.Done():
		}
	})
}

func (b *binder) work(ctx context.Context) {
	batch := make([]*flight, 0, b.batch)
	for {
		batch = batch[:0]
		select {
		case <-ctx.Done():
			return
		case f := <-b.flights:
			batch = append(batch, f)
		}
	more:
		for len(batch) < b.batch {
			select {
			case f := <-b.flights:
				batch = append(batch, f)
			default:
				break more
			}
		}
		b.bindAll(ctx, batch)
	}
}

// bindAll binds some pods and reports on each.
func (b *binder) bindAll(ctx context.Context, flights []*flight) {
	ready := flights[:0]
	for _, f := range flights {
		if r := b.preBind(ctx, f); !r.ok() {
			b.inbox.put(boundMessage{f, r})
		} else {
			ready = append(ready, f)
		}
	}
	if len(ready) > 1 {
		x := b.profile.bind[0].(framework.BatchBindPlugin) // a worker takes more than one only then
		placements := make([]framework.Placement, len(ready))
		for i, f := range ready {
			placements[i] = framework.Placement{Cycle: f.cycle, Node: f.node}
		}
		for i, s := range x.BindBatch(ctx, placements) {
			b.finish(ctx, ready[i], bindResult{plugin: x.Name(), step: "Bind", status: s})
		}
		return
	}
	for _, f := range ready {
		b.finish(ctx, f, b.bind(ctx, f))
	}
}

func (b *binder) preBind(ctx context.Context, f *flight) bindResult {
	for _, x := range b.profile.preBind {
		if s := x.PreBind(ctx, f.cycle, f.node); !s.IsSuccess() {
			return bindResult{plugin: x.Name(), step: "PreBind", status: s}
		}
	}
	return bindResult{}
}

func (b *binder) bind(ctx context.Context, f *flight) bindResult {
	r := bindResult{plugin: b.profile.bind[0].Name(), step: "Bind", status: framework.AsStatus(errors.New("all Bind plugins skipped the pod"))}
	for _, x := range b.profile.bind {
		s := x.Bind(ctx, f.cycle, f.node)
		if s.IsSkip() {
			continue
		}
		return bindResult{plugin: x.Name(), step: "Bind", status: s}
	}
	return r
}

// finish finds out how a binding ended and tells the loop and the user.
func (b *binder) finish(ctx context.Context, f *flight, r bindResult) {
	pod := f.cycle.Pod.Pod
	if !r.ok() {
		r = b.certain(ctx, f, r)
	}
	if r.ok() {
		b.recorder.Action(pod, nil, corev1.EventTypeNormal, "Scheduled", "Binding",
			fmt.Sprintf("Successfully assigned %s/%s to %s", pod.Namespace, pod.Name, f.node))
		if log := b.log.V(2); log.Enabled() {
			log.Info("Bound pod to node", "pod", pod.Namespace+"/"+pod.Name, "node", f.node)
		}
		for _, x := range b.profile.postBind {
			x.PostBind(ctx, f.cycle, f.node)
		}
	}
	b.inbox.put(boundMessage{f, r})
}

// certain turns a failure into a certain one: when the API server did not clearly
// refuse, the pod may be bound, and only reading it again tells.
func (b *binder) certain(ctx context.Context, f *flight, r bindResult) bindResult {
	err := r.status.AsError()
	switch {
	case apierrors.IsNotFound(err):
		// Usually the pod; it may also be the node, or the namespace.
	case apierrors.IsConflict(err), apierrors.IsServerTimeout(err), apierrors.IsTimeout(err), apierrors.IsInternalError(err), apierrors.IsUnexpectedServerError(err):
	case apierrors.ReasonForError(err) != metav1.StatusReasonUnknown:
		return r // refused
	}
	pod := f.cycle.Pod.Pod
	for i := range rereads {
		if i > 0 {
			t := time.NewTimer(rereadDelay)
			select {
			case <-ctx.Done():
				t.Stop()
				return r
			case <-t.C:
			}
		}
		now, err := b.client.CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			r.gone = true
			return r
		case err != nil:
			continue
		case now.UID != pod.UID:
			r.gone = true
			return r
		case now.Spec.NodeName == f.node:
			return bindResult{}
		case now.Spec.NodeName != "":
			r.gone = true // someone else bound it; the informer will say where
			return r
		}
		return r
	}
	return r
}

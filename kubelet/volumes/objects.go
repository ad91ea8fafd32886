package volumes

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// ObjectsConfig configures [Objects].
type ObjectsConfig struct {
	// Client reads the objects. Required.
	Client kubernetes.Interface
	// Logger; the zero value is silent.
	Logger logr.Logger
	// SyncTimeout is how long a read waits for the first answer about an object
	// that has just been registered. Default 1 s; the kubelet tries again.
	SyncTimeout time.Duration
}

// Objects keeps the ConfigMaps and Secrets that registered pods refer to, by
// one watch for each such object, shared by all pods that name it. Others are
// never read, so a node's credentials may be limited to them. Immutable objects
// are watched no more once they are known. Safe for concurrent use.
//
// Managers of several nodes in one process may share one.
type Objects struct {
	cfg  ObjectsConfig
	wake chan struct{}

	mu sync.Mutex // guards all below
	// pods by UID with what they refer to; entries counts the users of each.
	pods        map[types.UID][]Ref
	entries     map[Ref]*objectEntry
	subscribers map[int]func(Ref)
	nextSub     int
	// start are entries that Run has to begin to follow.
	start []*objectEntry
}

type objectEntry struct {
	ref    Ref
	users  int
	synced chan struct{} // closed once the first answer is there
	done   chan struct{} // closed when nobody refers to it any more
	// object is nil where there is none; guarded by Objects.mu.
	object any
	isSync bool
}

// NewObjects validates the configuration. Nothing is read before Run.
func NewObjects(cfg ObjectsConfig) (*Objects, error) {
	if cfg.Client == nil {
		return nil, errors.New("volumes: ObjectsConfig.Client is required")
	}
	if cfg.SyncTimeout == 0 {
		cfg.SyncTimeout = time.Second
	}
	return &Objects{
		cfg:         cfg,
		wake:        make(chan struct{}, 1),
		pods:        map[types.UID][]Ref{},
		entries:     map[Ref]*objectEntry{},
		subscribers: map[int]func(Ref){},
	}, nil
}

// Run watches until ctx ends and joins all watches.
func (o *Objects) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	// A second Run (after the first ended) takes up all that is registered.
	o.mu.Lock()
	o.start = o.start[:0]
	for _, e := range o.entries {
		o.start = append(o.start, e)
	}
	o.mu.Unlock()
	for {
		o.mu.Lock()
		start := o.start
		o.start = nil
		o.mu.Unlock()
		for _, e := range start {
			wg.Add(1)
			go func() {
				defer wg.Done()
				o.follow(ctx, e)
			}()
		}
		select {
		case <-ctx.Done():
			return nil
		case <-o.wake:
		}
	}
}

// Register makes the objects that a pod refers to be watched, until Unregister.
// Registering again replaces what was registered for the pod's UID.
func (o *Objects) Register(pod *corev1.Pod) {
	refs := References(pod)
	o.mu.Lock()
	defer o.mu.Unlock()
	old := o.pods[pod.UID]
	o.pods[pod.UID] = refs
	for _, ref := range refs {
		e := o.entries[ref]
		if e == nil {
			e = &objectEntry{ref: ref, synced: make(chan struct{}), done: make(chan struct{})}
			o.entries[ref] = e
			o.start = append(o.start, e)
		}
		e.users++
	}
	o.release(old)
	if len(o.start) > 0 {
		select {
		case o.wake <- struct{}{}:
		default:
		}
	}
}

// Unregister forgets a pod. Unknown ones are no error.
func (o *Objects) Unregister(uid types.UID) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.release(o.pods[uid])
	delete(o.pods, uid)
}

// users are the pods that refer to an object.
func (o *Objects) users(ref Ref) []types.UID {
	o.mu.Lock()
	defer o.mu.Unlock()
	var uids []types.UID
	for uid, refs := range o.pods {
		if slices.Contains(refs, ref) {
			uids = append(uids, uid)
		}
	}
	return uids
}

func (o *Objects) release(refs []Ref) {
	for _, ref := range refs {
		e := o.entries[ref]
		if e.users--; e.users == 0 {
			delete(o.entries, ref)
			close(e.done)
		}
	}
}

// Subscribe calls fn, which must not block, after a watched object changed.
func (o *Objects) Subscribe(fn func(Ref)) (cancel func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	id := o.nextSub
	o.nextSub++
	o.subscribers[id] = fn
	return func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		delete(o.subscribers, id)
	}
}

// ConfigMap reads a ConfigMap: from the watch where a registered pod refers to
// it, else from the API. The result is shared and must not be changed. A missing
// one is an API NotFound error.
func (o *Objects) ConfigMap(ctx context.Context, namespace, name string) (*corev1.ConfigMap, error) {
	object, known, err := o.get(ctx, Ref{KindConfigMap, namespace, name})
	if err != nil {
		return nil, err
	}
	if known {
		return object.(*corev1.ConfigMap), nil
	}
	cm, err := o.cfg.Client.CoreV1().ConfigMaps(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, missing(KindConfigMap, name, err)
	}
	return cm, nil
}

// Secret is ConfigMap for Secrets.
func (o *Objects) Secret(ctx context.Context, namespace, name string) (*corev1.Secret, error) {
	object, known, err := o.get(ctx, Ref{KindSecret, namespace, name})
	if err != nil {
		return nil, err
	}
	if known {
		return object.(*corev1.Secret), nil
	}
	secret, err := o.cfg.Client.CoreV1().Secrets(namespace).Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		return nil, missing(KindSecret, name, err)
	}
	return secret, nil
}

// missing words a missing object as the kubelet does, in the singular.
func missing(kind ObjectKind, name string, err error) error {
	if apierrors.IsNotFound(err) {
		return apierrors.NewNotFound(schema.GroupResource{Resource: kind.String()}, name)
	}
	return err
}

func (o *Objects) get(ctx context.Context, ref Ref) (object any, known bool, err error) {
	o.mu.Lock()
	e := o.entries[ref]
	o.mu.Unlock()
	if e == nil {
		return nil, false, nil
	}
	select {
	case <-e.synced:
	default:
		timer := time.NewTimer(o.cfg.SyncTimeout)
		defer timer.Stop()
		select {
		case <-e.synced:
		case <-ctx.Done():
			return nil, false, fmt.Errorf("failed to sync %s cache: %w", ref.Kind, ctx.Err())
		case <-timer.C:
			return nil, false, fmt.Errorf("failed to sync %s cache: timed out waiting for the condition", ref.Kind)
		}
	}
	o.mu.Lock()
	object = e.object
	o.mu.Unlock()
	if object == nil {
		return nil, false, apierrors.NewNotFound(schema.GroupResource{Resource: ref.Kind.String()}, ref.Name)
	}
	return object, true, nil
}

// set stores what is known of an object and tells the subscribers.
func (o *Objects) set(e *objectEntry, object any) {
	o.mu.Lock()
	first := !e.isSync
	changed := first || resourceVersion(e.object) != resourceVersion(object)
	e.object = object
	if first {
		e.isSync = true
		close(e.synced)
	}
	var tell []func(Ref)
	if changed && !first {
		for _, fn := range o.subscribers {
			tell = append(tell, fn)
		}
	}
	o.mu.Unlock()
	for _, fn := range tell {
		fn(e.ref)
	}
}

func resourceVersion(object any) string {
	if m, ok := object.(metav1.Object); ok {
		return string(m.GetUID()) + "/" + m.GetResourceVersion()
	}
	return ""
}

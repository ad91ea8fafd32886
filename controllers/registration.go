package controllers

import (
	"context"

	"github.com/go-logr/logr"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

// Registration declares a controller.
type Registration struct {
	// Name is the controller's name in logs, and the name of its queue in
	// metrics. Upstream's names are used for upstream's controllers.
	Name string
	// Component is the source of its events, such as "deployment-controller".
	// Events of a controller without one are dropped.
	Component string
	// Workers is how many keys are reconciled at once; 0 means 5. The same key
	// is never reconciled twice at once.
	Workers int
	// Setup asks the environment for what the controller watches and returns
	// the controller. It runs inside New: it starts nothing and waits for nothing.
	Setup func(*Env) (Controller, error)
}

// Controller is what the runner drives.
type Controller struct {
	// Watches wake it.
	Watches []Watch
	// Reconcile reads caches (and, where it must, the API) and returns what to
	// do about the key. It must not write, except through the plan. An error
	// puts the key back with back-off.
	Reconcile func(ctx context.Context, key Key) (Plan, error)
	// Run, when set, runs beside the queue from the moment that the caches have
	// synced until ctx ends: for work that is not driven by events. It returns
	// when ctx ends, with all that it started joined.
	Run func(ctx context.Context) error
}

// Watch connects an informer to a controller's queue.
type Watch struct {
	Informer cache.SharedIndexInformer
	// Object is a value of the informer's kind, such as &corev1.Pod{}. With it
	// a key that wrote such an object waits until the informer has shown the
	// write. Nil for kinds that the controller never writes.
	Object Object
	// Keys maps an event to the keys to reconcile. It is called on the
	// informer's goroutine and must be quick. Nil means the object's own key.
	Keys func(Change) []Key
}

// Change is one informer event. Old is nil for an addition, New for a deletion.
type Change struct {
	Old, New Object
}

// Object is the newest form of the object.
func (c Change) Object() Object {
	if c.New != nil {
		return c.New
	}
	return c.Old
}

// Env is what a controller may use.
type Env struct {
	Client    kubernetes.Interface
	Metadata  metadata.Interface // nil where the host gave none
	Informers informers.SharedInformerFactory
	Recorder  record.EventRecorder
	Logger    logr.Logger
	// Enqueue puts a key on the controller's own queue, for controllers that
	// have another source of work beside their watches.
	Enqueue func(Key)
}

// OwnKey is the usual mapping: an object to its own key.
func OwnKey(c Change) []Key { return []Key{KeyOf(c.Object())} }

// AddIndex adds an index to an informer unless another controller has added
// one of that name.
func AddIndex(informer cache.SharedIndexInformer, name string, index cache.IndexFunc) error {
	if _, exists := informer.GetIndexer().GetIndexers()[name]; exists {
		return nil
	}
	return informer.AddIndexers(cache.Indexers{name: index})
}

// Package garbagecollector deletes objects whose owners are gone, and carries
// out the three ways of deleting an owner: its dependents after it (background),
// before it (foreground), or not at all (orphan).
//
// It watches the metadata of every kind that can be deleted, as discovery tells,
// and holds the graph of who owns whom. The graph only says what to look at:
// every decision rests on reads from the API at that moment.
package garbagecollector

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/controllers"
)

// Config configures the controller.
type Config struct {
	// Resync is how often the served kinds are discovered again without cause;
	// 10 min if 0. Changes of custom resource definitions and API services
	// are noticed within seconds.
	Resync time.Duration
	// Shared are the resources for which the typed informers of
	// controllers.Config.Informers are used, since other controllers run them
	// anyway. Nil means those that the default controllers run.
	Shared []schema.GroupVersionResource
}

// New registers the controller. It needs controllers.Config.Metadata.
func New(config Config) controllers.Registration {
	if config.Resync <= 0 {
		config.Resync = 10 * time.Minute
	}
	if config.Shared == nil {
		config.Shared = defaultShared()
	}
	return controllers.Registration{
		Name: "garbage_collector_attempt_to_delete", Component: "garbage-collector-controller", Workers: 20,
		Setup: func(env *controllers.Env) (controllers.Controller, error) { return setup(env, config) },
	}
}

func defaultShared() []schema.GroupVersionResource {
	core := schema.GroupVersion{Version: "v1"}
	apps := schema.GroupVersion{Group: "apps", Version: "v1"}
	return []schema.GroupVersionResource{
		core.WithResource("pods"), core.WithResource("services"), core.WithResource("endpoints"), core.WithResource("nodes"),
		core.WithResource("namespaces"), core.WithResource("serviceaccounts"), core.WithResource("configmaps"),
		core.WithResource("replicationcontrollers"), apps.WithResource("replicasets"), apps.WithResource("deployments"),
		{Group: "discovery.k8s.io", Version: "v1", Resource: "endpointslices"},
		{Group: "coordination.k8s.io", Version: "v1", Resource: "leases"},
	}
}

// The two kinds of work, as the namespace of a key; the name is the UID.
const (
	checkWork  = "check"
	orphanWork = "orphan"
)

type controller struct {
	config    Config
	env       *controllers.Env
	graph     *graph
	resources resources
	absent    *places
	shared    map[schema.GroupVersionResource]cache.SharedIndexInformer // read-only after setup
	ready     chan struct{}                                             // closed when the graph is complete
	rescan    chan struct{}                                             // capacity 1
	puzzles   puzzles
}

func setup(env *controllers.Env, config Config) (controllers.Controller, error) {
	if env.Metadata == nil {
		return controllers.Controller{}, errors.New("needs a metadata client")
	}
	c := &controller{
		config: config, env: env, graph: newGraph(), absent: newPlaces(500),
		shared: map[schema.GroupVersionResource]cache.SharedIndexInformer{},
		ready:  make(chan struct{}), rescan: make(chan struct{}, 1),
	}
	for _, gvr := range config.Shared {
		informer, err := env.Informers.ForResource(gvr)
		if err != nil {
			return controllers.Controller{}, err
		}
		c.shared[gvr] = informer.Informer()
	}
	return controllers.Controller{Reconcile: c.reconcile, Run: c.run}, nil
}

func (c *controller) enqueue(w work) {
	for _, uid := range w.check {
		c.env.Enqueue(controllers.Key{Namespace: checkWork, Name: string(uid)})
	}
	for _, uid := range w.orphan {
		c.env.Enqueue(controllers.Key{Namespace: orphanWork, Name: string(uid)})
	}
}

func (c *controller) reconcile(ctx context.Context, key controllers.Key) (controllers.Plan, error) {
	select {
	case <-c.ready:
	case <-ctx.Done():
		return controllers.Plan{}, nil
	}
	n, dependents, ok := c.graph.get(types.UID(key.Name))
	if !ok {
		return controllers.Plan{}, nil
	}
	if n.Resource.Empty() {
		// Known from references only: who names it says where to look.
		r, ok := c.resources.find(metav1.OwnerReference{APIVersion: n.APIVersion, Kind: n.Kind})
		if !ok {
			// Nobody serves this kind now. That is no proof that the owner is gone.
			c.puzzles.add(n.UID)
			return controllers.Plan{After: c.config.Resync}, nil
		}
		n.Resource = r.gvr
		if !r.namespaced {
			n.Namespace = ""
		}
	}
	kind := schema.FromAPIVersionAndKind(n.APIVersion, n.Kind).GroupKind()
	live, err := c.client(n.Resource, n.Namespace).Get(ctx, n.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) || err == nil && live.UID != n.UID {
		c.absent.add(place{n.UID, kind, n.Namespace, n.Name})
		c.enqueue(c.graph.vanished(n))
		return controllers.Plan{}, nil
	}
	if err != nil {
		return controllers.Plan{}, fmt.Errorf("read %s %s/%s: %w", n.Resource.GroupResource(), n.Namespace, n.Name, err)
	}
	if !n.Observed {
		return controllers.Plan{After: 5 * time.Second}, nil // it is there; the watch will bring it
	}
	if key.Namespace == orphanWork {
		if !n.Orphaning {
			return controllers.Plan{}, nil
		}
		whole, err := c.readCustom(ctx, dependents)
		if err != nil {
			return controllers.Plan{}, err
		}
		return Orphan(n, dependents, live, whole), nil
	}
	v := View{Node: n, Dependents: dependents, Live: live}
	unsure := false
	if !n.Leaving {
		if v.Standings, unsure, err = c.standings(ctx, live); err != nil {
			return controllers.Plan{}, err
		}
	}
	plan, next := Reconcile(v)
	c.enqueue(work{check: next})
	if unsure {
		c.puzzles.add(n.UID)
		plan.After = c.config.Resync
	}
	return plan, nil
}

// readCustom reads the dependents that are custom resources; nil stands for those
// that are gone.
func (c *controller) readCustom(ctx context.Context, dependents []Node) (map[types.UID]*metav1.PartialObjectMetadata, error) {
	found := map[types.UID]*metav1.PartialObjectMetadata{}
	for _, d := range dependents {
		if scheme.Scheme.Recognizes(schema.FromAPIVersionAndKind(d.APIVersion, d.Kind)) {
			continue
		}
		o, err := c.client(d.Resource, d.Namespace).Get(ctx, d.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) || err == nil && o.UID != d.UID:
			found[d.UID] = nil
		case err != nil:
			return nil, fmt.Errorf("read dependent %s %s/%s: %w", d.Resource.GroupResource(), d.Namespace, d.Name, err)
		default:
			found[d.UID] = o
		}
	}
	return found, nil
}

// standings looks at every owner of an object. Unsure means that one is of a
// kind that nobody serves now; it counts as solid.
func (c *controller) standings(ctx context.Context, live *metav1.PartialObjectMetadata) (out []Standing, unsure bool, err error) {
	for _, ref := range live.OwnerReferences {
		r, ok := c.resources.find(ref)
		if !ok || r.namespaced && live.Namespace == "" {
			// A kind that is not served, or a cluster-wide object with an owner
			// in some namespace, which cannot be found.
			unsure = unsure || !ok
			out = append(out, Solid)
			continue
		}
		namespace := live.Namespace
		if !r.namespaced {
			namespace = ""
		}
		if c.absent.has(place{ref.UID, r.gvk.GroupKind(), namespace, ref.Name}) {
			out = append(out, Absent)
			continue
		}
		owner, err := c.client(r.gvr, namespace).Get(ctx, ref.Name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err) || err == nil && owner.UID != ref.UID:
			// An owner in another namespace is none, and counts as absent too.
			out = append(out, Absent)
		case err != nil:
			return nil, false, fmt.Errorf("read owner %s %s/%s: %w", r.gvr.GroupResource(), namespace, ref.Name, err)
		case nodeOf(r.gvr, r.gvk, owner).Foreground:
			out = append(out, Waiting)
		default:
			out = append(out, Solid)
		}
	}
	return out, unsure, nil
}

func (c *controller) client(gvr schema.GroupVersionResource, namespace string) metadata.ResourceInterface {
	if namespace == "" {
		return c.env.Metadata.Resource(gvr)
	}
	return c.env.Metadata.Resource(gvr).Namespace(namespace)
}

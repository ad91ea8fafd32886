// Package customresources serves what CustomResourceDefinitions define. A
// [Manager] watches the definitions in the server's own cache, decides which names
// each may have, publishes a resource for each version of each, and deletes the
// objects of definitions that are deleted. It is part of the API server and stands
// beside it: the resources that it publishes are values like all others, served by
// the one generic registry.
//
// What an object may cost is bounded: its size as that of any request, one CEL rule
// and all rules of an object by the budgets of k8s.io/apiserver/pkg/apis/cel, a
// call of a conversion webhook by 30 seconds, 500 objects and a bound on its answer
// (package webhook).
package customresources

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	clientset "k8s.io/apiextensions-apiserver/pkg/client/clientset/clientset/typed/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/webhook"
	"github.com/strake-io/strake/internal/follow"
)

// Server is what the manager needs of the API server.
type Server interface {
	// Publish replaces the resources that owner serves.
	Publish(owner string, resources []*resource.Resource) error
	// Objects reads and deletes objects.
	Objects() resource.Objects
	// ListerWatcher reads the server's own cache.
	ListerWatcher(of schema.GroupResource, namespace string) (cache.ListerWatcherWithContext, error)
}

// Config of a manager. Server and Client are required.
type Config struct {
	Server Server
	// Client writes the status of definitions, as the API server itself.
	Client clientset.CustomResourceDefinitionInterface
	// Webhooks calls conversion webhooks; nil means that those of kinds that have
	// one fail.
	Webhooks *webhook.Caller
	// Logger; the zero value is silent.
	Logger logr.Logger
}

// Owner under which custom resources are published.
const Owner = "customresourcedefinitions"

// definitions names the resource that is watched.
var definitions = schema.GroupResource{Group: apiextensionsv1.GroupName, Resource: "customresourcedefinitions"}

// Manager serves custom resources.
type Manager struct {
	config Config
	caller poster
	ready  chan struct{}

	// What follows is owned by Run.
	crds  map[string]*apiextensionsv1.CustomResourceDefinition
	kinds map[string]*kind
	// changed are the definitions to look at, by name. structures are the last
	// looks at schemas, by UID: they are dear, and a schema seldom changes.
	changed    map[string]bool
	structures map[string]structure
	// cleaning are the definitions whose objects are being deleted, by UID.
	cleaning map[string]bool
	cleaned  chan string
	cleaners sync.WaitGroup
}

// New checks the configuration. It starts nothing.
func New(config Config) (*Manager, error) {
	if config.Server == nil || config.Client == nil {
		return nil, errors.New("customresources: Config.Server and Config.Client are required")
	}
	if config.Logger.GetSink() == nil {
		config.Logger = logr.Discard()
	}
	m := &Manager{
		config: config, ready: make(chan struct{}), cleaned: make(chan string),
		kinds: map[string]*kind{}, cleaning: map[string]bool{}, changed: map[string]bool{}, structures: map[string]structure{},
	}
	if config.Webhooks != nil {
		m.caller = config.Webhooks
	}
	return m, nil
}

// Ready is closed when all definitions that are stored are served.
func (m *Manager) Ready() <-chan struct{} { return m.ready }

// Run follows the definitions until ctx ends. It may be called once.
func (m *Manager) Run(ctx context.Context) error {
	source, err := m.config.Server.ListerWatcher(definitions, metav1.NamespaceAll)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer m.cleaners.Wait()
	defer cancel()
	for ctx.Err() == nil {
		if err := m.follow(ctx, source); err != nil && ctx.Err() == nil {
			m.config.Logger.Error(err, "Following the custom resource definitions broke off")
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
	return nil
}

// follow lists the definitions and watches them from there on.
func (m *Manager) follow(ctx context.Context, source cache.ListerWatcherWithContext) error {
	watcher, err := follow.Open(ctx, source, func(n int) {
		m.crds = make(map[string]*apiextensionsv1.CustomResourceDefinition, n)
	}, m.see)
	if err != nil {
		return err
	}
	defer watcher.Stop()
	here := map[string]bool{}
	for _, crd := range m.crds {
		here[string(crd.UID)] = true
	}
	maps.DeleteFunc(m.cleaning, func(uid string, _ bool) bool { return !here[uid] })
	for {
		retry := m.reconcile(ctx)
		select {
		case <-m.ready:
		default:
			close(m.ready)
		}
		var again <-chan time.Time
		if retry {
			again = time.After(time.Second)
		}
		select {
		case ev, open := <-watcher.ResultChan():
			if over, err := follow.Take(ev, open, m.see); over {
				return err
			}
			follow.Drain(watcher, m.see)
		case uid := <-m.cleaned:
			delete(m.cleaning, uid)
		case <-again:
		case <-ctx.Done():
			return nil
		}
	}
}

func (m *Manager) see(event watch.EventType, obj runtime.Object) {
	crd, ok := obj.(*apiextensionsv1.CustomResourceDefinition)
	if !ok {
		return
	}
	switch event {
	case watch.Added, watch.Modified:
		m.crds[crd.Name] = crd
		m.changed[crd.Name] = true
	case watch.Deleted:
		delete(m.crds, crd.Name)
		delete(m.structures, string(crd.UID))
		delete(m.cleaning, string(crd.UID))
		// Its names are free.
		m.changeGroup(crd.Spec.Group)
	}
}

// reconcile decides the status of every definition, serves those whose names are
// accepted, and then says so in their status. retry says that something has to be
// tried again.
func (m *Manager) reconcile(ctx context.Context) (retry bool) {
	now := time.Now()
	pending := map[string]*apiextensionsv1.CustomResourceDefinition{}
	before := maps.Clone(m.crds)
	for again := true; again; {
		again = false
		for _, name := range m.byAge() {
			if !m.changed[name] {
				continue
			}
			delete(m.changed, name)
			crd := m.crds[name]
			next := nextStatus(crd, m.others(crd), m.structure(crd), now)
			if next == nil {
				continue
			}
			// The names count from now on: other definitions must see them, and may
			// have those that this one let go.
			if !apiequality.Semantic.DeepEqual(next.Status.AcceptedNames, crd.Status.AcceptedNames) {
				m.changeGroup(crd.Spec.Group)
				delete(m.changed, name)
				again = true
			}
			m.crds[name], pending[name] = next, next
		}
	}
	if err := m.publish(); err != nil {
		m.config.Logger.Error(err, "Could not publish the custom resources")
		retry = true
	}
	for _, name := range m.byAge() {
		next := pending[name]
		if next == nil {
			continue
		}
		written, err := m.config.Client.UpdateStatus(ctx, next, metav1.UpdateOptions{})
		switch {
		case err == nil:
			m.crds[name] = written
		case apierrors.IsConflict(err) || apierrors.IsNotFound(err):
			// It changed or went meanwhile: the watch says how.
		case ctx.Err() == nil:
			m.config.Logger.Error(err, "Could not update a custom resource definition's status", "name", name)
			m.crds[name], m.changed[name], retry = before[name], true, true
		}
	}
	for name, crd := range m.crds {
		if crd.DeletionTimestamp != nil && slices.Contains(crd.Finalizers, apiextensionsv1.CustomResourceCleanupFinalizer) && !m.cleaning[string(crd.UID)] {
			m.cleaning[string(crd.UID)] = true
			m.clean(ctx, m.crds[name])
		}
	}
	return retry
}

// structure is what a look at the definition's schemas found.
type structure struct {
	generation int64
	condition  *apiextensionsv1.CustomResourceDefinitionCondition
}

func (m *Manager) structure(crd *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionCondition {
	last, known := m.structures[string(crd.UID)]
	if !known || last.generation != crd.Generation {
		last = structure{crd.Generation, structureCondition(crd)}
		m.structures[string(crd.UID)] = last
	}
	return last.condition
}

// changeGroup has all definitions of a group looked at.
func (m *Manager) changeGroup(group string) {
	for name, crd := range m.crds {
		if crd.Spec.Group == group {
			m.changed[name] = true
		}
	}
}

// byAge are the names of the definitions, the oldest first: who came first has the
// names that two want.
func (m *Manager) byAge() []string {
	names := make([]string, 0, len(m.crds))
	for name := range m.crds {
		names = append(names, name)
	}
	slices.SortFunc(names, func(a, b string) int {
		x, y := m.crds[a], m.crds[b]
		if c := x.CreationTimestamp.Compare(y.CreationTimestamp.Time); c != 0 {
			return c
		}
		return strings.Compare(a, b)
	})
	return names
}

// others are the other definitions of a definition's group.
func (m *Manager) others(crd *apiextensionsv1.CustomResourceDefinition) []*apiextensionsv1.CustomResourceDefinition {
	var out []*apiextensionsv1.CustomResourceDefinition
	for name, other := range m.crds {
		if name != crd.Name && other.Spec.Group == crd.Spec.Group {
			out = append(out, other)
		}
	}
	return out
}

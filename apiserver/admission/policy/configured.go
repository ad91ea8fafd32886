package policy

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/match"
)

// policy is one policy as it was read, with its bindings.
type policy[P any] struct {
	definition[P]
	bindings []*binding
}

// definition is a policy by itself. It is shared by all readings between two changes
// of its spec.
type definition[P any] struct {
	name       string
	uid        types.UID
	generation int64
	// failClosed: what cannot be evaluated refuses the write.
	failClosed bool
	kind       *admissionv1.ParamKind
	criteria   *match.Criteria
	broken     error
	// compiled is made when it is first asked for.
	compiled func() *P
}

// binding is one binding of a policy.
type binding struct {
	name, policy string
	criteria     *match.Criteria
	broken       error
	ref          *admissionv1.ParamRef
	actions      []admissionv1.ValidationAction
}

// configured are all policies with bindings, made anew when a policy or a binding
// changes: a write that finds none pays for a look at two numbers.
type configured[P any] struct {
	policies, bindings schema.GroupResource
	readPolicy         func(obj runtime.Object) (definition[P], bool)
	readBinding        func(obj runtime.Object) (*binding, bool)

	known atomic.Pointer[known[P]]
	mu    sync.Mutex // makes one reading at a time
}

type known[P any] struct {
	policies, bindings int64
	bound              []*policy[P]
	// all are the definitions by name, those without bindings too.
	all map[string]definition[P]
}

func (c *configured[P]) read(ctx context.Context, a *admission.Attributes) ([]*policy[P], error) {
	policies, err := a.Catalog.Version(ctx, c.policies)
	if err != nil {
		return nil, err
	}
	bindings, err := a.Catalog.Version(ctx, c.bindings)
	if err != nil {
		return nil, err
	}
	k := c.known.Load()
	if k != nil && k.policies == policies && k.bindings == bindings {
		return k.bound, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if k = c.known.Load(); k != nil && k.policies == policies && k.bindings == bindings {
		return k.bound, nil
	}
	next := &known[P]{policies: policies, bindings: bindings, all: map[string]definition[P]{}}
	if policies != 0 && bindings != 0 {
		if err := c.fill(ctx, a, next, k); err != nil {
			return nil, err
		}
	}
	c.known.Store(next)
	return next.bound, nil
}

func (c *configured[P]) fill(ctx context.Context, a *admission.Attributes, next, last *known[P]) error {
	policies, err := a.Objects.List(ctx, c.policies, "")
	if err != nil || len(policies) == 0 {
		return err
	}
	bindings, err := a.Objects.List(ctx, c.bindings, "")
	if err != nil {
		return err
	}
	byPolicy := map[string][]*binding{}
	for _, obj := range bindings {
		if b, ok := c.readBinding(obj); ok {
			byPolicy[b.policy] = append(byPolicy[b.policy], b)
		}
	}
	for _, obj := range policies {
		d, ok := c.readPolicy(obj)
		if !ok {
			continue
		}
		if last != nil {
			if was, ok := last.all[d.name]; ok && was.uid == d.uid && was.generation == d.generation {
				d = was
			}
		}
		next.all[d.name] = d
		if bound := byPolicy[d.name]; len(bound) > 0 {
			next.bound = append(next.bound, &policy[P]{d, bound})
		}
	}
	return nil
}

func newDefinition[P any](m *metav1.ObjectMeta, failure *admissionv1.FailurePolicyType, kind *admissionv1.ParamKind, constraints *admissionv1.MatchResources, compile func() *P) definition[P] {
	d := definition[P]{
		name: m.Name, uid: m.UID, generation: m.Generation, kind: kind, compiled: sync.OnceValue(compile),
		failClosed: failure == nil || *failure != admissionv1.Ignore,
	}
	if constraints == nil {
		constraints = &admissionv1.MatchResources{}
	}
	d.criteria, d.broken = match.Of(constraints)
	return d
}

func newBinding(name, policy string, ref *admissionv1.ParamRef, matches *admissionv1.MatchResources) *binding {
	b := &binding{name: name, policy: policy, ref: ref}
	b.criteria, b.broken = match.Of(matches)
	return b
}

// params is the resource of the policy's parameters; nil where it has none.
func (d *definition[P]) params(catalog admission.Catalog) (*admission.Served, error) {
	if d.kind == nil {
		return nil, nil
	}
	gv, err := schema.ParseGroupVersion(d.kind.APIVersion)
	if err != nil {
		return nil, fmt.Errorf("failed to parse paramKind APIVersion: %w", err)
	}
	served, ok := catalog.ForKind(gv.WithKind(d.kind.Kind))
	if !ok {
		return nil, fmt.Errorf("failed to find resource referenced by paramKind: '%v'", gv.WithKind(d.kind.Kind))
	}
	return &served, nil
}

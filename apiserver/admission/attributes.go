package admission

import (
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/strake-io/strake/apiserver/resource"
)

// Attributes describe one write, or one connection, as upstream's admission sees
// it.
type Attributes struct {
	Operation Operation
	// Kind and Resource of what travels: for a sub-resource with a type of its
	// own (pods/eviction, deployments/scale, pods/exec), Kind is that type's.
	Kind        schema.GroupVersionKind
	Resource    schema.GroupVersionResource
	Subresource string
	// Namespace of a namespace is its own name. Name is empty where the server
	// has yet to generate it (mutators of a create with generateName) and for
	// each object of a deletecollection.
	Namespace, Name string
	// Object is the new state, which a [Mutator] may change or replace: the body
	// of a create below an object (an Eviction), the projected object of a scale.
	// Of a Connect it is the connection's options; nil on Delete. It has no
	// TypeMeta unless it is unstructured.
	Object runtime.Object
	// Old is the stored state, read-only; nil on Create and Connect.
	Old  runtime.Object
	User user.Info
	// DryRun: nothing may happen outside of the object.
	DryRun bool
	// Options are *metav1.CreateOptions, UpdateOptions (of a patch too) or
	// DeleteOptions with their TypeMeta; nil on Connect. Read-only.
	Options runtime.Object
	// Objects reads what a decision depends on.
	Objects resource.Objects
	// Catalog tells what is served; nil only in tests.
	Catalog Catalog
	// Warn sends a warning to the client. Never nil.
	Warn func(message string)
	// Annotate adds to the audit record of the request; nil keeps none. Use
	// [Attributes.Audit].
	Annotate func(key, value string)
	// Kept is what plugins keep across the tries of one write; nil where there is
	// only one try.
	Kept *Kept

	again again
}

// DeleteOptions of a Delete; nil for other operations.
func (a *Attributes) DeleteOptions() *metav1.DeleteOptions {
	opts, _ := a.Options.(*metav1.DeleteOptions)
	return opts
}

// Audit adds to the audit record of the request.
func (a *Attributes) Audit(key, value string) {
	if a.Annotate != nil {
		a.Annotate(key, value)
	}
}

// Forbidden is the error by which a plugin refuses a write: 403, with the object's
// name as far as it is known. An error that is such already stays as it is.
func (a *Attributes) Forbidden(err error) error {
	if apierrors.IsForbidden(err) {
		return err
	}
	return apierrors.NewForbidden(a.Resource.GroupResource(), a.ErrorName(), err)
}

// ErrorName is what error messages call the object.
func (a *Attributes) ErrorName() string {
	if a.Name != "" {
		return a.Name
	}
	if a.Object == nil {
		return "Unknown"
	}
	accessor, err := meta.Accessor(a.Object)
	switch {
	case err != nil:
		// A slash is in no name.
		return "Unknown/errorGettingName"
	case accessor.GetName() != "":
		return accessor.GetName()
	case accessor.GetGenerateName() != "":
		return accessor.GetGenerateName()
	}
	return "Unknown"
}

// Kept lets a plugin know in a later try of a write what it did in an earlier one: for
// plugins that act outside of the object. The zero value is empty.
type Kept struct{ things map[any]any }

// Get is what was put under a key of the plugin's own type; nil where nothing was, or k
// is nil.
func (k *Kept) Get(key any) any {
	if k == nil {
		return nil
	}
	return k.things[key]
}

// Put keeps something for later tries. There are none where k is nil.
func (k *Kept) Put(key, value any) {
	if k == nil {
		return
	}
	if k.things == nil {
		k.things = map[any]any{}
	}
	k.things[key] = value
}

// again is the second run of the mutators over one write.
type again struct {
	wanted, running bool
	memory          Kept
}

// Reinvoke asks for the mutators to run once more when all have run, because the
// object has changed since the earlier ones saw it. In that second run it does
// nothing.
func (a *Attributes) Reinvoke() { a.again.wanted = true }

// Reinvoked says that this is the second run.
func (a *Attributes) Reinvoked() bool { return a.again.running }

// Remembered is what a mutator has left for its second run, or for its validating
// side, under a key of its own type; nil where it has left nothing.
func (a *Attributes) Remembered(key any) any { return a.again.memory.Get(key) }

// Remember leaves something for later in this write.
func (a *Attributes) Remember(key, value any) { a.again.memory.Put(key, value) }

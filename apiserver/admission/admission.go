// Package admission is where a write is looked at as a whole, after it has been
// authorised and decoded: plugins may change it, then others may refuse it.
package admission

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/strake-io/strake/apiserver/resource"
)

// Operation is what is done to the object.
type Operation string

const (
	Create  Operation = "CREATE"
	Update  Operation = "UPDATE"
	Delete  Operation = "DELETE"
	Connect Operation = "CONNECT"
)

// Attributes describe one write.
type Attributes struct {
	Operation Operation
	// Kind and Resource of what travels: for a sub-resource with a type of its
	// own (pods/eviction), Kind is that type's.
	Kind            schema.GroupVersionKind
	Resource        schema.GroupVersionResource
	Subresource     string
	Namespace, Name string
	// Object is the new state, which a [Mutator] may change; nil on Delete and
	// Connect. Old is the stored state, read-only; nil on Create and Connect.
	Object, Old runtime.Object
	User        user.Info
	DryRun      bool
	// DeleteOptions of a Delete.
	DeleteOptions *metav1.DeleteOptions
	// Objects reads what a decision depends on.
	Objects resource.Objects
	// Warn sends a warning to the client.
	Warn func(message string)
}

// Plugin takes part in admission by implementing [Mutator], [Validator] or both.
// It is called for every operation on every resource and passes over what is not
// its concern. Plugins run in the order of the configuration and are safe for
// concurrent use.
type Plugin interface {
	// Name for logs and metrics.
	Name() string
}

// Mutator changes a.Object before it is validated. Its errors are API errors and
// refuse the write.
type Mutator interface {
	Plugin
	Admit(ctx context.Context, a *Attributes) error
}

// Validator refuses a write, by an API error, or lets it pass unchanged. On an
// update that is repeated because another writer came first it is called again.
type Validator interface {
	Plugin
	Validate(ctx context.Context, a *Attributes) error
}

// Chain is plugins in order.
type Chain []Plugin

// Mutates says whether any plugin changes objects.
func (c Chain) Mutates() bool {
	for _, p := range c {
		if _, ok := p.(Mutator); ok {
			return true
		}
	}
	return false
}

// Admit runs the mutators.
func (c Chain) Admit(ctx context.Context, a *Attributes) error {
	for _, p := range c {
		if m, ok := p.(Mutator); ok {
			if err := m.Admit(ctx, a); err != nil {
				return err
			}
		}
	}
	return nil
}

// Validate runs the validators.
func (c Chain) Validate(ctx context.Context, a *Attributes) error {
	for _, p := range c {
		if v, ok := p.(Validator); ok {
			if err := v.Validate(ctx, a); err != nil {
				return err
			}
		}
	}
	return nil
}

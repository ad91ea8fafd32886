// Package admission is where a write is looked at as a whole, after it has been
// authorised and decoded: plugins may change it, then others may refuse it.
//
// A [Plugin] is a [Mutator], a [Validator] or both; a [Chain] calls them in order
// with the [Attributes] of a write. The packages below hold the plugins: those that
// are built in, webhook (calls out over HTTPS) and policy (CEL).
package admission

import (
	"context"
)

// Operation is what is done to the object.
type Operation string

const (
	Create  Operation = "CREATE"
	Update  Operation = "UPDATE"
	Delete  Operation = "DELETE"
	Connect Operation = "CONNECT"
)

// Plugin takes part in admission by implementing [Mutator], [Validator] or both.
// It is called for every operation on every resource and passes over what is not
// its concern. Plugins run in the order of the configuration and are safe for
// concurrent use.
type Plugin interface {
	// Name for logs and metrics.
	Name() string
}

// Mutator changes a.Object before it is validated, or puts another object of the
// same type in its place. Its errors are API errors and refuse the write. On an
// update that is repeated because another writer came first it is called again,
// and so it is when a later plugin has asked for that ([Attributes.Reinvoke]).
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

// Admit runs the mutators, and once more where one of them asked for it.
func (c Chain) Admit(ctx context.Context, a *Attributes) error {
	if err := c.admit(ctx, a); err != nil || !a.again.wanted {
		return err
	}
	a.again.running = true
	return c.admit(ctx, a)
}

func (c Chain) admit(ctx context.Context, a *Attributes) error {
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

package policy

import (
	"context"
	"errors"
	"fmt"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/match"
)

// round is what one write remembers of its mutating policies.
type round struct {
	// called are the invocations that may run again, needed those that shall.
	called, needed map[key]bool
	after          runtime.Object // the object as the last of them left it
}

type roundKey struct{}

// key names an invocation.
type key struct{ policy, binding, namespace, param string }

func keyOf(i *invocation[mutation]) key {
	k := key{policy: i.policy.name, binding: i.binding.name}
	if i.param != nil {
		if m, err := meta.Accessor(i.param); err == nil {
			k.namespace, k.param = m.GetNamespace(), m.GetName()
		}
	}
	return k
}

func (r *round) changed() {
	for k := range r.called {
		r.needed[k] = true
	}
	clear(r.called)
}

// Admit implements admission.Mutator.
func (m *Mutating) Admit(ctx context.Context, a *admission.Attributes) error {
	if a.Operation == admission.Delete || exempt(a) {
		return nil
	}
	policies, err := m.known.read(ctx, a)
	if err != nil || len(policies) == 0 {
		return err
	}
	invoke, wrong := matching(ctx, a, policies)
	if len(invoke) == 0 && len(wrong) == 0 {
		return nil
	}
	var denied []denial
	for _, w := range wrong {
		if w.policy.failClosed {
			denied = append(denied, newDenial(w.policy.name, w.binding, w.message(), ""))
		}
	}
	if len(invoke) > 0 && a.Object != nil {
		more, err := m.run(ctx, a, invoke)
		if err != nil {
			return err
		}
		denied = append(denied, more...)
	}
	return outcome(a, denied)
}

// run makes the changes of all invocations, one after another.
func (m *Mutating) run(ctx context.Context, a *admission.Attributes, invoke []invocation[mutation]) ([]denial, error) {
	namespace, err := namespaceOf(ctx, a)
	if err != nil {
		return nil, err
	}
	r, _ := a.Remembered(roundKey{}).(*round)
	if r == nil {
		r = &round{called: map[key]bool{}, needed: map[key]bool{}}
		a.Remember(roundKey{}, r)
	}
	if a.Reinvoked() && len(r.called) > 0 && !apiequality.Semantic.DeepEqual(r.after, a.Object) {
		r.changed()
	}
	var denied []denial
	for n := range invoke {
		i := &invoke[n]
		compiled := i.policy.compiled()
		object, old, err := match.Versioned(ctx, a, i.as.Kind)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		in := m.config.input(a, i.as, i.param, object, old)
		matched, err := conditions(ctx, compiled.compiler, compiled.conditions, in)
		if err != nil && i.policy.failClosed {
			denied = append(denied, newDenial(i.policy.name, i.binding, err, metav1.StatusReasonInvalid))
		}
		if err != nil || !matched || a.Reinvoked() && !r.needed[keyOf(i)] {
			continue
		}
		in.Namespace = namespace
		before := a.Object
		for c := range compiled.changes {
			if in.Object, _, err = match.Versioned(ctx, a, i.as.Kind); err != nil {
				return nil, apierrors.NewInternalError(err)
			}
			obj, err := compiled.changes[c].make(ctx, a.Catalog, compiled.compiler, in, i.as.Kind)
			if err == nil && obj != in.Object {
				obj, err = a.Catalog.Convert(ctx, obj, i.as.Kind, a.Kind)
				if err == nil {
					a.Object = obj
				}
			}
			var status *apierrors.StatusError
			if errors.As(err, &status) {
				return nil, err
			}
			if err != nil && i.policy.failClosed {
				denied = append(denied, newDenial(i.policy.name, i.binding, err, metav1.StatusReasonInvalid))
			}
		}
		if !apiequality.Semantic.DeepEqual(before, a.Object) {
			r.changed()
			if !a.Reinvoked() {
				a.Reinvoke()
			}
		}
		if compiled.again {
			r.called[keyOf(i)] = true
		}
	}
	if len(r.called) > 0 {
		r.after = a.Object.DeepCopyObject()
	}
	return denied, nil
}

// denial is a policy that could not be applied, and must be.
type denial struct {
	message string
	reason  metav1.StatusReason
}

func newDenial(policy string, b *binding, err error, reason metav1.StatusReason) denial {
	if b == nil {
		return denial{fmt.Sprintf("policy %q denied request: %s", policy, err), reason}
	}
	return denial{fmt.Sprintf("policy '%s' with binding '%s' denied request: %s", policy, b.name, err), reason}
}

func outcome(a *admission.Attributes, denied []denial) error {
	if len(denied) == 0 {
		return nil
	}
	err := a.Forbidden(errors.New("admission request denied by policy"))
	var status *apierrors.StatusError
	if !errors.As(err, &status) {
		return err
	}
	status.ErrStatus.Message = denied[0].message
	if denied[0].reason != "" {
		status.ErrStatus.Reason = denied[0].reason
	}
	for _, d := range denied {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{Message: d.message})
	}
	return err
}

package policy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/match"
)

// Validate implements admission.Validator. It also keeps the policies themselves, of
// both kinds, from reading what their writers may not.
func (v *Validating) Validate(ctx context.Context, a *admission.Attributes) error {
	if exempt(a) {
		return v.config.authorise(ctx, a)
	}
	policies, err := v.known.read(ctx, a)
	if err != nil || len(policies) == 0 {
		return err
	}
	invoke, wrong := matching(ctx, a, policies)
	if len(invoke) == 0 && len(wrong) == 0 {
		return nil
	}
	r := &ruling{a: a}
	for _, w := range wrong {
		if w.policy.failClosed {
			r.deny(w.policy.name, w.binding, w.message().Error(), "")
		}
	}
	if len(invoke) > 0 {
		if err := v.evaluate(ctx, a, invoke, r); err != nil {
			return err
		}
	}
	return r.outcome()
}

func (v *Validating) evaluate(ctx context.Context, a *admission.Attributes, invoke []invocation[validation], r *ruling) error {
	namespace, err := namespaceOf(ctx, a)
	if err != nil {
		return err
	}
	for _, i := range invoke {
		object, old, err := match.Versioned(ctx, a, i.as.Kind)
		if err != nil {
			if i.policy.failClosed {
				r.deny(i.policy.name, i.binding, fmt.Sprintf("failed to configure binding: failed to convert object version: %v", err), "")
			}
			continue
		}
		in := v.config.input(a, i.as, i.param, object, old)
		in.Namespace = namespace
		failures := i.policy.compiled().evaluate(ctx, in, func(key, value string) { r.annotate(i.policy.name+"/"+key, value) })
		for _, f := range failures {
			if !f.broken || i.policy.failClosed {
				r.apply(i.policy.name, i.binding, f)
			}
		}
	}
	return nil
}

// ruling gathers what comes of all policies.
type ruling struct {
	a      *admission.Attributes
	denied []refusal
	audit  []auditedFailure
	// annotations in the order of their keys' first values.
	keys   []string
	values map[string][]string
}

type refusal struct {
	message string
	reason  metav1.StatusReason
}

// auditedFailure is the form of the annotation by which the audit log tells of
// failures.
type auditedFailure struct {
	Message           string                         `json:"message"`
	Policy            string                         `json:"policy"`
	Binding           string                         `json:"binding"`
	ExpressionIndex   int                            `json:"expressionIndex"`
	ValidationActions []admissionv1.ValidationAction `json:"validationActions"`
}

const (
	maxAudited = 50
	auditKey   = "validation.policy.admission.k8s.io/validation_failure"
)

func (r *ruling) deny(policy string, b *binding, message string, reason metav1.StatusReason) {
	text := fmt.Sprintf("ValidatingAdmissionPolicy '%s' denied request: %s", policy, message)
	if b != nil {
		text = fmt.Sprintf("ValidatingAdmissionPolicy '%s' with binding '%s' denied request: %s", policy, b.name, message)
	}
	r.denied = append(r.denied, refusal{text, reason})
}

// apply does with a failure what the binding says.
func (r *ruling) apply(policy string, b *binding, f failure) {
	if f.annotation {
		r.deny(policy, b, f.message, f.reason)
		return
	}
	for _, action := range b.actions {
		switch action {
		case admissionv1.Deny:
			r.deny(policy, b, f.message, f.reason)
		case admissionv1.Audit:
			r.audit = append(r.audit, auditedFailure{f.message, policy, b.name, f.index, b.actions})
		case admissionv1.Warn:
			r.a.Warn(fmt.Sprintf("Validation failed for ValidatingAdmissionPolicy '%s' with binding '%s': %s", policy, b.name, f.message))
		}
	}
}

// annotate: several parameters may give one key several values.
func (r *ruling) annotate(key, value string) {
	if r.values == nil {
		r.values = map[string][]string{}
	}
	if r.values[key] == nil {
		r.keys = append(r.keys, key)
	}
	if !slices.Contains(r.values[key], value) {
		r.values[key] = append(r.values[key], value)
	}
}

func (r *ruling) outcome() error {
	for _, key := range r.keys {
		r.a.Audit(key, strings.Join(r.values[key], ", "))
	}
	if len(r.audit) > 0 {
		if text, err := json.Marshal(r.audit[:min(len(r.audit), maxAudited)]); err == nil {
			r.a.Audit(auditKey, string(text))
		}
	}
	if len(r.denied) == 0 {
		return nil
	}
	first := r.denied[0]
	err := r.a.Forbidden(errors.New(first.message))
	var status *apierrors.StatusError
	if errors.As(err, &status) {
		status.ErrStatus.Reason, status.ErrStatus.Code = first.reason, http.StatusUnprocessableEntity
		switch first.reason {
		case "":
			status.ErrStatus.Reason = metav1.StatusReasonInvalid
		case metav1.StatusReasonForbidden:
			status.ErrStatus.Code = http.StatusForbidden
		case metav1.StatusReasonRequestEntityTooLarge:
			status.ErrStatus.Code = http.StatusRequestEntityTooLarge
		}
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{Message: first.message})
	}
	return err
}

// Package webhook is admission by others: the webhooks that clients register with
// MutatingWebhookConfiguration and ValidatingWebhookConfiguration objects, asked
// over HTTPS (https://kubernetes.io/docs/reference/access-authn-authz/extensible-admission-controllers/).
//
// Mutating webhooks are called one after another, in the order of the names of their
// configurations, and again where a later plugin changed the object and they ask for
// that; validating ones all at once. What matches is decided by package match, how a
// call is made by apiserver/webhook.
package webhook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	admissionreview "k8s.io/api/admission/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/uuid"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/celexpr"
	"github.com/strake-io/strake/apiserver/admission/match"
	"github.com/strake-io/strake/apiserver/codec"
	client "github.com/strake-io/strake/apiserver/webhook"
)

// Config is what both plugins need.
type Config struct {
	// Caller reaches the webhooks. Required.
	Caller *client.Caller
	// Authorizer answers the checks in match conditions; nil allows nothing.
	Authorizer authorizer.UnconditionalAuthorizer
}

// Mutating is the plugin MutatingAdmissionWebhook.
type Mutating struct {
	config Config
	known  configured
}

// NewMutating makes the plugin.
func NewMutating(c Config) *Mutating {
	return &Mutating{config: c, known: configured{read: mutatingHooks, resource: schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"}}}
}

// Name implements admission.Plugin.
func (*Mutating) Name() string { return "MutatingAdmissionWebhook" }

// Validating is the plugin ValidatingAdmissionWebhook.
type Validating struct {
	config Config
	known  configured
}

// NewValidating makes the plugin.
func NewValidating(c Config) *Validating {
	return &Validating{config: c, known: configured{read: validatingHooks, resource: schema.GroupResource{Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations"}}}
}

// Name implements admission.Plugin.
func (*Validating) Name() string { return "ValidatingAdmissionWebhook" }

// run is what one write remembers of its mutating webhooks.
type run struct {
	called map[string]bool // those that ask to be called again
	needed map[string]bool
	after  runtime.Object // the object as the last of them left it
}

type runKey struct{}

// Admit implements admission.Mutator.
func (m *Mutating) Admit(ctx context.Context, a *admission.Attributes) error {
	hooks, err := m.known.hooks(ctx, a)
	if err != nil || len(hooks) == 0 || match.ExemptFromWebhooks(a) {
		return err
	}
	r, _ := a.Remembered(runKey{}).(*run)
	if r == nil {
		r = &run{called: map[string]bool{}, needed: map[string]bool{}}
		a.Remember(runKey{}, r)
	}
	if a.Reinvoked() && r.after != nil && !apiequality.Semantic.DeepEqual(r.after, a.Object) {
		// Somebody changed it after all webhooks had seen it.
		for key := range r.called {
			r.needed[key] = true
		}
	}
	for i := range hooks {
		h := &hooks[i]
		if a.Reinvoked() && !r.needed[h.key()] {
			continue
		}
		as, matched, err := h.matches(ctx, a, m.config.Authorizer)
		if err != nil {
			return err
		}
		if !matched {
			continue
		}
		changed, err := m.mutate(ctx, a, h, as)
		if err != nil {
			return err
		}
		if changed && !a.Reinvoked() {
			for key := range r.called {
				r.needed[key] = true
			}
			a.Reinvoke()
		}
		if h.again {
			r.called[h.key()] = true
		}
	}
	if a.Object != nil {
		r.after = a.Object.DeepCopyObject()
	}
	return nil
}

func (m *Mutating) mutate(ctx context.Context, a *admission.Attributes, h *hook, as admission.Served) (changed bool, err error) {
	shown, response, err := call(ctx, m.config.Caller, a, h, as)
	if err != nil {
		return false, h.outcome(a, err)
	}
	if len(response.Patch) == 0 || a.Object == nil || a.Operation == admission.Connect {
		return false, nil
	}
	if response.PatchType == nil || *response.PatchType != admissionreview.PatchTypeJSONPatch {
		return false, h.outcome(a, fmt.Errorf("unsupported patch type in response of %q", h.name))
	}
	patched, err := patch(shown, response.Patch)
	if err != nil {
		return false, h.outcome(a, err)
	}
	obj, err := a.Catalog.Decode(as.Kind, patched)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	if obj, err = a.Catalog.Convert(ctx, obj, as.Kind, a.Kind); err != nil {
		return false, err
	}
	if apiequality.Semantic.DeepEqual(obj, a.Object) {
		return false, nil
	}
	a.Object = obj
	return true, nil
}

// maxOperations of a patch, upstream's bound.
const maxOperations = 10_000

func patch(obj runtime.Object, text []byte) ([]byte, error) {
	operations, err := jsonpatch.DecodePatch(text)
	if err != nil {
		return nil, err
	}
	if len(operations) > maxOperations {
		return nil, fmt.Errorf("the patch has %d operations, more than %d", len(operations), maxOperations)
	}
	data, err := json.Marshal(obj)
	if err != nil {
		return nil, err
	}
	return operations.Apply(data)
}

// Validate implements admission.Validator.
func (v *Validating) Validate(ctx context.Context, a *admission.Attributes) error {
	hooks, err := v.known.hooks(ctx, a)
	if err != nil || len(hooks) == 0 || match.ExemptFromWebhooks(a) {
		return err
	}
	var wait sync.WaitGroup
	failures := make([]error, len(hooks))
	told := make([]func(), len(hooks))
	for i := range hooks {
		h := &hooks[i]
		as, matched, err := h.matches(ctx, a, v.config.Authorizer)
		if err != nil {
			failures[i] = err
			break
		}
		if !matched {
			continue
		}
		// What the others may say at the same time is said one after another.
		own := *a
		var said []func()
		own.Warn = func(message string) { said = append(said, func() { a.Warn(message) }) }
		if a.Annotate != nil {
			own.Annotate = func(key, value string) { said = append(said, func() { a.Annotate(key, value) }) }
		}
		told[i] = func() {
			for _, say := range said {
				say()
			}
		}
		wait.Go(func() {
			if _, _, err := call(ctx, v.config.Caller, &own, h, as); err != nil {
				failures[i] = h.outcome(&own, err)
			}
		})
	}
	wait.Wait()
	for i := range hooks {
		if told[i] != nil {
			told[i]()
		}
	}
	for _, err := range failures {
		if err != nil {
			return err
		}
	}
	return nil
}

// matches says whether a webhook is to be asked. A condition that fails counts as a
// failure of the webhook.
func (h *hook) matches(ctx context.Context, a *admission.Attributes, authz authorizer.UnconditionalAuthorizer) (admission.Served, bool, error) {
	if h.broken != nil {
		return admission.Served{}, false, h.outcome(a, h.broken)
	}
	as, ok, err := h.criteria.Match(ctx, a)
	if err != nil || !ok || h.conditions == nil {
		return as, ok, err
	}
	in, err := input(ctx, a, as, authz)
	if err != nil {
		return as, false, err
	}
	evaluator, err := h.compiler.Evaluate(ctx, in)
	if err == nil {
		ok, err = h.conditions.Match(evaluator)
	}
	if err != nil {
		if h.ignore {
			return as, false, nil
		}
		return as, false, a.Forbidden(err)
	}
	return as, ok, nil
}

func input(ctx context.Context, a *admission.Attributes, as admission.Served, authz authorizer.UnconditionalAuthorizer) (celexpr.Input, error) {
	object, old, err := versioned(ctx, a, as)
	if err != nil {
		return celexpr.Input{}, err
	}
	in := celexpr.Input{
		Object: object, Old: old, Request: celexpr.Request(a, as), User: a.User, Resource: celexpr.Checked{Attributes: a}, Authorizer: authz,
	}
	if in.Authorizer == nil {
		in.Authorizer = authorizer.AuthorizerFunc(func(context.Context, authorizer.Attributes) (authorizer.Decision, string, error) {
			return authorizer.DecisionNoOpinion, "", nil
		})
	}
	if a.Namespace != "" {
		ns, err := a.Objects.Get(ctx, schema.GroupResource{Resource: "namespaces"}, "", a.Namespace)
		if err == nil {
			in.Namespace = celexpr.Namespace(ns.(*corev1.Namespace))
		}
	}
	return in, nil
}

// versioned are the objects of a write in the version that matched, with their kind.
func versioned(ctx context.Context, a *admission.Attributes, as admission.Served) (object, old runtime.Object, err error) {
	show := func(obj runtime.Object) (runtime.Object, error) {
		if obj == nil {
			return nil, nil
		}
		if as.Kind != a.Kind {
			converted, err := a.Catalog.Convert(ctx, obj, a.Kind, as.Kind)
			if err != nil {
				return nil, err
			}
			obj = converted
		}
		return codec.WithKind(obj, as.Kind), nil
	}
	if object, err = show(a.Object); err != nil {
		return nil, nil, err
	}
	old, err = show(a.Old)
	return object, old, err
}

// denied is a webhook's own refusal: its failure policy has nothing to say to it.
type denied struct{ error }

// call asks a webhook. shown is the object as it was sent.
func call(ctx context.Context, caller *client.Caller, a *admission.Attributes, h *hook, as admission.Served) (shown runtime.Object, response *admissionreview.AdmissionResponse, err error) {
	if a.DryRun && !h.dryRun {
		return nil, nil, denied{apierrors.NewBadRequest(fmt.Sprintf("admission webhook %q does not support dry run", h.name))}
	}
	shown, old, err := versioned(ctx, a, as)
	if err != nil {
		return nil, nil, err
	}
	request := celexpr.Request(a, as)
	request.UID = uuid.NewUUID()
	request.Object, request.OldObject = runtime.RawExtension{Object: shown}, runtime.RawExtension{Object: old}
	review := &admissionreview.AdmissionReview{
		TypeMeta: metav1.TypeMeta{Kind: "AdmissionReview", APIVersion: "admission.k8s.io/v1"}, Request: request,
	}
	if h.v1beta1 {
		review.APIVersion = "admission.k8s.io/v1beta1"
	}
	var answer admissionreview.AdmissionReview
	if err := caller.Post(ctx, h.target, h.timeout, review, &answer); err != nil {
		return nil, nil, fmt.Errorf("failed to call webhook: %w", err)
	}
	if err := check(&answer, review); err != nil {
		return nil, nil, err
	}
	r := answer.Response
	for key, value := range r.AuditAnnotations {
		a.Audit(h.name+"/"+key, value)
	}
	for _, w := range r.Warnings {
		a.Warn(w)
	}
	if !r.Allowed {
		return nil, nil, denied{refusal(h.name, r.Result)}
	}
	return shown, r, nil
}

// check holds an answer to what version 1 asks of it; older webhooks may be laxer.
func check(answer, review *admissionreview.AdmissionReview) error {
	if answer.Response == nil {
		return errors.New("webhook response was absent")
	}
	if review.APIVersion != "admission.k8s.io/v1" {
		if answer.Response.PatchType == nil && len(answer.Response.Patch) > 0 {
			kind := admissionreview.PatchTypeJSONPatch
			answer.Response.PatchType = &kind
		}
		return nil
	}
	if answer.APIVersion != review.APIVersion || answer.Kind != review.Kind {
		return fmt.Errorf("expected webhook response of %v, got %v", review.GroupVersionKind().String(), answer.GroupVersionKind().String())
	}
	if answer.Response.UID != review.Request.UID {
		return fmt.Errorf("expected response.uid=%q, got %q", review.Request.UID, answer.Response.UID)
	}
	hasPatch, hasType := len(answer.Response.Patch) > 0, answer.Response.PatchType != nil && *answer.Response.PatchType != ""
	switch {
	case hasPatch && !hasType:
		return errors.New("webhook returned response.patch but not response.patchType")
	case !hasPatch && hasType:
		return errors.New("webhook returned response.patchType but not response.patch")
	}
	return nil
}

// refusal is what the client is told of a webhook that said no.
func refusal(name string, result *metav1.Status) error {
	by := fmt.Sprintf("admission webhook %q denied the request", name)
	status := metav1.Status{}
	if result != nil {
		status = *result
	}
	if status.Code < http.StatusBadRequest {
		status.Code = http.StatusBadRequest
	}
	if status.Status == "" || status.Status == metav1.StatusSuccess {
		status.Status = metav1.StatusFailure
	}
	switch {
	case status.Message != "":
		status.Message = by + ": " + status.Message
	case status.Reason != "":
		status.Message = by + ": " + string(status.Reason)
	default:
		status.Message = by + " without explanation"
	}
	return &apierrors.StatusError{ErrStatus: status}
}

// outcome is what an error of a call means for the write.
func (h *hook) outcome(a *admission.Attributes, err error) error {
	var no denied
	if errors.As(err, &no) {
		return no.error
	}
	if h.ignore {
		a.Audit("failed-open."+h.name, err.Error())
		return nil
	}
	return apierrors.NewInternalError(h.failed(err))
}

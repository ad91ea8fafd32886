package webhook

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	admissionreview "k8s.io/api/admission/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/uuid"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/celexpr"
	"github.com/strake-io/strake/apiserver/admission/match"
)

// refused is an error that the failure policy of a webhook has nothing to say to: its
// own refusal, or a mistake in what it wants.
type refused struct{ error }

// ask calls a webhook. shown is the object as it was sent. An error is a refusal, or
// a failure of the call; a response that comes with none allows the write.
func (c Config) ask(ctx context.Context, a *admission.Attributes, h *hook, as admission.Served, mutating bool) (shown runtime.Object, response *admissionreview.AdmissionResponse, err error) {
	if a.DryRun && !h.dryRun {
		return nil, nil, refused{apierrors.NewBadRequest(fmt.Sprintf("admission webhook %q does not support dry run", h.name))}
	}
	if h.review == "" {
		return nil, nil, errors.New("could not create admission objects: webhook does not accept known AdmissionReview versions (v1, v1beta1)")
	}
	shown, old, err := match.Versioned(ctx, a, as.Kind)
	if err != nil {
		return nil, nil, refused{apierrors.NewInternalError(err)}
	}
	request := celexpr.Request(a, as)
	request.UID = uuid.NewUUID()
	request.Object, request.OldObject = runtime.RawExtension{Object: shown}, runtime.RawExtension{Object: old}
	// Both versions have the same fields.
	review := &admissionreview.AdmissionReview{
		TypeMeta: metav1.TypeMeta{Kind: "AdmissionReview", APIVersion: "admission.k8s.io/" + h.review}, Request: request,
	}
	var answer admissionreview.AdmissionReview
	if err := c.Caller.Post(ctx, h.target, h.timeout, review, &answer); err != nil {
		return nil, nil, fmt.Errorf("failed to call webhook: %w", err)
	}
	if err := check(&answer, review, mutating); err != nil {
		return nil, nil, fmt.Errorf("received invalid webhook response: %w", err)
	}
	r := answer.Response
	for key, value := range r.AuditAnnotations {
		a.Audit(h.name+"/"+key, value)
	}
	for _, w := range r.Warnings {
		a.Warn(w)
	}
	if !r.Allowed {
		return nil, nil, refused{denial(h.name, r.Result)}
	}
	return shown, r, nil
}

// check holds an answer to what version 1 asks of it; older webhooks may be laxer.
func check(answer, review *admissionreview.AdmissionReview, mutating bool) error {
	r := answer.Response
	if r == nil {
		return errors.New("webhook response was absent")
	}
	if review.APIVersion == "admission.k8s.io/v1beta1" {
		kind := admissionreview.PatchTypeJSONPatch
		r.PatchType = &kind
		return nil
	}
	if r.UID != review.Request.UID {
		return fmt.Errorf("expected response.uid=%q, got %q", review.Request.UID, r.UID)
	}
	if answer.GroupVersionKind() != review.GroupVersionKind() {
		return fmt.Errorf("expected webhook response of %v, got %v", review.GroupVersionKind().String(), answer.GroupVersionKind().String())
	}
	switch hasPatch, hasType := len(r.Patch) > 0, r.PatchType != nil; {
	case !mutating && hasPatch:
		return errors.New("validating webhook may not return response.patch")
	case !mutating && hasType:
		return errors.New("validating webhook may not return response.patchType")
	case hasPatch && !hasType:
		return errors.New("webhook returned response.patch but not response.patchType")
	case !hasPatch && hasType:
		return errors.New("webhook returned response.patchType but not response.patch")
	case hasType && *r.PatchType == "":
		return fmt.Errorf("webhook returned invalid response.patchType of %q", *r.PatchType)
	}
	return nil
}

// denial is what the client is told of a webhook that said no.
func denial(name string, result *metav1.Status) error {
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

// outcome is what an error of a call means for the write; key is that of the
// annotation that says that it was let pass.
func (h *hook) outcome(ctx context.Context, a *admission.Attributes, err error, key string) error {
	var no refused
	if errors.As(err, &no) {
		return no.error
	}
	if !h.ignore {
		return apierrors.NewInternalError(fmt.Errorf("failed calling webhook %q: %w", h.name, err))
	}
	if ctx.Err() != nil {
		// It is the write itself that is out of time, not the webhook alone.
		return errTimeout()
	}
	a.Audit(key, h.name)
	return nil
}

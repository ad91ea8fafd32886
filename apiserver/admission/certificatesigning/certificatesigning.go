// Package certificatesigning is the admission plugin that asks whether who answers a
// request for a certificate may do so for the request's signer.
package certificatesigning

import (
	"context"
	"fmt"
	"reflect"

	certificatesv1 "k8s.io/api/certificates/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/signers"
)

// Plugin implements admission.Validator.
type Plugin struct {
	Authorizer authorizer.UnconditionalAuthorizer
}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "CertificateSigning" }

// Validate implements admission.Validator.
func (p Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Operation != admission.Update || a.Subresource != "status" || a.Resource.GroupResource() != certificatesv1.Resource("certificatesigningrequests") {
		return nil
	}
	old, ok := a.Old.(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return a.Forbidden(fmt.Errorf("expected type CertificateSigningRequest, got: %T", a.Old))
	}
	request, ok := a.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return a.Forbidden(fmt.Errorf("expected type CertificateSigningRequest, got: %T", a.Object))
	}
	if reflect.DeepEqual(old.Status.Certificate, request.Status.Certificate) &&
		apiequality.Semantic.DeepEqual(old.Status.Conditions, request.Status.Conditions) {
		return nil
	}
	if signer := old.Spec.SignerName; !signers.May(ctx, p.Authorizer, a.User, "sign", signer) {
		return a.Forbidden(fmt.Errorf("user not permitted to sign requests with signerName %q", signer))
	}
	return nil
}

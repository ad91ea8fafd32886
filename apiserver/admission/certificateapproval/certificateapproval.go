// Package certificateapproval is the admission plugin that asks whether who approves
// or denies a request for a certificate may do so for the request's signer.
package certificateapproval

import (
	"context"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/signers"
)

// Plugin implements admission.Validator.
type Plugin struct {
	Authorizer authorizer.UnconditionalAuthorizer
}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "CertificateApproval" }

// Validate implements admission.Validator.
func (p Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Operation != admission.Update || a.Subresource != "approval" || a.Resource.GroupResource() != certificatesv1.Resource("certificatesigningrequests") {
		return nil
	}
	// The signer that is stored, whatever the update says.
	request, ok := a.Old.(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return a.Forbidden(fmt.Errorf("expected type CertificateSigningRequest, got: %T", a.Old))
	}
	if signer := request.Spec.SignerName; !signers.May(ctx, p.Authorizer, a.User, "approve", signer) {
		return a.Forbidden(fmt.Errorf("user not permitted to approve requests with signerName %q", signer))
	}
	return nil
}

// Package clustertrustbundleattest is the admission plugin that asks whether who
// writes a trust bundle for a signer may attest for that signer.
package clustertrustbundleattest

import (
	"context"
	"fmt"

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
func (Plugin) Name() string { return "ClusterTrustBundleAttest" }

// Validate implements admission.Validator.
func (p Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Operation != admission.Create && a.Operation != admission.Update || a.Resource.GroupResource() != certificatesv1.Resource("clustertrustbundles") {
		return nil
	}
	bundle, ok := a.Object.(*certificatesv1.ClusterTrustBundle)
	if !ok {
		return a.Forbidden(fmt.Errorf("expected type ClusterTrustBundle, got: %T", a.Old))
	}
	// The signer of a bundle does not change: validation sees to that.
	signer := bundle.Spec.SignerName
	if signer == "" {
		return nil
	}
	if old, ok := a.Old.(*certificatesv1.ClusterTrustBundle); ok && says(bundle, old) {
		return nil
	}
	if !signers.May(ctx, p.Authorizer, a.User, "attest", signer) {
		return a.Forbidden(fmt.Errorf("user not permitted to attest for signerName %q", signer))
	}
	return nil
}

// says: the new bundle says what the old one does. A garbage collector, and who has all
// objects stored again, need not attest for anybody.
func says(bundle, old *certificatesv1.ClusterTrustBundle) bool {
	same := bundle.DeepCopy()
	same.OwnerReferences, same.Finalizers = old.OwnerReferences, old.Finalizers
	same.ManagedFields, same.ResourceVersion = old.ManagedFields, old.ResourceVersion
	return apiequality.Semantic.DeepEqual(same, old)
}

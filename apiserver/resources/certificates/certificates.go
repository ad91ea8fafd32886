// Package certificates declares the resources of certificates.k8s.io/v1: requests
// for certificates, which somebody approves and a signer answers, those that kubelets
// make for pods, and bundles of certificates to trust signers by.
package certificates

import (
	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/resource"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{signingRequests(), podRequests(), trustBundles()}
}

func gvk(kind string) schema.GroupVersionKind {
	return certificatesv1.SchemeGroupVersion.WithKind(kind)
}

// Package noderestriction is the admission plugin that holds nodes to what is theirs:
// their own Node, lease and CSINode, the pods that are bound to them, tokens and
// certificates for those pods. It sees what the authoriser of nodes (authz/node)
// cannot: the objects.
//
// Upstream's document: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#noderestriction.
package noderestriction

import (
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/authz/node"
)

// Plugin implements admission.Mutator, though it changes nothing: its place is before
// those that do. Nodes that share a credential ([node.Shared]) are not restricted:
// nobody can tell them apart.
type Plugin struct {
	// Authorizer is asked whether a node may have tokens for an audience, or
	// certificates of a signer, that its pod does not name.
	Authorizer authorizer.UnconditionalAuthorizer
}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "NodeRestriction" }

// call is one write of a node.
type call struct {
	*admission.Attributes
	ctx        context.Context
	node       string
	authorizer authorizer.UnconditionalAuthorizer
}

// Admit implements admission.Mutator.
func (p Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	name, isNode := node.Identity(a.User)
	if !isNode || a.Operation == admission.Connect || a.User.GetName() == node.Shared {
		return nil
	}
	c := call{Attributes: a, ctx: ctx, node: name, authorizer: p.Authorizer}
	if name == "" {
		return c.refuse("could not determine node from user %q", a.User.GetName())
	}
	switch a.Resource.Group + "/" + a.Resource.Resource {
	case "/pods":
		return c.pod()
	case "/nodes":
		return c.ownNode()
	case "/persistentvolumeclaims":
		if a.Subresource == "status" {
			return c.claimStatus()
		}
		return c.refuse("may only update PVC status")
	case "/serviceaccounts":
		return c.token()
	case "certificates.k8s.io/podcertificaterequests":
		return c.podCertificate()
	case "coordination.k8s.io/leases":
		return c.lease()
	case "storage.k8s.io/csinodes":
		return c.csiNode()
	case "resource.k8s.io/resourceslices":
		return c.slice()
	case "certificates.k8s.io/certificatesigningrequests":
		return c.certificate()
	}
	return nil
}

func (c *call) refuse(format string, args ...any) error {
	return c.Forbidden(fmt.Errorf(format, args...))
}

func (c *call) unexpected(obj any) error { return c.refuse("unexpected type %T", obj) }

// find reads an object that a decision depends on. An object that is not there is a
// 404 that calls its kind by the singular, as upstream's listers do.
func find[T any](c *call, resource, singular, namespace, name string) (*T, error) {
	obj, err := c.Objects.Get(c.ctx, schema.GroupResource{Resource: resource}, namespace, name)
	if apierrors.IsNotFound(err) {
		return nil, apierrors.NewNotFound(schema.GroupResource{Resource: singular}, name)
	}
	if err != nil {
		return nil, err
	}
	found, ok := obj.(any).(*T)
	if !ok {
		return nil, fmt.Errorf("unexpected type %T", obj)
	}
	return found, nil
}

// proposed is the name of the object, the new one's on a create.
func (c *call) proposed() string {
	if c.Operation != admission.Create {
		return c.Attributes.Name
	}
	if accessor, err := meta.Accessor(c.Object); err == nil {
		return accessor.GetName()
	}
	return ""
}

func (c *call) lease() error {
	if c.Namespace != corev1.NamespaceNodeLease {
		return c.refuse("can only access leases in the %q system namespace", corev1.NamespaceNodeLease)
	}
	if c.proposed() != c.node {
		return c.refuse("can only access node lease with the same name as the requesting node")
	}
	return nil
}

func (c *call) csiNode() error {
	if c.proposed() != c.node {
		return c.refuse("can only access CSINode with the same name as the requesting node")
	}
	if c.Subresource == "status" {
		return c.refuse("CSIVolumeHealth feature gate is disabled")
	}
	return nil
}

// slice: what is changed was found to be the node's when it was authorised.
func (c *call) slice() error {
	obj, verb := c.Object, "create"
	switch c.Operation {
	case admission.Create:
	case admission.Delete:
		obj, verb = c.Old, "delete"
	default:
		return nil
	}
	s, ok := obj.(*resourcev1.ResourceSlice)
	if !ok {
		return c.unexpected(obj)
	}
	if s.Spec.NodeName == nil || *s.Spec.NodeName != c.node {
		return c.refuse("can only %s ResourceSlice with the same NodeName as the requesting node", verb)
	}
	return nil
}

// certificate: a node asks for certificates in its own name only.
func (c *call) certificate() error {
	if c.Operation != admission.Create {
		return nil
	}
	request, ok := c.Object.(*certificatesv1.CertificateSigningRequest)
	if !ok {
		return c.unexpected(c.Object)
	}
	switch request.Spec.SignerName {
	case certificatesv1.KubeletServingSignerName, certificatesv1.KubeAPIServerClientKubeletSignerName:
	default:
		return nil
	}
	parsed, err := parseRequest(request.Spec.Request)
	if err != nil {
		return c.refuse("unable to parse csr: %w", err)
	}
	if parsed.Subject.CommonName != "system:node:"+c.node {
		return c.refuse("can only create a node CSR with CN=system:node:%s", c.node)
	}
	return nil
}

func parseRequest(data []byte) (*x509.CertificateRequest, error) {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return nil, errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	return x509.ParseCertificateRequest(block.Bytes)
}

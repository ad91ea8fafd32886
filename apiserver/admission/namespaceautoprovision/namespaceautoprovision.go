// Package namespaceautoprovision is the admission plugin that makes the namespace of a
// new object if there is none. It is off unless a program adds it.
// See https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#namespaceautoprovision.
package namespaceautoprovision

import (
	"context"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/admission"
)

// Plugin implements admission.Mutator: it changes nothing, but is heard before who
// refuses objects in namespaces that are not there.
type Plugin struct {
	// Create writes a namespace, by a client of the server that the plugin belongs to.
	// It is called while the server answers another write, and by several at a time.
	Create func(ctx context.Context, ns *corev1.Namespace) error
}

var namespaces = schema.GroupResource{Resource: "namespaces"}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "NamespaceAutoProvision" }

// Admit implements admission.Mutator.
func (p Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	if a.Operation != admission.Create || a.DryRun || a.Namespace == "" || a.Resource.GroupResource() == namespaces {
		return nil
	}
	_, err := a.Objects.Get(ctx, namespaces, "", a.Namespace)
	if err == nil {
		return nil
	}
	if !apierrors.IsNotFound(err) {
		return a.Forbidden(err)
	}
	err = p.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: a.Namespace}})
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return a.Forbidden(err)
	}
	return nil
}

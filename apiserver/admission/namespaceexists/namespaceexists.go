// Package namespaceexists is the admission plugin that refuses every write in a
// namespace that does not exist, updates and deletes too. It is off unless a program
// adds it. See https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#namespaceexists.
package namespaceexists

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/admission"
)

// Plugin implements admission.Validator. The zero value is ready to use.
type Plugin struct{}

var namespaces = schema.GroupResource{Resource: "namespaces"}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "NamespaceExists" }

// Validate implements admission.Validator.
func (Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Operation == admission.Connect || a.Namespace == "" || a.Resource.GroupResource() == namespaces {
		return nil
	}
	_, err := a.Objects.Get(ctx, namespaces, "", a.Namespace)
	if err != nil && !apierrors.IsNotFound(err) {
		return apierrors.NewInternalError(err)
	}
	return err
}

// Package namespacelifecycle is the admission plugin that lets objects only into
// namespaces that exist and are not being deleted, and that keeps the system's own
// namespaces from being deleted.
package namespacelifecycle

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/admission"
)

// Plugin implements admission.Mutator: it changes nothing, but is heard before what
// is written has been completed or validated. The zero value is ready to use.
//
// It waits for no cache and has no list of namespaces to look up again, because it
// reads what the last answered write left.
type Plugin struct{}

var namespaces = schema.GroupResource{Resource: "namespaces"}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "NamespaceLifecycle" }

// Admit implements admission.Mutator.
func (Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	resource := a.Resource.GroupResource()
	if resource == namespaces {
		if a.Operation == admission.Delete && immortal(a.Name) {
			return apierrors.NewForbidden(resource, a.Name, errors.New("this namespace may not be deleted"))
		}
		return nil
	}
	if a.Operation != admission.Create || a.Namespace == "" || accessReview(resource) {
		return nil
	}
	obj, err := a.Objects.Get(ctx, namespaces, "", a.Namespace)
	switch {
	case apierrors.IsNotFound(err):
		return err
	case err != nil:
		return apierrors.NewInternalError(err)
	}
	if ns, ok := obj.(*corev1.Namespace); !ok || ns.Status.Phase != corev1.NamespaceTerminating {
		return nil
	}
	refusal := a.Forbidden(fmt.Errorf("unable to create new content in namespace %s because it is being terminated", a.Namespace))
	if status := (*apierrors.StatusError)(nil); errors.As(refusal, &status) && status.ErrStatus.Details != nil {
		status.ErrStatus.Details.Causes = append(status.ErrStatus.Details.Causes, metav1.StatusCause{
			Type:    corev1.NamespaceTerminatingCause,
			Message: fmt.Sprintf("namespace %s is being terminated", a.Namespace),
			Field:   "metadata.namespace",
		})
	}
	return refusal
}

func immortal(name string) bool {
	return name == metav1.NamespaceDefault || name == metav1.NamespaceSystem || name == metav1.NamespacePublic
}

// accessReview: to refuse a question about a namespace that is not there would tell
// which there are.
func accessReview(r schema.GroupResource) bool {
	return r.Group == "authorization.k8s.io" && r.Resource == "localsubjectaccessreviews"
}

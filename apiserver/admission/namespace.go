package admission

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// NamespaceLifecycle lets objects into namespaces that exist and are not being
// deleted, and keeps the system's own namespaces from being deleted. The zero
// value is ready to use.
type NamespaceLifecycle struct{}

var namespaces = schema.GroupResource{Resource: "namespaces"}

// Name implements Plugin.
func (NamespaceLifecycle) Name() string { return "NamespaceLifecycle" }

// Validate implements Validator.
func (NamespaceLifecycle) Validate(ctx context.Context, a *Attributes) error {
	resource := a.Resource.GroupResource()
	if resource == namespaces {
		if a.Operation == Delete && immortal(a.Name) {
			return apierrors.NewForbidden(resource, a.Name, fmt.Errorf("this namespace may not be deleted"))
		}
		return nil
	}
	if a.Namespace == "" || a.Operation == Delete || a.Operation == Connect || accessReview(resource) {
		return nil
	}
	obj, err := a.Objects.Get(ctx, namespaces, "", a.Namespace)
	switch {
	case apierrors.IsNotFound(err):
		return apierrors.NewNotFound(namespaces, a.Namespace)
	case err != nil:
		return err
	}
	if a.Operation != Create {
		return nil
	}
	ns, ok := obj.(*corev1.Namespace)
	if !ok || ns.DeletionTimestamp == nil && ns.Status.Phase != corev1.NamespaceTerminating {
		return nil
	}
	refusal := apierrors.NewForbidden(resource, a.Name,
		fmt.Errorf("unable to create new content in namespace %s because it is being terminated", a.Namespace))
	refusal.ErrStatus.Details.Causes = append(refusal.ErrStatus.Details.Causes, metav1.StatusCause{
		Type:    corev1.NamespaceTerminatingCause,
		Message: fmt.Sprintf("namespace %s is being terminated", a.Namespace),
		Field:   "metadata.namespace",
	})
	return refusal
}

func immortal(name string) bool {
	return name == metav1.NamespaceDefault || name == metav1.NamespaceSystem || name == metav1.NamespacePublic
}

// accessReview: asking about a namespace that is not there is allowed.
func accessReview(r schema.GroupResource) bool {
	return r.Group == "authorization.k8s.io" && r.Resource == "localsubjectaccessreviews"
}

// Package defaultingressclass is the admission plugin that gives a new ingress without
// a class the cluster's default one, if there is one.
package defaultingressclass

import (
	"context"

	networkingv1 "k8s.io/api/networking/v1"
	networkingv1beta1 "k8s.io/api/networking/v1beta1"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/classes"
)

// Plugin implements admission.Mutator. The zero value is ready to use.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "DefaultIngressClass" }

// Admit implements admission.Mutator.
func (Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	ingress, ok := a.Object.(*networkingv1.Ingress)
	if !ok || a.Operation != admission.Create || a.Subresource != "" || ingress.Spec.IngressClassName != nil {
		return nil
	}
	if _, named := ingress.Annotations[networkingv1beta1.AnnotationIngressClass]; named {
		return nil
	}
	class, err := classes.Default(ctx, a.Objects, networkingv1.Resource("ingressclasses"), networkingv1.AnnotationIsDefaultIngressClass)
	if err != nil {
		return a.Forbidden(err)
	}
	if class != "" {
		ingress.Spec.IngressClassName = &class
	}
	return nil
}

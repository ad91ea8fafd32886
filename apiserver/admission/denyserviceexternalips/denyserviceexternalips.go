// Package denyserviceexternalips is the admission plugin that lets no service get
// external addresses that it does not have yet. It is off unless a program adds it.
// See https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/#denyserviceexternalips.
package denyserviceexternalips

import (
	"context"
	"errors"
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/apiserver/admission"
)

// Plugin implements admission.Validator. The zero value is ready to use.
type Plugin struct{}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "DenyServiceExternalIPs" }

// Validate implements admission.Validator.
func (Plugin) Validate(_ context.Context, a *admission.Attributes) error {
	service, ok := a.Object.(*corev1.Service)
	if !ok || a.Operation != admission.Create && a.Operation != admission.Update || a.Subresource != "" {
		return nil
	}
	var had []string
	if old, ok := a.Old.(*corev1.Service); ok {
		had = old.Spec.ExternalIPs
	}
	for _, ip := range service.Spec.ExternalIPs {
		if !slices.Contains(had, ip) {
			return a.Forbidden(errors.New("Use of external IPs is denied by admission control")) //nolint:staticcheck // upstream's words
		}
	}
	return nil
}

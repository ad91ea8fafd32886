package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"slices"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// decisive are the conditions that are there or not, and never go away.
var decisive = []certificatesv1.RequestConditionType{
	certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed,
}

func conditionsOf(r *certificatesv1.CertificateSigningRequest, of certificatesv1.RequestConditionType) []certificatesv1.CertificateSigningRequestCondition {
	var out []certificatesv1.CertificateSigningRequestCondition
	for _, c := range r.Status.Conditions {
		if c.Type == of {
			out = append(out, c)
		}
	}
	return out
}

func hasCondition(r *certificatesv1.CertificateSigningRequest, of certificatesv1.RequestConditionType) bool {
	return len(conditionsOf(r, of)) > 0
}

// validateConditions checks the conditions of a request; approving: the endpoint may
// add Approved and Denied.
func validateConditions(r, old *certificatesv1.CertificateSigningRequest, approving bool) field.ErrorList {
	const approved, denied = certificatesv1.CertificateApproved, certificatesv1.CertificateDenied
	path := field.NewPath("status", "conditions")
	var errs field.ErrorList
	seen := map[certificatesv1.RequestConditionType]bool{}
	for i, c := range r.Status.Conditions {
		at := path.Index(i)
		if c.Type == "" {
			errs = append(errs, field.Required(at.Child("type"), ""))
		}
		states := []corev1.ConditionStatus{corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown}
		if slices.Contains(decisive, c.Type) {
			states = states[1:2]
		}
		errs = append(errs, rules.Enum(c.Status, at.Child("status"), states...)...)
		if c.Type == approved && seen[denied] || c.Type == denied && seen[approved] {
			errs = append(errs, field.Invalid(path, `{conditions[{"type": "Approved"}], conditions[{"type": "Denied"}]}`,
				"must specify at most one of: `conditions[{\"type\": \"Approved\"}]`, `conditions[{\"type\": \"Denied\"}]`"))
		}
		if seen[c.Type] {
			errs = append(errs, field.Duplicate(at.Child("type"), c.Type))
		}
		seen[c.Type] = true
	}
	for _, t := range decisive {
		have, had := conditionsOf(r, t), conditionsOf(old, t)
		mine := approving || t == certificatesv1.CertificateFailed
		switch {
		case len(have) < len(had):
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("updates may not remove a condition of type %q", t)))
		case mine:
		case len(have) > len(had):
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("updates may not add a condition of type %q", t)))
		case !apiequality.Semantic.DeepEqual(have, had):
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("updates may not modify a condition of type %q\n%v", t, cmp.Diff(had, have))))
		}
	}
	return errs
}

func validateCertificate(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
	path := field.NewPath("status", "certificate")
	if len(old.Status.Certificate) > 0 && !apiequality.Semantic.DeepEqual(r.Status.Certificate, old.Status.Certificate) {
		return field.ErrorList{field.Forbidden(path, "updates may not modify existing certificate content")}
	}
	if len(r.Status.Certificate) == 0 || len(old.Status.Certificate) > 0 {
		return nil
	}
	rest, n := r.Status.Certificate, 0
	for {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		n++
		switch {
		case block.Type != "CERTIFICATE":
			return field.ErrorList{field.Invalid(path, "<certificate data>", fmt.Sprintf("only CERTIFICATE PEM blocks are allowed, found %q", block.Type))}
		case len(block.Headers) > 0:
			return field.ErrorList{field.Invalid(path, "<certificate data>", "no PEM block headers are permitted")}
		}
		if parsed, err := x509.ParseCertificates(block.Bytes); err != nil {
			return field.ErrorList{field.Invalid(path, "<certificate data>", err.Error())}
		} else if len(parsed) == 0 {
			return field.ErrorList{field.Invalid(path, "<certificate data>", "found CERTIFICATE PEM block containing 0 certificates")}
		}
	}
	if n == 0 {
		return field.ErrorList{field.Invalid(path, "<certificate data>", "must contain at least one CERTIFICATE PEM block")}
	}
	return nil
}

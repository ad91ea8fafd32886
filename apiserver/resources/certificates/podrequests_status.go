package certificates

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net/mail"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	unversioned "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

var podRequestStates = []string{
	certificatesv1.PodCertificateRequestConditionTypeIssued, certificatesv1.PodCertificateRequestConditionTypeDenied,
	certificatesv1.PodCertificateRequestConditionTypeFailed,
}

// podRequestState is what became of a request, empty while nothing has.
func podRequestState(r *certificatesv1.PodCertificateRequest) string {
	for _, c := range r.Status.Conditions {
		if c.Status == metav1.ConditionTrue && slices.Contains(podRequestStates, c.Type) {
			return c.Type
		}
	}
	return ""
}

// validatePodRequestStatus: a request is answered once, with a certificate or with a
// reason why there is none.
func validatePodRequestStatus(r, old *certificatesv1.PodCertificateRequest, now time.Time) field.ErrorList {
	path := field.NewPath("status")
	conditions := path.Child("conditions")
	var errs field.ErrorList
	for i, c := range r.Status.Conditions {
		at := conditions.Index(i)
		if !slices.Contains(podRequestStates, c.Type) {
			errs = append(errs, field.NotSupported(at.Child("type"), c.Type, podRequestStates))
			continue
		}
		if i > 0 {
			errs = append(errs, field.Invalid(at.Child("type"), c.Type, `There may be at most one condition with type "Issued", "Denied", or "Failed"`))
		}
		if c.Status != metav1.ConditionTrue {
			errs = append(errs, field.NotSupported(at.Child("status"), c.Status, []metav1.ConditionStatus{metav1.ConditionTrue}))
		}
	}
	errs = append(errs, unversioned.ValidateConditions(r.Status.Conditions, conditions)...)
	if len(errs) > 0 {
		return errs
	}
	same := func(want certificatesv1.PodCertificateRequestStatus, otherwise string) field.ErrorList {
		if apiequality.Semantic.DeepEqual(r.Status, want) {
			return nil
		}
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, otherwise)}
	}
	if podRequestState(old) != "" {
		return same(old.Status, "immutable after PodCertificateRequest is issued, denied, or failed")
	}
	switch podRequestState(r) {
	case "":
		return same(old.Status, `status is immutable unless transitioning to "Issued", "Denied", or "Failed"`)
	case certificatesv1.PodCertificateRequestConditionTypeIssued:
		return validateIssued(r, now)
	}
	return same(certificatesv1.PodCertificateRequestStatus{Conditions: r.Status.Conditions},
		"non-condition status fields must be empty when denying or failing the PodCertificateRequest")
}

// validateIssued checks an answer with certificates. The first error says it all.
func validateIssued(r *certificatesv1.PodCertificateRequest, now time.Time) field.ErrorList {
	path, chain := field.NewPath("status", "certificateChain"), r.Status.CertificateChain
	wrong := func(value any, why string) field.ErrorList { return field.ErrorList{field.Invalid(path, value, why)} }
	if len(chain) > maxCertificateChain {
		return field.ErrorList{field.TooLong(path, chain, maxCertificateChain)}
	}
	block, rest := pem.Decode([]byte(chain))
	if block == nil {
		return wrong(chain, "issued certificate chain must contain at least one certificate")
	}
	if block.Type != "CERTIFICATE" {
		return wrong(chain, "issued certificate chain must consist entirely of CERTIFICATE PEM blocks")
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return wrong(chain, "leaf certificate does not parse as valid X.509")
	}
	errs := validateSubjects(leaf, path)
	request, err := x509.ParseCertificateRequest(r.Spec.StubPKCS10Request)
	if err != nil {
		return append(errs, field.Invalid(field.NewPath("spec", "stubPKCS10Request"), field.OmitValueType{}, "must be a valid PKCS#10 CSR"))
	}
	if key, ok := request.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); !ok || !key.Equal(leaf.PublicKey) {
		return append(errs, wrong(chain, "leaf certificate was not issued to the requested public key")...)
	}
	if errs = append(errs, validateTimes(r, leaf, now)...); len(errs) > 0 {
		return errs
	}
	for {
		if block, rest = pem.Decode(rest); block == nil {
			return nil
		}
		if block.Type != "CERTIFICATE" {
			return wrong(chain, "issued certificate chain must consist entirely of CERTFICATE PEM blocks") // upstream's spelling
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return wrong(chain, "intermediate certificate does not parse as valid X.509")
		}
	}
}

func validateSubjects(leaf *x509.Certificate, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, name := range leaf.DNSNames {
		if name == "" {
			errs = append(errs, field.Invalid(path, name, "leaf certificate should not contain empty DNSName"))
		}
		if strings.Contains(name, "..") {
			errs = append(errs, field.Invalid(path, name, "leaf certificate's DNSName should not contain '..'"))
		}
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, ".") {
			errs = append(errs, field.Invalid(path, name, "leaf certificate's DNSName should not start or end with '.'"))
		}
	}
	for _, address := range leaf.EmailAddresses {
		if _, err := mail.ParseAddress(address); err != nil {
			errs = append(errs, field.Invalid(path, address, "leaf certificate should not contain invalid EmailAddress"))
		}
	}
	return errs
}

// validateTimes: the times of the status are those of the certificate, which begins
// now, lasts as long as was asked for, and leaves room to refresh it.
func validateTimes(r *certificatesv1.PodCertificateRequest, leaf *x509.Certificate, now time.Time) field.ErrorList {
	path := field.NewPath("status")
	var errs field.ErrorList
	for _, one := range []struct {
		name, why string
		t         *metav1.Time
	}{
		{"notBefore", "must be present and consistent with the issued certificate", r.Status.NotBefore},
		{"notAfter", "must be present and consistent with the issued certificate", r.Status.NotAfter},
		{"beginRefreshAt", "must be present and in the range [notbefore+10min, notafter-10min]", r.Status.BeginRefreshAt},
	} {
		if one.t == nil {
			errs = append(errs, field.Required(path.Child(one.name), one.why))
		}
	}
	if len(errs) > 0 {
		return errs
	}
	const skew, margin = 5 * time.Minute, 10 * time.Minute
	begins, ends, refresh := r.Status.NotBefore.Time, r.Status.NotAfter.Time, r.Status.BeginRefreshAt.Time
	life := leaf.NotAfter.Sub(leaf.NotBefore)
	wrong := func(name string, value any, why string) field.ErrorList {
		return field.ErrorList{field.Invalid(path.Child(name), value, why)}
	}
	most := ptr.Deref(r.Spec.MaxExpirationSeconds, defaultPodExpiration)
	switch {
	case !begins.Equal(leaf.NotBefore):
		return wrong("notBefore", begins, "must be set to the NotBefore time encoded in the leaf certificate")
	case begins.Sub(now).Abs() >= skew:
		return wrong("notBefore", begins, "must be set to within 5 minutes of kube-apiserver's current time")
	case !ends.Equal(leaf.NotAfter):
		return wrong("notAfter", ends, "must be set to the NotAfter time encoded in the leaf certificate")
	case life < time.Hour:
		return wrong("certificateChain", life, "leaf certificate lifetime must be >= 1 hour")
	case life > time.Duration(most)*time.Second:
		return wrong("certificateChain", life, fmt.Sprintf("leaf certificate lifetime must be <= spec.maxExpirationSeconds (%v)", most))
	case refresh.Before(begins.Add(margin)):
		return wrong("beginRefreshAt", refresh, "must be at least 10 minutes after status.notBefore")
	case refresh.After(ends.Add(-margin)):
		return wrong("beginRefreshAt", refresh, "must be at least 10 minutes before status.notAfter")
	}
	return nil
}

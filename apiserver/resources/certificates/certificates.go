// Package certificates declares the resources of certificates.k8s.io/v1: requests
// for certificates, which somebody approves and a signer answers.
package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{{
		GVK: certificatesv1.SchemeGroupVersion.WithKind("CertificateSigningRequest"), Plural: "certificatesigningrequests",
		Singular: "certificatesigningrequest", ShortNames: []string{"csr"}, StoragePrefix: "certificatesigningrequests",
		New: typed.New[certificatesv1.CertificateSigningRequest], NewList: typed.New[certificatesv1.CertificateSigningRequestList],
		Strategy: resource.Strategy{
			PrepareForCreate: prepareNew,
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				r, was := obj.(*certificatesv1.CertificateSigningRequest), old.(*certificatesv1.CertificateSigningRequest)
				r.Spec, r.Status = was.Spec, was.Status
			},
			Validate:       typed.Validate(validateNew),
			ValidateChange: func(_, _ runtime.Object) field.ErrorList { return nil },
			NameError:      apivalidation.NameIsDNSSubdomain,
			ResetFields:    typed.Reset("spec", "status"),
		},
		Table: resource.Table{Columns: requestColumns(), Cells: typed.Cells(requestCells)},
		SelectableFields: typed.Fields(func(r *certificatesv1.CertificateSigningRequest) fields.Set {
			return fields.Set{"spec.signerName": r.Spec.SignerName}
		}),
		Subresources: []resource.Subresource{
			{Name: "approval", View: &resource.View{
				PrepareForUpdate: prepareApproval,
				Validate: typed.Change(func(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
					errs := validateConditions(r, old, true)
					if !apiequality.Semantic.DeepEqual(r.Status.Certificate, old.Status.Certificate) {
						errs = append(errs, field.Forbidden(field.NewPath("status", "certificate"), "updates may not set certificate content"))
					}
					return errs
				}),
				ResetFields: typed.Reset("spec"),
			}},
			{Name: "status", View: &resource.View{
				PrepareForUpdate: prepareStatus,
				Validate: typed.Change(func(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
					return append(validateConditions(r, old, false), validateCertificate(r, old)...)
				}),
				ResetFields: typed.Reset("spec"),
			}},
		},
	}}
}

// prepareNew records who asks: signers decide by that.
func prepareNew(req resource.Request, obj runtime.Object) {
	r := obj.(*certificatesv1.CertificateSigningRequest)
	r.Spec.Username, r.Spec.UID, r.Spec.Groups, r.Spec.Extra = "", "", nil, nil
	if req.User != nil {
		r.Spec.Username, r.Spec.UID, r.Spec.Groups = req.User.GetName(), req.User.GetUID(), req.User.GetGroups()
		for key, values := range req.User.GetExtra() {
			if r.Spec.Extra == nil {
				r.Spec.Extra = map[string]certificatesv1.ExtraValue{}
			}
			r.Spec.Extra[key] = values
		}
	}
	r.Status = certificatesv1.CertificateSigningRequestStatus{}
}

// prepareApproval lets conditions through, and nothing else.
func prepareApproval(_ resource.Request, obj, old runtime.Object) {
	r, was := obj.(*certificatesv1.CertificateSigningRequest), old.(*certificatesv1.CertificateSigningRequest)
	conditions, certificate := r.Status.Conditions, r.Status.Certificate
	r.Spec, r.Status = was.Spec, was.Status
	r.Status.Conditions, r.Status.Certificate = conditions, certificate
	stampConditions(r, was)
}

// prepareStatus is for signers: they may fail a request, not approve or deny it.
func prepareStatus(_ resource.Request, obj, old runtime.Object) {
	r, was := obj.(*certificatesv1.CertificateSigningRequest), old.(*certificatesv1.CertificateSigningRequest)
	r.Spec = was.Spec
	decided := func(c certificatesv1.CertificateSigningRequestCondition) bool {
		return c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied
	}
	kept := slices.DeleteFunc(slices.Clone(r.Status.Conditions), decided)
	for _, c := range was.Status.Conditions {
		if decided(c) {
			kept = append(kept, c)
		}
	}
	r.Status.Conditions = kept
	stampConditions(r, was)
}

// stampConditions sets the times that clients left out.
func stampConditions(r, old *certificatesv1.CertificateSigningRequest) {
	now := metav1.Now()
	for i := range r.Status.Conditions {
		c := &r.Status.Conditions[i]
		if c.Status == "" {
			c.Status = corev1.ConditionTrue
		}
		if c.LastUpdateTime.IsZero() {
			c.LastUpdateTime = now
		}
		if !c.LastTransitionTime.IsZero() {
			continue
		}
		c.LastTransitionTime = now
		for _, o := range old.Status.Conditions {
			if o.Type == c.Type && o.Status == c.Status && !o.LastTransitionTime.IsZero() {
				c.LastTransitionTime = o.LastTransitionTime
			}
		}
	}
}

// minExpiration is the shortest life that may be asked for, in seconds.
const minExpiration = 600

func validateNew(r *certificatesv1.CertificateSigningRequest) field.ErrorList {
	path, s := field.NewPath("spec"), &r.Spec
	var errs field.ErrorList
	if err := checkRequest(s.Request); err != nil {
		errs = append(errs, field.Invalid(path.Child("request"), s.Request, err.Error()))
	}
	if len(s.Usages) == 0 {
		errs = append(errs, field.Required(path.Child("usages"), "usages must contain at least one value"))
	}
	seen := map[certificatesv1.KeyUsage]bool{}
	for i, u := range s.Usages {
		errs = append(errs, rules.OneOf(u, path.Child("usages").Index(i), usages...)...)
		if seen[u] {
			errs = append(errs, field.Duplicate(path.Child("usages").Index(i), u))
		}
		seen[u] = true
	}
	if s.SignerName == "kubernetes.io/legacy-unknown" {
		errs = append(errs, field.Invalid(path.Child("signerName"), s.SignerName, "the legacy signerName is not allowed via this API version"))
	} else {
		errs = append(errs, SignerName(s.SignerName, path.Child("signerName"))...)
	}
	if e := s.ExpirationSeconds; e != nil && *e < minExpiration {
		errs = append(errs, field.Invalid(path.Child("expirationSeconds"), *e, fmt.Sprintf("may not specify a duration less than %d seconds (%d minutes)", minExpiration, minExpiration/60)))
	}
	return errs
}

func checkRequest(data []byte) error {
	block, _ := pem.Decode(data)
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return errors.New("PEM block type must be CERTIFICATE REQUEST")
	}
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		return err
	}
	return request.CheckSignature()
}

var usages = []certificatesv1.KeyUsage{
	certificatesv1.UsageAny, certificatesv1.UsageCRLSign, certificatesv1.UsageCertSign, certificatesv1.UsageClientAuth, certificatesv1.UsageCodeSigning,
	certificatesv1.UsageContentCommitment, certificatesv1.UsageDataEncipherment, certificatesv1.UsageDecipherOnly, certificatesv1.UsageDigitalSignature,
	certificatesv1.UsageEmailProtection, certificatesv1.UsageEncipherOnly, certificatesv1.UsageIPsecEndSystem, certificatesv1.UsageIPsecTunnel,
	certificatesv1.UsageIPsecUser, certificatesv1.UsageKeyAgreement, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageMicrosoftSGC,
	certificatesv1.UsageNetscapeSGC, certificatesv1.UsageOCSPSigning, certificatesv1.UsageSMIME, certificatesv1.UsageServerAuth,
	certificatesv1.UsageSigning, certificatesv1.UsageTimestamping,
}

// Bounds on the two halves of a signer's name, in bytes.
const (
	maxSignerDomain = 253
	maxSignerPath   = 571
)

// SignerName checks the name of a signer: a domain with at least two parts, a slash,
// and a path of subdomains.
func SignerName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	const form = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
	domain, rest, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(rest, "/") {
		return field.ErrorList{field.Invalid(path, name, form)}
	}
	var errs field.ErrorList
	if rest == "" {
		errs = append(errs, field.Invalid(path, name, form))
	}
	errs = append(errs, rules.Matches(domain, path, validation.IsDNS1123Subdomain(domain))...)
	if !strings.Contains(domain, ".") {
		errs = append(errs, field.Invalid(path, domain, "should be a domain with at least two segments separated by dots"))
	}
	for part := range strings.SplitSeq(rest, ".") {
		if rest != "" {
			errs = append(errs, rules.Matches(part, path, validation.IsDNS1123Subdomain(part))...)
		}
	}
	if len(domain) > maxSignerDomain {
		errs = append(errs, field.TooLong(path, "", maxSignerDomain))
	}
	if len(rest) > maxSignerPath {
		errs = append(errs, field.TooLong(path, "", maxSignerPath))
	}
	return errs
}

func validateConditions(r, old *certificatesv1.CertificateSigningRequest, approving bool) field.ErrorList {
	path := field.NewPath("status", "conditions")
	var errs field.ErrorList
	has := map[certificatesv1.RequestConditionType]bool{}
	for i, c := range r.Status.Conditions {
		at := path.Index(i)
		if c.Type == "" {
			errs = append(errs, field.Required(at.Child("type"), ""))
		}
		decisive := c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed
		switch {
		case decisive && c.Status != corev1.ConditionTrue:
			errs = append(errs, field.NotSupported(at.Child("status"), c.Status, []corev1.ConditionStatus{corev1.ConditionTrue}))
		case !decisive:
			errs = append(errs, rules.Enum(c.Status, at.Child("status"), corev1.ConditionFalse, corev1.ConditionTrue, corev1.ConditionUnknown)...)
		}
		if has[c.Type] {
			errs = append(errs, field.Duplicate(at.Child("type"), c.Type))
		}
		has[c.Type] = true
	}
	if has[certificatesv1.CertificateApproved] && has[certificatesv1.CertificateDenied] {
		errs = append(errs, field.Invalid(path, string(certificatesv1.CertificateDenied), "Approved and Denied conditions are mutually exclusive"))
	}
	for _, c := range old.Status.Conditions {
		if decisive := c.Type == certificatesv1.CertificateApproved || c.Type == certificatesv1.CertificateDenied || c.Type == certificatesv1.CertificateFailed; decisive && !has[c.Type] {
			errs = append(errs, field.Forbidden(path, fmt.Sprintf("updates may not remove a condition of type %q", c.Type)))
		}
	}
	if approving && has[certificatesv1.CertificateFailed] && !hadCondition(old, certificatesv1.CertificateFailed) {
		errs = append(errs, field.Forbidden(path, fmt.Sprintf("updates may not add a condition of type %q", certificatesv1.CertificateFailed)))
	}
	return errs
}

func hadCondition(r *certificatesv1.CertificateSigningRequest, of certificatesv1.RequestConditionType) bool {
	return slices.ContainsFunc(r.Status.Conditions, func(c certificatesv1.CertificateSigningRequestCondition) bool { return c.Type == of })
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

func requestColumns() []metav1.TableColumnDefinition {
	spec := certificatesv1.CertificateSigningRequestSpec{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.Created(), columns.String("SignerName", spec["signerName"]), columns.String("Requestor", spec["request"]),
		columns.String("RequestedDuration", spec["expirationSeconds"]),
		columns.String("Condition", certificatesv1.CertificateSigningRequestStatus{}.SwaggerDoc()["conditions"]),
	}
}

func requestCells(r *certificatesv1.CertificateSigningRequest, now time.Time) []any {
	lasts := "<none>"
	if e := r.Spec.ExpirationSeconds; e != nil {
		lasts = duration.HumanDuration(time.Duration(*e) * time.Second)
	}
	var state []string
	for _, c := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed} {
		if hadCondition(r, c) && (c != certificatesv1.CertificateApproved || !hadCondition(r, certificatesv1.CertificateDenied)) {
			state = append(state, string(c))
		}
	}
	if len(state) == 0 || len(state) == 1 && state[0] == string(certificatesv1.CertificateFailed) {
		state = append([]string{"Pending"}, state...)
	}
	if len(r.Status.Certificate) > 0 {
		state = append(state, "Issued")
	}
	return []any{r.Name, columns.Age(r.CreationTimestamp, now), r.Spec.SignerName, r.Spec.Username, lasts, strings.Join(state, ",")}
}

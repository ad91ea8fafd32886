package certificates

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/duration"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func signingRequests() *resource.Resource {
	return &resource.Resource{
		GVK: gvk("CertificateSigningRequest"), Plural: "certificatesigningrequests",
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
			NameError:      func(string, bool) []string { return nil },

			AllowUnconditionalUpdate: true,
			ResetFields:              typed.Reset("spec", "status"),
		},
		Table: resource.Table{Columns: requestColumns(), Cells: typed.Cells(requestCells)},
		SelectableFields: typed.Fields(func(r *certificatesv1.CertificateSigningRequest) fields.Set {
			return fields.Set{"spec.signerName": r.Spec.SignerName}
		}),
		Subresources: []resource.Subresource{
			{Name: "approval", View: &resource.View{
				PrepareForUpdate: prepareApproval,
				Validate: typed.Change(func(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
					return validateConditions(r, old, true)
				}),
				ResetFields: fieldpath.NewSet(fieldpath.MakePathOrDie("spec"), fieldpath.MakePathOrDie("status", "certificate")),
			}},
			{Name: "status", View: &resource.View{
				PrepareForUpdate: prepareStatus,
				Validate: typed.Change(func(r, old *certificatesv1.CertificateSigningRequest) field.ErrorList {
					return append(validateConditions(r, old, false), validateCertificate(r, old)...)
				}),
				ResetFields: typed.Reset("spec"),
			}},
		},
	}
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
	conditions := r.Status.Conditions
	r.Spec, r.Status = was.Spec, was.Status
	r.Status.Conditions = conditions
	stampConditions(r, was)
}

// prepareStatus is for signers: they may fail a request, not approve or deny it. What
// was decided stays as it is; conditions too many or too few, the validation finds.
func prepareStatus(_ resource.Request, obj, old runtime.Object) {
	r, was := obj.(*certificatesv1.CertificateSigningRequest), old.(*certificatesv1.CertificateSigningRequest)
	r.Spec = was.Spec
	for _, decided := range []certificatesv1.RequestConditionType{certificatesv1.CertificateApproved, certificatesv1.CertificateDenied} {
		kept := conditionsOf(was, decided)
		for i := range r.Status.Conditions {
			if len(kept) > 0 && r.Status.Conditions[i].Type == decided {
				r.Status.Conditions[i], kept = kept[0], kept[1:]
			}
		}
	}
	stampConditions(r, was)
}

// stampConditions sets the times that clients left out.
func stampConditions(r, old *certificatesv1.CertificateSigningRequest) {
	now := metav1.Now()
	for i := range r.Status.Conditions {
		c := &r.Status.Conditions[i]
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
		errs = append(errs, field.Required(path.Child("usages"), ""))
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
		errs = append(errs, rules.SignerName(s.SignerName, path.Child("signerName"))...)
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
	certificatesv1.UsageAny, certificatesv1.UsageCertSign, certificatesv1.UsageClientAuth, certificatesv1.UsageCodeSigning,
	certificatesv1.UsageContentCommitment, certificatesv1.UsageCRLSign, certificatesv1.UsageDataEncipherment, certificatesv1.UsageDecipherOnly, certificatesv1.UsageDigitalSignature,
	certificatesv1.UsageEmailProtection, certificatesv1.UsageEncipherOnly, certificatesv1.UsageIPsecEndSystem, certificatesv1.UsageIPsecTunnel,
	certificatesv1.UsageIPsecUser, certificatesv1.UsageKeyAgreement, certificatesv1.UsageKeyEncipherment, certificatesv1.UsageMicrosoftSGC,
	certificatesv1.UsageNetscapeSGC, certificatesv1.UsageOCSPSigning, certificatesv1.UsageSMIME, certificatesv1.UsageServerAuth,
	certificatesv1.UsageSigning, certificatesv1.UsageTimestamping,
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
		if hasCondition(r, c) && (c != certificatesv1.CertificateApproved || !hasCondition(r, certificatesv1.CertificateDenied)) {
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

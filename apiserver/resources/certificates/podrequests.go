package certificates

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/x509"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	certificatesv1 "k8s.io/api/certificates/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Bounds on what pods ask for (KEP-4317): the lives of certificates in seconds, the
// rest in bytes.
const (
	minPodExpiration        = 60 * 60
	defaultPodExpiration    = 24 * 60 * 60
	maxKubernetesExpiration = 24 * 60 * 60
	maxPodExpiration        = 91 * 24 * 60 * 60
	maxUID                  = 128
	maxStubRequest          = 10 << 10
	maxCertificateChain     = 100 << 10
)

func podRequests() *resource.Resource {
	return &resource.Resource{
		GVK:        gvk("PodCertificateRequest"),
		StoredForm: &resource.StoredForm{Version: "v1beta1"},
		Plural:     "podcertificaterequests", Singular: "podcertificaterequest", Namespaced: true,
		StoragePrefix: "podcertificaterequests",
		New:           typed.New[certificatesv1.PodCertificateRequest], NewList: typed.New[certificatesv1.PodCertificateRequestList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(r *certificatesv1.PodCertificateRequest) {
				if r.Spec.MaxExpirationSeconds == nil {
					r.Spec.MaxExpirationSeconds = ptr.To(int32(defaultPodExpiration))
				}
			}),
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				obj.(*certificatesv1.PodCertificateRequest).Status = certificatesv1.PodCertificateRequestStatus{}
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				obj.(*certificatesv1.PodCertificateRequest).Status = old.(*certificatesv1.PodCertificateRequest).Status
			},
			Validate: typed.Validate(func(r *certificatesv1.PodCertificateRequest) field.ErrorList {
				return validatePodRequest(&r.Spec, field.NewPath("spec"))
			}),
			ValidateChange: typed.Change(func(r, old *certificatesv1.PodCertificateRequest) field.ErrorList {
				return rules.Immutable(r.Spec, old.Spec, field.NewPath("spec"))
			}),
			NameError:   apivalidation.NameIsDNSSubdomain,
			ResetFields: typed.Reset("status"),
		},
		Table: resource.Table{Columns: podRequestColumns(), Cells: typed.Cells(podRequestCells)},
		SelectableFields: typed.Fields(func(r *certificatesv1.PodCertificateRequest) fields.Set {
			return fields.Set{"spec.signerName": r.Spec.SignerName, "spec.podName": r.Spec.PodName, "spec.nodeName": string(r.Spec.NodeName)}
		}),
		Subresources: []resource.Subresource{{Name: "status", View: &resource.View{
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				r, was := obj.(*certificatesv1.PodCertificateRequest), old.(*certificatesv1.PodCertificateRequest)
				r.Spec = was.Spec
				metav1.ResetObjectMetaForStatus(r, was)
			},
			Validate: typed.Change(func(r, old *certificatesv1.PodCertificateRequest) field.ErrorList {
				return validatePodRequestStatus(r, old, time.Now())
			}),
			ResetFields: typed.Reset("spec"),
		}}},
	}
}

func validatePodRequest(s *certificatesv1.PodCertificateRequestSpec, path *field.Path) field.ErrorList {
	errs := rules.SignerName(s.SignerName, path.Child("signerName"))
	if s.UnverifiedUserAnnotations != nil {
		errs = append(errs, validateUserAnnotations(s.UnverifiedUserAnnotations, path.Child("unverifiedUserAnnotations"))...)
	}
	for _, one := range []struct{ name, value, uid string }{
		{"pod", s.PodName, string(s.PodUID)}, {"serviceAccount", s.ServiceAccountName, string(s.ServiceAccountUID)}, {"node", string(s.NodeName), string(s.NodeUID)},
	} {
		errs = append(errs, rules.Subdomain(one.value, path.Child(one.name+"Name"))...)
		at := path.Child(one.name + "UID")
		if one.uid == "" {
			errs = append(errs, field.Invalid(at, one.uid, "must not be empty"))
		}
		if len(one.uid) > maxUID {
			errs = append(errs, field.TooLong(at, one.uid, maxUID))
		}
	}
	at := path.Child("maxExpirationSeconds")
	if s.MaxExpirationSeconds == nil {
		return append(errs, field.Required(at, "must be set"))
	}
	most := int32(maxPodExpiration)
	if domain, _, _ := strings.Cut(s.SignerName, "/"); domain == "kubernetes.io" || strings.HasSuffix(domain, ".kubernetes.io") {
		most = maxKubernetesExpiration
	}
	if n := *s.MaxExpirationSeconds; n < minPodExpiration || n > most {
		errs = append(errs, field.Invalid(at, n, fmt.Sprintf("must be in the range [%d, %d]", minPodExpiration, most)))
	}
	return append(errs, validateStub(s.StubPKCS10Request, path.Child("stubPKCS10Request"))...)
}

// validateUserAnnotations checks what the author of a pod tells the signer.
func validateUserAnnotations(all map[string]string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, key := range slices.Sorted(maps.Keys(all)) {
		errs = append(errs, validation.IsDomainPrefixedKey(path, strings.ToLower(key))...)
	}
	if err := apivalidation.ValidateAnnotationsSize(all); err != nil {
		errs = append(errs, field.TooLong(path, "", apivalidation.TotalAnnotationSizeLimitB))
	}
	return errs
}

// validateStub checks the request that the kubelet made with the pod's key: that it
// has the key, and that the key is of a kind that signers may sign.
func validateStub(der []byte, path *field.Path) field.ErrorList {
	if len(der) > maxStubRequest {
		return field.ErrorList{field.TooLong(path, "", maxStubRequest)}
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "must be a valid PKCS#10 CSR")}
	}
	switch key := request.PublicKey.(type) {
	case ed25519.PublicKey:
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return field.ErrorList{field.Invalid(path, "curve "+key.Curve.Params().Name, "elliptic public keys must use curve P256, P384, or P521")}
		}
	case *rsa.PublicKey:
		if bits := key.Size() * 8; bits != 3072 && bits != 4096 {
			return field.ErrorList{field.Invalid(path, fmt.Sprintf("%d-bit modulus", bits), "RSA keys must have modulus size 3072 or 4096")}
		}
	default:
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "unknown public key type; supported types are Ed25519, ECDSA, and RSA")}
	}
	if err := request.CheckSignature(); err != nil {
		return field.ErrorList{field.Invalid(path, field.OmitValueType{}, "could not verify the signature of the certificate signing request")}
	}
	return nil
}

func podRequestColumns() []metav1.TableColumnDefinition {
	spec := certificatesv1.PodCertificateRequestSpec{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("PodName", spec["podName"]), columns.String("ServiceAccountName", spec["serviceAccountName"]),
		columns.String("NodeName", spec["nodeName"]), columns.Created(), columns.String("SignerName", spec["signerName"]),
		columns.String("State", certificatesv1.PodCertificateRequestStatus{}.SwaggerDoc()["conditions"]),
	}
}

func podRequestCells(r *certificatesv1.PodCertificateRequest, now time.Time) []any {
	state := podRequestState(r)
	if state == "" {
		state = "Pending"
	}
	return []any{r.Name, r.Spec.PodName, r.Spec.ServiceAccountName, string(r.Spec.NodeName), columns.Age(r.CreationTimestamp, now), r.Spec.SignerName, state}
}

package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// projection checks the sources of a projected volume, which must not write the same
// file.
type projection struct {
	path  *field.Path // of the volume
	files map[string]bool
	errs  field.ErrorList
}

func validateProjected(p *corev1.ProjectedVolumeSource, path *field.Path) field.ErrorList {
	v := &projection{path: path, files: map[string]bool{}, errs: fileMode(p.DefaultMode, path.Child("defaultMode"))}
	for i := range p.Sources {
		v.source(&p.Sources[i], path.Child("sources").Index(i))
	}
	return v.errs
}

func (v *projection) add(errs ...*field.Error) { v.errs = append(v.errs, errs...) }

// claim notes a file; shown is the value that an error about it names.
func (v *projection) claim(file, shown string) {
	if v.files[file] {
		v.add(field.Invalid(v.path, shown, "conflicting duplicate paths"))
	}
	v.files[file] = true
}

func (v *projection) source(s *corev1.VolumeProjection, at *field.Path) {
	count := 0
	if s.Secret != nil {
		count++
		v.keys(s.Secret.Name, s.Secret.Items, at.Child("secret"))
	}
	if s.ConfigMap != nil {
		count++
		v.keys(s.ConfigMap.Name, s.ConfigMap.Items, at.Child("configMap"))
	}
	if s.DownwardAPI != nil {
		count++
		for i := range s.DownwardAPI.Items {
			f := &s.DownwardAPI.Items[i]
			v.add(validateDownwardFile(f, at.Child("downwardAPI"))...)
			if f.Path != "" {
				v.claim(f.Path, f.Path)
			}
		}
	}
	if s.ServiceAccountToken != nil {
		count++
		v.token(s.ServiceAccountToken, at.Child("serviceAccountToken"))
	}
	if s.ClusterTrustBundle != nil {
		count++
		v.trustBundle(s.ClusterTrustBundle, at.Child("clusterTrustBundle"))
	}
	if s.PodCertificate != nil {
		count++
		v.certificate(s.PodCertificate, at.Child("podCertificate"))
	}
	if count > 1 {
		v.add(field.Forbidden(at, "may not specify more than 1 volume type per source"))
	}
}

func (v *projection) keys(name string, items []corev1.KeyToPath, at *field.Path) {
	v.add(required(name, at.Child("name"))...)
	v.add(keyPaths(items, at.Child("items"))...)
	for _, item := range items {
		if item.Path != "" {
			v.claim(item.Path, name)
		}
	}
}

func (v *projection) token(t *corev1.ServiceAccountTokenProjection, at *field.Path) {
	switch s := t.ExpirationSeconds; {
	case s == nil:
		v.add(field.Required(at.Child("expirationSeconds"), ""))
	case *s < 10*60:
		v.add(field.Invalid(at.Child("expirationSeconds"), *s, "may not specify a duration less than 10 minutes"))
	case *s > 1<<32:
		v.add(field.Invalid(at.Child("expirationSeconds"), *s, "may not specify a duration larger than 2^32 seconds"))
	}
	// The path of these two is upstream's: of the volume.
	if t.Path == "" {
		v.add(field.Required(v.path.Child("path"), ""))
		return
	}
	v.add(localPath(t.Path, v.path.Child("path"), false)...)
}

func (v *projection) trustBundle(b *corev1.ClusterTrustBundleProjection, at *field.Path) {
	switch {
	case b.Name != nil && b.SignerName != nil:
		v.add(field.Invalid(at, rules.Internal(b), "only one of name and signerName may be used"))
	case b.Name != nil:
		if *b.Name == "" {
			v.add(field.Required(at.Child("name"), "must be a valid object name"))
		}
		signer := ""
		if i := strings.LastIndex(*b.Name, ":"); i >= 0 {
			signer = strings.ReplaceAll((*b.Name)[:i], ":", "/")
		}
		for _, m := range rules.TrustBundleName(*b.Name, signer) {
			v.add(field.Invalid(at.Child("name"), *b.Name, "not a valid clustertrustbundlename: "+m))
		}
		if b.LabelSelector != nil {
			v.add(field.Invalid(at.Child("labelSelector"), b.LabelSelector, "labelSelector must be unset if name is specified"))
		}
	case b.SignerName != nil:
		if *b.SignerName == "" {
			v.add(field.Required(at.Child("signerName"), "must be a valid signer name"))
		}
		v.add(rules.SignerName(*b.SignerName, at.Child("signerName"))...)
		v.add(rules.Selector(b.LabelSelector, at.Child("labelSelector"))...)
	default:
		v.add(field.Required(at, "either name or signerName must be specified"))
	}
	v.add(required(b.Path, at.Child("path"))...)
	v.add(localPath(b.Path, at.Child("path"), false)...)
	v.claim(b.Path, b.Path)
}

// Bounds on how long a certificate may last, in seconds; Kubernetes' own signers give
// a day.
const (
	minCertificate           = 60 * 60
	maxCertificate           = 91 * 24 * 60 * 60
	maxCertificateKubernetes = 24 * 60 * 60
)

func (v *projection) certificate(c *corev1.PodCertificateProjection, at *field.Path) {
	v.add(rules.SignerName(c.SignerName, at.Child("signerName"))...)
	for k := range c.UserAnnotations {
		v.add(validation.IsDomainPrefixedKey(at.Child("userAnnotations"), strings.ToLower(k))...)
	}
	if apivalidation.ValidateAnnotationsSize(c.UserAnnotations) != nil {
		v.add(field.TooLong(at.Child("userAnnotations"), "", apivalidation.TotalAnnotationSizeLimitB))
	}
	v.add(rules.OneOf(c.KeyType, at.Child("keyType"), "RSA3072", "RSA4096", "ECDSAP256", "ECDSAP384", "ECDSAP521", "ED25519")...)
	if s := c.MaxExpirationSeconds; s != nil {
		most := int32(maxCertificate)
		if rules.OfKubernetes(c.SignerName) {
			most = maxCertificateKubernetes
		}
		if *s < minCertificate {
			v.add(field.Invalid(at.Child("maxExpirationSeconds"), *s, fmt.Sprintf("if provided, maxExpirationSeconds must be >= %d", minCertificate)))
		}
		if *s > most {
			v.add(field.Invalid(at.Child("maxExpirationSeconds"), *s, fmt.Sprintf("if provided, maxExpirationSeconds must be <= %d", most)))
		}
	}
	count := 0
	for _, f := range []struct{ name, path string }{
		{"credentialBundlePath", c.CredentialBundlePath}, {"keyPath", c.KeyPath}, {"certificateChainPath", c.CertificateChainPath},
	} {
		if f.path == "" {
			continue
		}
		count++
		v.add(localPath(f.path, at.Child(f.name), false)...)
		v.claim(f.path, f.path)
	}
	if count == 0 {
		v.add(field.Required(at, "specify at least one of credentialBundlePath, keyPath, and certificateChainPath"))
	}
}

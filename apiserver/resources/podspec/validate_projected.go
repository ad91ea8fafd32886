package podspec

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

func validateProjected(p *corev1.ProjectedVolumeSource, path *field.Path) field.ErrorList {
	errs := fileMode(p.DefaultMode, path.Child("defaultMode"))
	paths := map[string]bool{}
	claim := func(name string) {
		if name == "" {
			return
		}
		if paths[name] {
			errs = append(errs, field.Invalid(path, name, "conflicting duplicate paths"))
		}
		paths[name] = true
	}
	for i := range p.Sources {
		s, at := &p.Sources[i], path.Child("sources").Index(i)
		count := 0
		next := func(name string) bool {
			count++
			if count > 1 {
				errs = append(errs, field.Forbidden(at.Child(name), "may not specify more than 1 volume type"))
			}
			return count == 1
		}
		if s.Secret != nil && next("secret") {
			errs = append(errs, required(s.Secret.Name, at.Child("secret", "name"))...)
			errs = append(errs, keyPaths(s.Secret.Items, at.Child("secret", "items"))...)
			for _, item := range s.Secret.Items {
				claim(item.Path)
			}
		}
		if s.ConfigMap != nil && next("configMap") {
			errs = append(errs, required(s.ConfigMap.Name, at.Child("configMap", "name"))...)
			errs = append(errs, keyPaths(s.ConfigMap.Items, at.Child("configMap", "items"))...)
			for _, item := range s.ConfigMap.Items {
				claim(item.Path)
			}
		}
		if s.DownwardAPI != nil && next("downwardAPI") {
			for j := range s.DownwardAPI.Items {
				errs = append(errs, validateDownwardFile(&s.DownwardAPI.Items[j], at.Child("downwardAPI"))...)
				claim(s.DownwardAPI.Items[j].Path)
			}
		}
		if s.ServiceAccountToken != nil && next("serviceAccountToken") {
			errs = append(errs, validateToken(s.ServiceAccountToken, at.Child("serviceAccountToken"))...)
			claim(s.ServiceAccountToken.Path)
		}
		if b := s.ClusterTrustBundle; b != nil && next("clusterTrustBundle") {
			switch {
			case b.Name == nil && b.SignerName == nil:
				errs = append(errs, field.Required(at.Child("clusterTrustBundle"), "either name or signerName must be specified"))
			case b.Name != nil && b.SignerName != nil:
				errs = append(errs, field.Invalid(at.Child("clusterTrustBundle"), *b, "only one of name and signerName may be used"))
			}
			errs = append(errs, required(b.Path, at.Child("clusterTrustBundle", "path"))...)
			errs = append(errs, localPath(b.Path, at.Child("clusterTrustBundle", "path"), false)...)
			claim(b.Path)
		}
		if c := s.PodCertificate; c != nil && next("podCertificate") {
			errs = append(errs, required(c.SignerName, at.Child("podCertificate", "signerName"))...)
			for _, name := range []string{c.CredentialBundlePath, c.KeyPath, c.CertificateChainPath} {
				claim(name)
			}
		}
		if count == 0 {
			errs = append(errs, field.Required(at, "must specify a volume type"))
		}
	}
	return errs
}

func validateToken(t *corev1.ServiceAccountTokenProjection, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if s := t.ExpirationSeconds; s != nil {
		if *s < 10*60 {
			errs = append(errs, field.Invalid(path.Child("expirationSeconds"), *s, "may not specify a duration less than 10 minutes"))
		}
		if *s > 1<<32 {
			errs = append(errs, field.Invalid(path.Child("expirationSeconds"), *s, "may not specify a duration larger than 2^32 seconds"))
		}
	}
	if t.Path == "" {
		return append(errs, field.Required(path.Child("path"), ""))
	}
	return append(errs, localPath(t.Path, path.Child("path"), false)...)
}

package rules

import (
	"fmt"
	"strings"

	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Bounds on the domain and on the whole of a signer's name, in bytes.
const (
	maxSignerDomain = validation.DNS1123SubdomainMaxLength
	maxSigner       = maxSignerDomain + 1 + validation.DNS1123LabelMaxLength + 1 + validation.DNS1123SubdomainMaxLength
)

// SignerName checks the name of a signer of certificates: a domain with at least two
// parts, a slash, and a path of subdomains.
func SignerName(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	domain, rest, ok := strings.Cut(name, "/")
	if !ok || strings.Contains(rest, "/") {
		return field.ErrorList{field.Invalid(path, name, "must be a fully qualified domain and path of the form 'example.com/signer-name'")}
	}
	var errs field.ErrorList
	if len(domain) > maxSignerDomain {
		errs = append(errs, field.TooLong(path, "", maxSignerDomain))
	}
	errs = append(errs, firstBad(domain, validation.IsDNS1123Label, path)...)
	if !strings.Contains(domain, ".") {
		errs = append(errs, field.Invalid(path, domain, "should be a domain with at least two segments separated by dots"))
	}
	errs = append(errs, firstBad(rest, validation.IsDNS1123Subdomain, path)...)
	if len(name) > maxSigner {
		errs = append(errs, field.TooLong(path, "", maxSigner))
	}
	return errs
}

// firstBad reports the first part, between dots, that check refuses.
func firstBad(dotted string, check func(string) []string, path *field.Path) field.ErrorList {
	for part := range strings.SplitSeq(dotted, ".") {
		if messages := check(part); len(messages) > 0 {
			var errs field.ErrorList
			for _, m := range messages {
				errs = append(errs, field.Invalid(path, dotted, fmt.Sprintf("validating label %q: %s", part, m)))
			}
			return errs
		}
	}
	return nil
}

// OfKubernetes says that a signer is one of Kubernetes' own.
func OfKubernetes(signer string) bool {
	host, _, _ := strings.Cut(signer, "/")
	return host == "kubernetes.io" || strings.HasSuffix(host, ".kubernetes.io")
}

// TrustBundleName says what is wrong with the name of a bundle: those of a signer have
// its name before their own, so that who may write them can be said by name.
func TrustBundleName(name, signer string) []string {
	if signer == "" {
		if strings.Contains(name, ":") {
			return []string{`ClusterTrustBundle without signer name must not have ":" in its name`}
		}
		return apivalidation.NameIsDNSSubdomain(name, false)
	}
	prefix := strings.ReplaceAll(signer, "/", ":") + ":"
	own, ok := strings.CutPrefix(name, prefix)
	if !ok {
		return []string{fmt.Sprintf("ClusterTrustBundle for signerName %s must be named with prefix %s", signer, prefix)}
	}
	return apivalidation.NameIsDNSSubdomain(own, false)
}

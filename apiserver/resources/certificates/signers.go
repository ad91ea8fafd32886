package certificates

import (
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

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

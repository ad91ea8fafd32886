package rules

import (
	"crypto/x509"
	"fmt"
	"net/url"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// WebhookURL reports what is wrong with the URL of a webhook that the API server
// calls: it is https, with a host, and nothing beyond a path.
func WebhookURL(value string, path *field.Path) field.ErrorList {
	const form = "; desired format: https://host[/path]"
	u, err := url.Parse(value)
	if err != nil {
		return field.ErrorList{field.Required(path, "url must be a valid URL: "+err.Error()+form)}
	}
	var errs field.ErrorList
	if u.Scheme != "https" {
		errs = append(errs, field.Invalid(path, u.Scheme, "'https' is the only allowed URL scheme"+form))
	}
	if u.Host == "" {
		errs = append(errs, field.Invalid(path, u.Host, "host must be specified"+form))
	}
	if u.User != nil {
		errs = append(errs, field.Invalid(path, u.User.String(), "user information is not permitted in the URL"))
	}
	if u.Fragment != "" {
		errs = append(errs, field.Invalid(path, u.Fragment, "fragments are not permitted in the URL"))
	}
	if u.RawQuery != "" {
		errs = append(errs, field.Invalid(path, u.RawQuery, "query parameters are not permitted in the URL"))
	}
	return errs
}

// WebhookService reports what is wrong with a webhook's reference to a service.
func WebhookService(name, namespace string, urlPath *string, port int32, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	}
	if namespace == "" {
		errs = append(errs, field.Required(path.Child("namespace"), ""))
	}
	if messages := validation.IsValidPortNum(int(port)); messages != nil {
		errs = append(errs, field.Invalid(path.Child("port"), port, "port is not valid: "+strings.Join(messages, ", ")))
	}
	if urlPath == nil || *urlPath == "" || *urlPath == "/" {
		return errs
	}
	at, value := path.Child("path"), *urlPath
	if value == "//" {
		return append(errs, field.Invalid(at, value, "segment[0] may not be empty"))
	}
	if !strings.HasPrefix(value, "/") {
		errs = append(errs, field.Invalid(at, value, "must start with a '/'"))
	}
	for i, segment := range strings.Split(strings.TrimSuffix(value[1:], "/"), "/") {
		if segment == "" {
			errs = append(errs, field.Invalid(at, value, fmt.Sprintf("segment[%d] may not be empty", i)))
			continue
		}
		for _, message := range validation.IsDNS1123Subdomain(segment) {
			errs = append(errs, field.Invalid(at, value, fmt.Sprintf("segment[%d]: %v", i, message)))
		}
	}
	return errs
}

// CABundle reports a bundle, not empty, that holds no certificate.
func CABundle(bundle []byte, path *field.Path) field.ErrorList {
	if len(bundle) == 0 || x509.NewCertPool().AppendCertsFromPEM(bundle) {
		return nil
	}
	return field.ErrorList{field.Invalid(path, bundle, "unable to load root certificates: unable to parse bytes as PEM block")}
}

package networking

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// classAnnotation named an ingress's class before there was a field for it.
const classAnnotation = "kubernetes.io/ingress.class"

func ingresses() *resource.Resource {
	halves := typed.SpecAndStatus(func(i *networkingv1.Ingress) (*networkingv1.IngressSpec, *networkingv1.IngressStatus) {
		return &i.Spec, &i.Status
	})
	return &resource.Resource{
		GVK: networkingv1.SchemeGroupVersion.WithKind("Ingress"), Plural: "ingresses", Singular: "ingress", ShortNames: []string{"ing"},
		Namespaced: true, StoragePrefix: "ingress",
		New: typed.New[networkingv1.Ingress], NewList: typed.New[networkingv1.IngressList],
		Strategy: resource.Strategy{
			PrepareForCreate: halves.Create,
			PrepareForUpdate: halves.Update,
			Validate:         typed.Validate(validateNewIngress),
			ValidateChange: typed.Change(func(i, _ *networkingv1.Ingress) field.ErrorList {
				return validateIngress(&i.Spec, field.NewPath("spec"))
			}),
			NameError: apivalidation.NameIsDNSSubdomain,
			Warnings: typed.Warnings(func(i, old *networkingv1.Ingress) []string {
				if _, ok := i.Annotations[classAnnotation]; ok && old == nil {
					return []string{fmt.Sprintf("annotation %q is deprecated, please use 'spec.ingressClassName' instead", classAnnotation)}
				}
				return nil
			}),
			AllowUnconditionalUpdate: true,
			ResetFields:              typed.Reset("status"),
		},
		Table: resource.Table{Columns: ingressColumns(), Cells: typed.Cells(ingressCells)},
		Subresources: []resource.Subresource{typed.StatusView(halves, func(i, _ *networkingv1.Ingress) field.ErrorList {
			var errs field.ErrorList
			at := field.NewPath("status", "loadBalancer", "ingress")
			for n, entry := range i.Status.LoadBalancer.Ingress {
				if entry.IP != "" {
					errs = append(errs, rules.IP(entry.IP, at.Index(n).Child("ip"))...)
				}
				if entry.Hostname != "" {
					errs = append(errs, rules.Subdomain(entry.Hostname, at.Index(n).Child("hostname"))...)
				}
			}
			return errs
		})},
	}
}

func validateNewIngress(i *networkingv1.Ingress) field.ErrorList {
	errs := validateIngress(&i.Spec, field.NewPath("spec"))
	if class, ok := i.Annotations[classAnnotation]; ok && i.Spec.IngressClassName != nil && class != *i.Spec.IngressClassName {
		errs = append(errs, field.Invalid(field.NewPath("annotations").Child(classAnnotation), class, "must match `ingressClassName` when both are specified"))
	}
	return errs
}

func validateIngress(s *networkingv1.IngressSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(s.Rules) == 0 && s.DefaultBackend == nil {
		errs = append(errs, field.Invalid(path, s.Rules, "either `defaultBackend` or `rules` must be specified"))
	}
	if s.DefaultBackend != nil {
		errs = append(errs, validateBackend(s.DefaultBackend, path.Child("defaultBackend"))...)
	}
	for i := range s.Rules {
		errs = append(errs, validateRule(&s.Rules[i], path.Child("rules").Index(i))...)
	}
	for i, t := range s.TLS {
		at := path.Child("tls").Index(i)
		for k, host := range t.Hosts {
			errs = append(errs, hostName(host, at.Child("hosts").Index(k))...)
		}
		if t.SecretName != "" {
			errs = append(errs, rules.Subdomain(t.SecretName, at.Child("secretName"))...)
		}
	}
	if s.IngressClassName != nil {
		errs = append(errs, rules.Subdomain(*s.IngressClassName, path.Child("ingressClassName"))...)
	}
	return errs
}

func hostName(host string, path *field.Path) field.ErrorList {
	if strings.Contains(host, "*") {
		return rules.Matches(host, path, validation.IsWildcardDNS1123Subdomain(host))
	}
	return rules.Subdomain(host, path)
}

func validateRule(r *networkingv1.IngressRule, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if r.Host != "" {
		if _, err := netip.ParseAddr(r.Host); err == nil {
			errs = append(errs, field.Invalid(path.Child("host"), r.Host, "must be a DNS name, not an IP address"))
		}
		errs = append(errs, hostName(r.Host, path.Child("host"))...)
	}
	if r.HTTP == nil {
		return errs
	}
	at := path.Child("http", "paths")
	if len(r.HTTP.Paths) == 0 {
		errs = append(errs, field.Required(at, ""))
	}
	for i := range r.HTTP.Paths {
		errs = append(errs, validatePath(&r.HTTP.Paths[i], at.Index(i))...)
	}
	return errs
}

func validatePath(p *networkingv1.HTTPIngressPath, at *field.Path) field.ErrorList {
	if p.PathType == nil {
		return field.ErrorList{field.Required(at.Child("pathType"), "pathType must be specified")}
	}
	var errs field.ErrorList
	switch where := at.Child("path"); *p.PathType {
	case networkingv1.PathTypeExact, networkingv1.PathTypePrefix:
		if !strings.HasPrefix(p.Path, "/") {
			errs = append(errs, field.Invalid(where, p.Path, "must be an absolute path"))
		}
		if p.Path == "" {
			break
		}
		for _, bad := range []string{"//", "/./", "/../", "%2f", "%2F"} {
			if strings.Contains(p.Path, bad) {
				errs = append(errs, field.Invalid(where, p.Path, fmt.Sprintf("must not contain '%s'", bad)))
			}
		}
		for _, bad := range []string{"/..", "/."} {
			if strings.HasSuffix(p.Path, bad) {
				errs = append(errs, field.Invalid(where, p.Path, fmt.Sprintf("cannot end with '%s'", bad)))
			}
		}
	case networkingv1.PathTypeImplementationSpecific:
		if p.Path != "" && !strings.HasPrefix(p.Path, "/") {
			errs = append(errs, field.Invalid(where, p.Path, "must be an absolute path"))
		}
	default:
		errs = append(errs, field.NotSupported(at.Child("pathType"), *p.PathType,
			[]networkingv1.PathType{networkingv1.PathTypeExact, networkingv1.PathTypeImplementationSpecific, networkingv1.PathTypePrefix}))
	}
	return append(errs, validateBackend(&p.Backend, at.Child("backend"))...)
}

func validateBackend(b *networkingv1.IngressBackend, at *field.Path) field.ErrorList {
	switch {
	case b.Resource != nil && b.Service != nil:
		return field.ErrorList{field.Invalid(at, "", "cannot set both resource and service backends")}
	case b.Resource != nil:
		return objectReference(b.Resource.APIGroup, b.Resource.Kind, b.Resource.Name, at.Child("resource"))
	case b.Service == nil:
		return field.ErrorList{field.Invalid(at, "", "resource or service backend is required")}
	}
	var errs field.ErrorList
	if b.Service.Name == "" {
		errs = append(errs, field.Required(at.Child("service", "name"), ""))
	} else {
		errs = append(errs, rules.Matches(b.Service.Name, at.Child("service", "name"), apivalidation.NameIsDNSLabel(b.Service.Name, false))...)
	}
	switch port := b.Service.Port; {
	case port.Name != "" && port.Number != 0:
		errs = append(errs, field.Invalid(at, "", "cannot set both port name & port number"))
	case port.Name != "":
		errs = append(errs, rules.Matches(port.Name, at.Child("service", "port", "name"), validation.IsValidPortName(port.Name))...)
	case port.Number != 0:
		errs = append(errs, rules.Port(port.Number, at.Child("service", "port", "number"))...)
	default:
		errs = append(errs, field.Required(at, "port name or number is required"))
	}
	return errs
}

// objectReference checks what names an object of any kind.
func objectReference(group *string, kind, name string, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if group != nil {
		errs = append(errs, rules.Subdomain(*group, at.Child("apiGroup"))...)
	}
	for _, one := range []struct{ field, value string }{{"kind", kind}, {"name", name}} {
		if one.value == "" {
			errs = append(errs, field.Required(at.Child(one.field), ""))
			continue
		}
		errs = append(errs, rules.Matches(one.value, at.Child(one.field), path.IsValidPathSegmentName(one.value))...)
	}
	return errs
}

func ingressColumns() []metav1.TableColumnDefinition {
	return []metav1.TableColumnDefinition{
		columns.Name(), columns.String("Class", "The name of the IngressClass resource that should be used for additional configuration"),
		columns.String("Hosts", "Hosts that incoming requests are matched against before the ingress rule"),
		columns.String("Address", "Address is a list containing ingress points for the load-balancer"),
		columns.String("Ports", "Ports of TLS configurations that open"), columns.Created(),
	}
}

const (
	maxHosts        = 3
	maxAddressWidth = 16
)

func ingressCells(i *networkingv1.Ingress, now time.Time) []any {
	class := ptr.Deref(i.Spec.IngressClassName, "")
	if class == "" {
		class = columns.None(i.Annotations[classAnnotation])
	}
	var hosts, addresses []string
	for _, r := range i.Spec.Rules {
		if r.Host != "" {
			hosts = append(hosts, r.Host)
		}
	}
	host := "*"
	if len(hosts) > 0 {
		host = columns.FirstFew(hosts, maxHosts)
	}
	for _, entry := range i.Status.LoadBalancer.Ingress {
		if entry.IP != "" {
			addresses = append(addresses, entry.IP)
		} else if entry.Hostname != "" {
			addresses = append(addresses, entry.Hostname)
		}
	}
	address := strings.Join(addresses, ",")
	if len(address) > maxAddressWidth {
		address = address[:maxAddressWidth-3] + "..."
	}
	ports := "80"
	if len(i.Spec.TLS) > 0 {
		ports = "80, 443"
	}
	return []any{i.Name, class, host, address, ports, columns.Age(i.CreationTimestamp, now)}
}

func ingressClasses() *resource.Resource {
	counted := typed.Counted(func(c *networkingv1.IngressClass) *networkingv1.IngressClassSpec { return &c.Spec })
	return &resource.Resource{
		GVK: networkingv1.SchemeGroupVersion.WithKind("IngressClass"), Plural: "ingressclasses", Singular: "ingressclass", StoragePrefix: "ingressclasses",
		New: typed.New[networkingv1.IngressClass], NewList: typed.New[networkingv1.IngressClassList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(c *networkingv1.IngressClass) {
				if p := c.Spec.Parameters; p != nil && p.Scope == nil {
					p.Scope = ptr.To(networkingv1.IngressClassParametersReferenceScopeCluster)
				}
			}),
			PrepareForCreate: counted.Create,
			PrepareForUpdate: counted.Update,
			Validate: typed.Validate(func(c *networkingv1.IngressClass) field.ErrorList {
				return validateIngressClass(&c.Spec, field.NewPath("spec"))
			}),
			ValidateUpdate: typed.Change(func(c, old *networkingv1.IngressClass) field.ErrorList {
				return rules.Immutable(c.Spec.Controller, old.Spec.Controller, field.NewPath("spec").Child("controller"))
			}),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("Controller", "Controller that is responsible for handling this class"),
				columns.String("Parameters", "A reference to a resource with additional parameters"), columns.Created(),
			},
			Cells: typed.Cells(func(c *networkingv1.IngressClass, now time.Time) []any {
				parameters := "<none>"
				if p := c.Spec.Parameters; p != nil {
					parameters = p.Kind
					if p.APIGroup != nil {
						parameters += "." + *p.APIGroup
					}
					parameters += "/" + p.Name
				}
				return []any{c.Name, c.Spec.Controller, parameters, columns.Age(c.CreationTimestamp, now)}
			}),
		},
	}
}

// maxController is upstream's bound on the name of a controller, in bytes.
const maxController = 250

func validateIngressClass(s *networkingv1.IngressClassSpec, at *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(s.Controller) > maxController {
		errs = append(errs, field.TooLong(at.Child("controller"), "", maxController))
	}
	errs = append(errs, validation.IsDomainPrefixedPath(at.Child("controller"), s.Controller)...)
	p := s.Parameters
	if p == nil {
		return errs
	}
	where := at.Child("parameters")
	errs = append(errs, objectReference(p.APIGroup, p.Kind, p.Name, where)...)
	cluster := networkingv1.IngressClassParametersReferenceScopeCluster
	namespaced := networkingv1.IngressClassParametersReferenceScopeNamespace
	if p.Scope == nil {
		return append(errs, field.Required(where.Child("scope"), ""))
	}
	errs = append(errs, rules.OneOf(*p.Scope, where.Child("scope"), cluster, namespaced)...)
	switch {
	case *p.Scope == namespaced && p.Namespace == nil:
		errs = append(errs, field.Required(where.Child("namespace"), "`parameters.scope` is set to 'Namespace'"))
	case *p.Scope == namespaced:
		errs = append(errs, rules.Label(*p.Namespace, where.Child("namespace"))...)
	case *p.Scope == cluster && p.Namespace != nil:
		errs = append(errs, field.Forbidden(where.Child("namespace"), "`parameters.scope` is set to 'Cluster'"))
	}
	return errs
}

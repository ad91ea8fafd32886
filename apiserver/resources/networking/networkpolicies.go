package networking

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/rules"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

func networkPolicies() *resource.Resource {
	counted := typed.Counted(func(p *networkingv1.NetworkPolicy) *networkingv1.NetworkPolicySpec { return &p.Spec })
	return &resource.Resource{
		GVK: networkingv1.SchemeGroupVersion.WithKind("NetworkPolicy"), Plural: "networkpolicies", Singular: "networkpolicy",
		ShortNames: []string{"netpol"}, Namespaced: true, StoragePrefix: "networkpolicies",
		New: typed.New[networkingv1.NetworkPolicy], NewList: typed.New[networkingv1.NetworkPolicyList],
		Strategy: resource.Strategy{
			Default:          typed.Default(defaultPolicy),
			PrepareForCreate: counted.Create,
			PrepareForUpdate: counted.Update,
			Validate: typed.Validate(func(p *networkingv1.NetworkPolicy) field.ErrorList {
				return validatePolicy(&p.Spec, nil, field.NewPath("spec"))
			}),
			ValidateChange: typed.Change(func(p, old *networkingv1.NetworkPolicy) field.ErrorList {
				return validatePolicy(&p.Spec, ranges(&old.Spec), field.NewPath("spec"))
			}),
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
		},
		Table: resource.Table{
			Columns: []metav1.TableColumnDefinition{
				columns.Name(), columns.String("Pod-Selector", networkingv1.NetworkPolicySpec{}.SwaggerDoc()["podSelector"]), columns.Created(),
			},
			Cells: typed.Cells(func(p *networkingv1.NetworkPolicy, now time.Time) []any {
				return []any{p.Name, columns.Selector(&p.Spec.PodSelector), columns.Age(p.CreationTimestamp, now)}
			}),
		},
	}
}

func defaultPolicy(p *networkingv1.NetworkPolicy) {
	if len(p.Spec.PolicyTypes) == 0 {
		p.Spec.PolicyTypes = []networkingv1.PolicyType{networkingv1.PolicyTypeIngress}
		if len(p.Spec.Egress) > 0 {
			p.Spec.PolicyTypes = append(p.Spec.PolicyTypes, networkingv1.PolicyTypeEgress)
		}
	}
	tcp := func(ports []networkingv1.NetworkPolicyPort) {
		for i := range ports {
			if ports[i].Protocol == nil {
				ports[i].Protocol = ptr.To(corev1.ProtocolTCP)
			}
		}
	}
	for i := range p.Spec.Ingress {
		tcp(p.Spec.Ingress[i].Ports)
	}
	for i := range p.Spec.Egress {
		tcp(p.Spec.Egress[i].Ports)
	}
}

// ranges are the address ranges that a policy names.
func ranges(s *networkingv1.NetworkPolicySpec) []string {
	var out []string
	add := func(peers []networkingv1.NetworkPolicyPeer) {
		for i := range peers {
			if b := peers[i].IPBlock; b != nil {
				out = append(append(out, b.CIDR), b.Except...)
			}
		}
	}
	for i := range s.Ingress {
		add(s.Ingress[i].From)
	}
	for i := range s.Egress {
		add(s.Egress[i].To)
	}
	return out
}

// validatePolicy checks a policy; held are the ranges that it had before, which may
// stay in whatever form they are.
func validatePolicy(s *networkingv1.NetworkPolicySpec, held []string, path *field.Path) field.ErrorList {
	errs := rules.Selector(&s.PodSelector, path.Child("podSelector"))
	for i, r := range s.Ingress {
		errs = append(errs, validatePeers(r.Ports, r.From, held, "from", path.Child("ingress").Index(i))...)
	}
	for i, r := range s.Egress {
		errs = append(errs, validatePeers(r.Ports, r.To, held, "to", path.Child("egress").Index(i))...)
	}
	at := path.Child("policyTypes")
	if len(s.PolicyTypes) > 2 {
		return append(errs, field.Invalid(at, &s.PolicyTypes, "may not specify more than two policyTypes"))
	}
	for i, t := range s.PolicyTypes {
		errs = append(errs, rules.OneOf(t, at.Index(i), networkingv1.PolicyTypeIngress, networkingv1.PolicyTypeEgress)...)
	}
	return errs
}

func validatePeers(ports []networkingv1.NetworkPolicyPort, peers []networkingv1.NetworkPolicyPeer, held []string, name string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range ports {
		errs = append(errs, policyPort(&ports[i], path.Child("ports").Index(i))...)
	}
	for i := range peers {
		errs = append(errs, policyPeer(&peers[i], held, path.Child(name).Index(i))...)
	}
	return errs
}

func policyPort(p *networkingv1.NetworkPolicyPort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if p.Protocol != nil {
		errs = append(errs, rules.OneOf(*p.Protocol, path.Child("protocol"), corev1.ProtocolTCP, corev1.ProtocolUDP, corev1.ProtocolSCTP)...)
	}
	if p.Port == nil {
		if p.EndPort != nil {
			errs = append(errs, field.Invalid(path.Child("endPort"), *p.EndPort, "may not be specified when `port` is not specified"))
		}
		return errs
	}
	errs = append(errs, rules.PortOrName(*p.Port, path.Child("port"))...)
	if p.EndPort == nil {
		return errs
	}
	if p.Port.Type == intstr.String {
		return append(errs, field.Invalid(path.Child("endPort"), *p.EndPort, "may not be specified when `port` is non-numeric"))
	}
	if *p.EndPort < p.Port.IntVal {
		errs = append(errs, field.Invalid(path.Child("endPort"), *p.EndPort, "must be greater than or equal to `port`"))
	}
	return append(errs, rules.Port(*p.EndPort, path.Child("endPort"))...)
}

func policyPeer(p *networkingv1.NetworkPolicyPeer, held []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	n := 0
	if p.PodSelector != nil {
		n++
		errs = append(errs, rules.Selector(p.PodSelector, path.Child("podSelector"))...)
	}
	if p.NamespaceSelector != nil {
		n++
		errs = append(errs, rules.Selector(p.NamespaceSelector, path.Child("namespaceSelector"))...)
	}
	if p.IPBlock != nil {
		n++
		errs = append(errs, ipBlock(p.IPBlock, held, path.Child("ipBlock"))...)
	}
	switch {
	case n == 0:
		errs = append(errs, field.Required(path, "must specify a peer"))
	case n > 1 && p.IPBlock != nil:
		errs = append(errs, field.Forbidden(path, "may not specify both ipBlock and another peer"))
	}
	return errs
}

func ipBlock(b *networkingv1.IPBlock, held []string, path *field.Path) field.ErrorList {
	if b.CIDR == "" {
		return field.ErrorList{field.Required(path.Child("cidr"), "")}
	}
	errs := rules.NewCIDR(b.CIDR, held, path.Child("cidr"))
	_, whole, err := netutils.ParseCIDRSloppy(b.CIDR)
	if err != nil {
		return errs
	}
	bits, _ := whole.Mask.Size()
	for i, except := range b.Except {
		at := path.Child("except").Index(i)
		errs = append(errs, rules.NewCIDR(except, held, at)...)
		_, part, err := netutils.ParseCIDRSloppy(except)
		if err != nil {
			continue
		}
		if n, _ := part.Mask.Size(); !whole.Contains(part.IP) || n <= bits {
			errs = append(errs, field.Invalid(at, except, "must be a strict subset of `cidr`"))
		}
	}
	return errs
}

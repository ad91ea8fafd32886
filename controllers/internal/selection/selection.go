// Package selection knows which pods stand behind a service, and on which
// ports: what both forms of endpoints must agree on.
package selection

import (
	"net/netip"
	"reflect"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/podstate"
)

// HasEndpoints reports whether the cluster keeps endpoints for the service from
// its selector.
func HasEndpoints(svc *corev1.Service) bool {
	return len(svc.Spec.Selector) > 0 && svc.Spec.Type != corev1.ServiceTypeExternalName
}

// Belongs reports whether the pod belongs among the endpoints: it may be
// reached now, or was a moment ago.
func Belongs(p *corev1.Pod, withTerminating bool) bool {
	return !podstate.IsTerminal(p) && len(podIPs(p)) > 0 && (withTerminating || p.DeletionTimestamp == nil)
}

func podIPs(p *corev1.Pod) []corev1.PodIP {
	if len(p.Status.PodIPs) == 0 && p.Status.PodIP != "" {
		return []corev1.PodIP{{IP: p.Status.PodIP}}
	}
	return p.Status.PodIPs
}

// Addresses are the pod's addresses of one family.
func Addresses(p *corev1.Pod, family corev1.IPFamily) (out []string) {
	for _, ip := range podIPs(p) {
		if a, err := netip.ParseAddr(ip.IP); err == nil && FamilyOf(a) == family {
			out = append(out, ip.IP)
		}
	}
	return out
}

// FamilyOf is the family of an address.
func FamilyOf(a netip.Addr) corev1.IPFamily {
	if a.Is4() || a.Is4In6() {
		return corev1.IPv4Protocol
	}
	return corev1.IPv6Protocol
}

// Families are the address families of a service; the first is the main one.
func Families(svc *corev1.Service) []corev1.IPFamily {
	if len(svc.Spec.IPFamilies) > 0 {
		return svc.Spec.IPFamilies
	}
	if a, err := netip.ParseAddr(svc.Spec.ClusterIP); err == nil {
		return []corev1.IPFamily{FamilyOf(a)}
	}
	return []corev1.IPFamily{corev1.IPv4Protocol}
}

// Hostname is the name under which the pod shows up in the service's domain,
// empty if it has none.
func Hostname(svc *corev1.Service, p *corev1.Pod) string {
	if p.Spec.Subdomain == svc.Name && p.Namespace == svc.Namespace {
		return p.Spec.Hostname
	}
	return ""
}

// Port is the number that a service port leads to in the pod. Not ok means the
// pod has no port of that name.
func Port(p *corev1.Pod, sp *corev1.ServicePort) (number int32, ok bool) {
	if sp.TargetPort.Type == intstr.Int {
		if n := sp.TargetPort.IntVal; n != 0 {
			return n, true
		}
		return sp.Port, true
	}
	for i := range p.Spec.Containers {
		if n, ok := named(&p.Spec.Containers[i], sp); ok {
			return n, true
		}
	}
	for i := range p.Spec.InitContainers {
		c := &p.Spec.InitContainers[i]
		if c.RestartPolicy == nil || *c.RestartPolicy != corev1.ContainerRestartPolicyAlways {
			continue
		}
		if n, ok := named(c, sp); ok {
			return n, true
		}
	}
	return 0, false
}

func named(c *corev1.Container, sp *corev1.ServicePort) (int32, bool) {
	for _, port := range c.Ports {
		if port.Name == sp.TargetPort.StrVal && protocol(port.Protocol) == protocol(sp.Protocol) {
			return port.ContainerPort, true
		}
	}
	return 0, false
}

func protocol(p corev1.Protocol) corev1.Protocol {
	if p == "" {
		return corev1.ProtocolTCP
	}
	return p
}

// PodKeys maps the change of a pod to the services that select it or did.
func PodKeys(services corelisters.ServiceLister) func(controllers.Change) []controllers.Key {
	return func(c controllers.Change) []controllers.Key {
		old, _ := c.Old.(*corev1.Pod)
		pod, _ := c.New.(*corev1.Pod)
		if old != nil && pod != nil && !matters(old, pod) {
			return nil
		}
		all, err := services.Services(c.Object().GetNamespace()).List(labels.Everything())
		if err != nil {
			return nil
		}
		var keys []controllers.Key
		for _, svc := range all {
			if HasEndpoints(svc) && (selects(svc, old) || selects(svc, pod)) {
				keys = append(keys, controllers.KeyOf(svc))
			}
		}
		return keys
	}
}

func selects(svc *corev1.Service, p *corev1.Pod) bool {
	return p != nil && labels.Set(svc.Spec.Selector).AsSelectorPreValidated().Matches(labels.Set(p.Labels))
}

// matters reports whether the change can show in any endpoints.
func matters(old, pod *corev1.Pod) bool {
	return podstate.IsReady(old) != podstate.IsReady(pod) ||
		podstate.IsTerminal(old) != podstate.IsTerminal(pod) ||
		(old.DeletionTimestamp == nil) != (pod.DeletionTimestamp == nil) ||
		old.Spec.NodeName != pod.Spec.NodeName || old.UID != pod.UID ||
		!apiequality.Semantic.DeepEqual(podIPs(old), podIPs(pod)) ||
		!reflect.DeepEqual(old.Labels, pod.Labels)
}

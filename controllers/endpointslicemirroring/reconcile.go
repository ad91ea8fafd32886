package endpointslicemirroring

//lint:file-ignore SA1019 Endpoints are still served, and still written.

import (
	"maps"
	"net/netip"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/selection"
	"github.com/strake-io/strake/controllers/internal/sliceplan"
)

// maxPerSubset is how many addresses of a subset are mirrored.
const maxPerSubset = 1000

// leaderAnnotation marks Endpoints that were only ever a lock.
const leaderAnnotation = "control-plane.alpha.kubernetes.io/leader"

// View is what one reconcile sees.
type View struct {
	Service   *corev1.Service   // nil if there is none
	Endpoints *corev1.Endpoints // nil if there are none
	Slices    []*discoveryv1.EndpointSlice
}

// Reconcile decides which mirrored slices to write.
func Reconcile(v View) controllers.Plan {
	if !mirrored(v) {
		var writes []controllers.Write
		for _, s := range v.Slices {
			writes = append(writes, controllers.Write{Verb: controllers.Delete, Object: s})
		}
		return controllers.Do(writes...)
	}
	var plan controllers.Plan
	for _, family := range []corev1.IPFamily{corev1.IPv4Protocol, corev1.IPv6Protocol} {
		plan.Steps = append(plan.Steps, sliceplan.Plan(sliceplan.Wanted{
			Type: discoveryv1.AddressType(family), Groups: groups(v.Endpoints, family), Meta: meta(v.Endpoints),
		}, v.Slices).Steps...)
	}
	return plan
}

// mirrored reports whether the endpoints are somebody's own and wanted as slices too.
func mirrored(v View) bool {
	if v.Endpoints == nil || v.Endpoints.DeletionTimestamp != nil || v.Service == nil || v.Service.Spec.Selector != nil {
		return false
	}
	_, lock := v.Endpoints.Annotations[leaderAnnotation]
	return !lock && v.Endpoints.Labels[discoveryv1.LabelSkipMirror] != "true"
}

func groups(e *corev1.Endpoints, family corev1.IPFamily) (out []sliceplan.Group) {
	byPorts := map[string]int{}
	for i := range e.Subsets {
		s := &e.Subsets[i]
		ports := portsOf(s.Ports)
		var list []discoveryv1.Endpoint
		list = mirror(list, s.Addresses, family, true)
		list = mirror(list, s.NotReadyAddresses, family, false)
		if len(list) == 0 {
			continue
		}
		list = list[:min(maxPerSubset, len(list))]
		key := sliceplan.PortsKey(ports)
		at, ok := byPorts[key]
		if !ok {
			at = len(out)
			byPorts[key] = at
			out = append(out, sliceplan.Group{Ports: ports})
		}
		out[at].Endpoints = append(out[at].Endpoints, list...)
	}
	return out
}

func mirror(list []discoveryv1.Endpoint, addresses []corev1.EndpointAddress, family corev1.IPFamily, ready bool) []discoveryv1.Endpoint {
	for i := range addresses {
		a := addresses[i]
		ip, err := netip.ParseAddr(a.IP)
		if err != nil || selection.FamilyOf(ip) != family {
			continue
		}
		is := ready
		e := discoveryv1.Endpoint{Addresses: []string{a.IP}, Conditions: discoveryv1.EndpointConditions{Ready: &is}, TargetRef: a.TargetRef, NodeName: a.NodeName}
		if a.Hostname != "" {
			host := a.Hostname
			e.Hostname = &host
		}
		list = append(list, e)
	}
	return list
}

func portsOf(ports []corev1.EndpointPort) []discoveryv1.EndpointPort {
	out := make([]discoveryv1.EndpointPort, 0, len(ports))
	for _, p := range ports {
		name, number, protocol := p.Name, p.Port, p.Protocol
		out = append(out, discoveryv1.EndpointPort{Name: &name, Port: &number, Protocol: &protocol, AppProtocol: p.AppProtocol})
	}
	return out
}

func meta(e *corev1.Endpoints) metav1.ObjectMeta {
	labels := map[string]string{}
	maps.Copy(labels, e.Labels)
	labels[discoveryv1.LabelServiceName] = e.Name
	labels[discoveryv1.LabelManagedBy] = ManagedBy
	return metav1.ObjectMeta{
		Namespace: e.Namespace, GenerateName: e.Name + "-", Labels: labels,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(e, corev1.SchemeGroupVersion.WithKind("Endpoints"))},
	}
}

package endpointslice

import (
	"cmp"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/podstate"
	"github.com/strake-io/strake/controllers/internal/selection"
	"github.com/strake-io/strake/controllers/internal/sliceplan"
)

// View is what one reconcile sees.
type View struct {
	Service *corev1.Service
	Pods    []*corev1.Pod                  // those that the service selects
	Node    func(name string) *corev1.Node // nil if there is no such node
	Slices  []*discoveryv1.EndpointSlice   // of the service, under this controller
}

// Reconcile decides which slices to write.
func Reconcile(v View) controllers.Plan {
	svc := v.Service
	if svc.DeletionTimestamp != nil {
		return controllers.Plan{} // the slices go with their owner
	}
	if !selection.HasEndpoints(svc) {
		return controllers.Plan{} // slices of such a service are somebody else's work
	}
	var plan controllers.Plan
	served := map[discoveryv1.AddressType]bool{}
	for _, family := range selection.Families(svc) {
		t := discoveryv1.AddressType(family)
		served[t] = true
		plan.Steps = append(plan.Steps, sliceplan.Plan(sliceplan.Wanted{
			Type: t, Groups: groups(v, family), Meta: meta(svc), Placeholder: true, Failed: failed(svc),
		}, v.Slices).Steps...)
	}
	for _, s := range v.Slices {
		if !served[s.AddressType] {
			plan.Steps = append(plan.Steps, controllers.Step{Writes: []controllers.Write{{Verb: controllers.Delete, Object: s}}})
		}
	}
	return plan
}

func failed(svc *corev1.Service) *controllers.Event {
	return &controllers.Event{
		About: svc, Type: corev1.EventTypeWarning, Reason: "FailedToUpdateEndpointSlices",
		Message: "Error updating Endpoint Slices for Service " + svc.Namespace + "/" + svc.Name + ": %s",
	}
}

// groups are the endpoints by the ports that they are reached on.
func groups(v View, family corev1.IPFamily) []sliceplan.Group {
	byPorts := map[string]*sliceplan.Group{}
	pods := slices.Clone(v.Pods)
	slices.SortFunc(pods, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	for _, p := range pods {
		addresses := selection.Addresses(p, family)
		if !selection.Belongs(p, true) || len(addresses) == 0 {
			continue
		}
		node := v.Node(p.Spec.NodeName)
		if node == nil && !v.Service.Spec.PublishNotReadyAddresses {
			continue // its node is gone, and so is the pod as far as anybody can tell
		}
		ports := portsOf(v.Service, p)
		if len(ports) == 0 && len(v.Service.Spec.Ports) > 0 {
			// Upstream keeps the address, on no port at all, too.
			ports = []discoveryv1.EndpointPort{}
		}
		key := sliceplan.PortsKey(ports)
		if byPorts[key] == nil {
			byPorts[key] = &sliceplan.Group{Ports: ports}
		}
		byPorts[key].Endpoints = append(byPorts[key].Endpoints, endpoint(v.Service, p, node, addresses))
	}
	var out []sliceplan.Group
	for _, key := range slices.Sorted(maps.Keys(byPorts)) {
		g := byPorts[key]
		hint(v.Service, g.Endpoints)
		out = append(out, *g)
	}
	return out
}

func portsOf(svc *corev1.Service, p *corev1.Pod) []discoveryv1.EndpointPort {
	ports := []discoveryv1.EndpointPort{}
	for i := range svc.Spec.Ports {
		sp := &svc.Spec.Ports[i]
		number, ok := selection.Port(p, sp)
		if !ok {
			continue
		}
		name, protocol := sp.Name, sp.Protocol
		ports = append(ports, discoveryv1.EndpointPort{Name: &name, Protocol: &protocol, Port: &number, AppProtocol: sp.AppProtocol})
	}
	return ports
}

func endpoint(svc *corev1.Service, p *corev1.Pod, node *corev1.Node, addresses []string) discoveryv1.Endpoint {
	serving := podstate.IsReady(p)
	terminating := p.DeletionTimestamp != nil
	ready := svc.Spec.PublishNotReadyAddresses || (serving && !terminating)
	e := discoveryv1.Endpoint{
		Addresses:  addresses,
		Conditions: discoveryv1.EndpointConditions{Ready: &ready, Serving: &serving, Terminating: &terminating},
		TargetRef:  &corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID},
	}
	if p.Spec.NodeName != "" {
		name := p.Spec.NodeName
		e.NodeName = &name
	}
	if node != nil {
		if zone := node.Labels[corev1.LabelTopologyZone]; zone != "" {
			e.Zone = &zone
		}
	}
	if host := selection.Hostname(svc, p); host != "" {
		e.Hostname = &host
	}
	return e
}

// hint says which zone or node each endpoint is best used from, where the
// service asks for short ways. As soon as one ready endpoint has no zone, none
// gets hints: traffic from that zone would have nowhere to go.
func hint(svc *corev1.Service, endpoints []discoveryv1.Endpoint) {
	policy := svc.Spec.TrafficDistribution
	if policy == nil {
		return
	}
	sameNode := *policy == corev1.ServiceTrafficDistributionPreferSameNode
	if !sameNode && *policy != corev1.ServiceTrafficDistributionPreferClose && *policy != corev1.ServiceTrafficDistributionPreferSameZone {
		return
	}
	for i := range endpoints {
		if *endpoints[i].Conditions.Ready && endpoints[i].Zone == nil && !sameNode {
			return
		}
	}
	for i := range endpoints {
		e := &endpoints[i]
		if !*e.Conditions.Ready {
			continue
		}
		hints := &discoveryv1.EndpointHints{}
		if e.Zone != nil {
			hints.ForZones = []discoveryv1.ForZone{{Name: *e.Zone}}
		}
		if sameNode && e.NodeName != nil {
			hints.ForNodes = []discoveryv1.ForNode{{Name: *e.NodeName}}
		}
		e.Hints = hints
	}
}

// meta is the metadata of the service's slices.
func meta(svc *corev1.Service) metav1.ObjectMeta {
	labels := map[string]string{}
	for k, v := range svc.Labels {
		if k != discoveryv1.LabelServiceName && k != discoveryv1.LabelManagedBy && k != corev1.IsHeadlessService {
			labels[k] = v
		}
	}
	labels[discoveryv1.LabelServiceName] = svc.Name
	labels[discoveryv1.LabelManagedBy] = ManagedBy
	if svc.Spec.ClusterIP == corev1.ClusterIPNone || svc.Spec.ClusterIP == "" {
		labels[corev1.IsHeadlessService] = ""
	}
	return metav1.ObjectMeta{
		Namespace: svc.Namespace, GenerateName: svc.Name + "-", Labels: labels,
		OwnerReferences: []metav1.OwnerReference{*metav1.NewControllerRef(svc, corev1.SchemeGroupVersion.WithKind("Service"))},
	}
}

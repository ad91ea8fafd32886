package endpoints

//lint:file-ignore SA1019 Endpoints are still served, and still written.

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/podstate"
	"github.com/strake-io/strake/controllers/internal/selection"
)

// maxAddresses is how many addresses one Endpoints object lists.
const maxAddresses = 1000

// View is what one reconcile sees.
type View struct {
	Key     controllers.Key
	Service *corev1.Service // nil if there is none
	Pods    []*corev1.Pod   // those that the service selects
	Current *corev1.Endpoints
}

// Reconcile decides what to write to the Endpoints of the service's name.
func Reconcile(v View) controllers.Plan {
	if v.Service == nil || v.Service.DeletionTimestamp != nil {
		if v.Current != nil && v.Current.Labels[managedByLabel] == managedBy {
			return controllers.Do(controllers.Write{Verb: controllers.Delete, Object: v.Current})
		}
		return controllers.Plan{}
	}
	svc := v.Service
	if !selection.HasEndpoints(svc) {
		return controllers.Plan{} // without a selector the endpoints are the user's own
	}
	all, truncated := truncate(subsets(svc, v.Pods))
	wanted := &corev1.Endpoints{ObjectMeta: metav1.ObjectMeta{Namespace: svc.Namespace, Name: svc.Name}}
	if v.Current != nil {
		wanted = v.Current.DeepCopy()
	}
	wanted.Subsets = all
	wanted.Labels = labelsOf(svc)
	annotations := maps.Clone(wanted.Annotations)
	delete(annotations, corev1.EndpointsOverCapacity)
	if truncated {
		if annotations == nil {
			annotations = map[string]string{}
		}
		annotations[corev1.EndpointsOverCapacity] = "truncated"
	}
	wanted.Annotations = annotations

	name := svc.Namespace + "/" + svc.Name
	if v.Current == nil {
		return controllers.Do(controllers.Write{Verb: controllers.Create, Object: wanted, Failed: &controllers.Event{
			About: svc, Type: corev1.EventTypeWarning, Reason: "FailedToCreateEndpoint",
			Message: "Failed to create endpoint for service " + name + ": %s",
		}})
	}
	if apiequality.Semantic.DeepEqual(wanted, v.Current) {
		return controllers.Plan{}
	}
	return controllers.Do(controllers.Write{Verb: controllers.Update, Object: wanted, Failed: &controllers.Event{
		About: wanted, Type: corev1.EventTypeWarning, Reason: "FailedToUpdateEndpoint",
		Message: "Failed to update endpoint " + name + ": %s",
	}})
}

func labelsOf(svc *corev1.Service) map[string]string {
	labels := map[string]string{}
	maps.Copy(labels, svc.Labels)
	delete(labels, corev1.IsHeadlessService)
	if svc.Spec.ClusterIP == corev1.ClusterIPNone || svc.Spec.ClusterIP == "" {
		labels[corev1.IsHeadlessService] = ""
	}
	labels[managedByLabel] = managedBy
	return labels
}

// subsets lists the addresses by the ports that they are reached on, in a fixed
// order, so that equal sets are equal objects.
func subsets(svc *corev1.Service, pods []*corev1.Pod) []corev1.EndpointSubset {
	byPorts := map[string]*corev1.EndpointSubset{}
	family := selection.Families(svc)[0]
	for _, p := range pods {
		addresses := selection.Addresses(p, family)
		if !selection.Belongs(p, svc.Spec.PublishNotReadyAddresses) || len(addresses) == 0 {
			continue
		}
		ports, key := portsOf(svc, p)
		if len(ports) == 0 && len(svc.Spec.Ports) > 0 {
			continue
		}
		s := byPorts[key]
		if s == nil {
			s = &corev1.EndpointSubset{Ports: ports}
			byPorts[key] = s
		}
		a := address(svc, p, addresses[0])
		if svc.Spec.PublishNotReadyAddresses || podstate.IsReady(p) {
			s.Addresses = append(s.Addresses, a)
		} else {
			s.NotReadyAddresses = append(s.NotReadyAddresses, a)
		}
	}
	var out []corev1.EndpointSubset
	for _, key := range slices.Sorted(maps.Keys(byPorts)) {
		s := byPorts[key]
		slices.SortFunc(s.Addresses, byAddress)
		slices.SortFunc(s.NotReadyAddresses, byAddress)
		out = append(out, *s)
	}
	return out
}

func byAddress(a, b corev1.EndpointAddress) int {
	return cmp.Or(bytes.Compare([]byte(a.IP), []byte(b.IP)), cmp.Compare(a.TargetRef.UID, b.TargetRef.UID))
}

func address(svc *corev1.Service, p *corev1.Pod, ip string) corev1.EndpointAddress {
	a := corev1.EndpointAddress{
		IP: ip, Hostname: selection.Hostname(svc, p),
		TargetRef: &corev1.ObjectReference{Kind: "Pod", Namespace: p.Namespace, Name: p.Name, UID: p.UID},
	}
	if p.Spec.NodeName != "" {
		node := p.Spec.NodeName
		a.NodeName = &node
	}
	return a
}

func portsOf(svc *corev1.Service, p *corev1.Pod) (ports []corev1.EndpointPort, key string) {
	for i := range svc.Spec.Ports {
		sp := &svc.Spec.Ports[i]
		if number, ok := selection.Port(p, sp); ok {
			ports = append(ports, corev1.EndpointPort{Name: sp.Name, Port: number, Protocol: sp.Protocol, AppProtocol: sp.AppProtocol})
		}
	}
	slices.SortFunc(ports, func(a, b corev1.EndpointPort) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
	})
	var b strings.Builder
	for _, port := range ports {
		fmt.Fprintf(&b, "%s %d %s;", port.Name, port.Port, port.Protocol)
	}
	return ports, b.String()
}

// truncate drops what is over the limit, the addresses that are not ready first.
func truncate(all []corev1.EndpointSubset) ([]corev1.EndpointSubset, bool) {
	ready, total := 0, 0
	for _, s := range all {
		ready += len(s.Addresses)
		total += len(s.Addresses) + len(s.NotReadyAddresses)
	}
	if total <= maxAddresses {
		return all, false
	}
	roomReady := maxAddresses
	roomOther := max(0, maxAddresses-ready)
	var out []corev1.EndpointSubset
	for _, s := range all {
		s.Addresses = s.Addresses[:min(roomReady, len(s.Addresses))]
		roomReady -= len(s.Addresses)
		s.NotReadyAddresses = s.NotReadyAddresses[:min(roomOther, len(s.NotReadyAddresses))]
		roomOther -= len(s.NotReadyAddresses)
		if len(s.Addresses)+len(s.NotReadyAddresses) > 0 {
			out = append(out, s)
		}
	}
	return out, true
}

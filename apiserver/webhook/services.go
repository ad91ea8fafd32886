package webhook

import (
	"context"
	"fmt"
	"net"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/resource"
)

// Services finds services among a server's own objects: a ready endpoint of the
// port where there is one, so that no proxy has to run here, or else the cluster
// IP. objects is called for each connection, and may be set after this.
func Services(objects func() resource.Objects) ResolveFunc {
	return func(ctx context.Context, namespace, name string, port int32) (string, error) {
		obj, err := objects().Get(ctx, schema.GroupResource{Resource: "services"}, namespace, name)
		if err != nil {
			return "", err
		}
		svc, ok := obj.(*corev1.Service)
		if !ok {
			return "", fmt.Errorf("expected a Service, got %T", obj)
		}
		if svc.Spec.Type == corev1.ServiceTypeExternalName {
			return net.JoinHostPort(svc.Spec.ExternalName, strconv.Itoa(int(port))), nil
		}
		var found *corev1.ServicePort
		for i := range svc.Spec.Ports {
			if svc.Spec.Ports[i].Port == port {
				found = &svc.Spec.Ports[i]
			}
		}
		if found == nil {
			return "", fmt.Errorf("no service port %d found for service %q", port, name)
		}
		slices, err := objects().List(ctx, schema.GroupResource{Group: "discovery.k8s.io", Resource: "endpointslices"}, namespace)
		if err == nil {
			if address := readyEndpoint(slicesOf(slices, name), found.Name); address != "" {
				return address, nil
			}
		}
		if ip := svc.Spec.ClusterIP; ip != "" && ip != corev1.ClusterIPNone {
			return net.JoinHostPort(ip, strconv.Itoa(int(port))), nil
		}
		return "", fmt.Errorf("no endpoints available for service %q", name)
	}
}

func slicesOf[T any](objects []T, service string) []*discoveryv1.EndpointSlice {
	var out []*discoveryv1.EndpointSlice
	for _, obj := range objects {
		if s, ok := any(obj).(*discoveryv1.EndpointSlice); ok && s.Labels[discoveryv1.LabelServiceName] == service {
			out = append(out, s)
		}
	}
	return out
}

// readyEndpoint is the first that serves a port; "" where none does.
func readyEndpoint(slices []*discoveryv1.EndpointSlice, port string) string {
	for _, s := range slices {
		for _, p := range s.Ports {
			if p.Port == nil || port != "" && (p.Name == nil || *p.Name != port) {
				continue
			}
			for _, e := range s.Endpoints {
				if len(e.Addresses) > 0 && (e.Conditions.Ready == nil || *e.Conditions.Ready) {
					return net.JoinHostPort(e.Addresses[0], strconv.Itoa(int(*p.Port)))
				}
			}
		}
	}
	return ""
}

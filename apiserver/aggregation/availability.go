package aggregation

import (
	"context"
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/strake-io/strake/apiserver/resource"
)

// serviceName names a service.
type serviceName struct{ namespace, name string }

// seen is what can be known of a service without asking it.
type seen struct {
	service    *corev1.Service
	serviceErr error
	slices     []*discoveryv1.EndpointSlice
	slicesErr  error
}

func look(ctx context.Context, objects resource.Objects, name serviceName) seen {
	var s seen
	obj, err := objects.Get(ctx, services, name.namespace, name.name)
	if s.serviceErr = err; err != nil {
		return s
	}
	s.service, _ = obj.(*corev1.Service)
	all, err := objects.List(ctx, endpointSlices, name.namespace)
	s.slicesErr = err
	for _, obj := range all {
		if slice, ok := obj.(*discoveryv1.EndpointSlice); ok && slice.Labels[discoveryv1.LabelServiceName] == name.name {
			s.slices = append(s.slices, slice)
		}
	}
	return s
}

func condition(status apiregistrationv1.ConditionStatus, reason, format string, args ...any) apiregistrationv1.APIServiceCondition {
	return apiregistrationv1.APIServiceCondition{
		Type: apiregistrationv1.Available, Status: status, Reason: reason, Message: fmt.Sprintf(format, args...),
		LastTransitionTime: metav1.NewTime(time.Now()),
	}
}

// unavailable is why a service cannot answer, with upstream's reasons; ok says that
// it may, and has to be asked.
func (s *seen) unavailable(name serviceName, port int32) (c apiregistrationv1.APIServiceCondition, ok bool) {
	no, unknown := apiregistrationv1.ConditionFalse, apiregistrationv1.ConditionUnknown
	where := fmt.Sprintf("service/%s in %q", name.name, name.namespace)
	switch {
	case apierrors.IsNotFound(s.serviceErr):
		return condition(no, "ServiceNotFound", "%s is not present", where), false
	case s.serviceErr != nil || s.service == nil:
		return condition(unknown, "ServiceAccessError", "%s cannot be checked due to: %v", where, s.serviceErr), false
	case s.service.Spec.Type != corev1.ServiceTypeClusterIP:
		return c, true
	}
	at := slices.IndexFunc(s.service.Spec.Ports, func(p corev1.ServicePort) bool { return p.Port == port })
	if at < 0 {
		return condition(no, "ServicePortError", "%s is not listening on port %d", where, port), false
	}
	portName := s.service.Spec.Ports[at].Name
	switch {
	case s.slicesErr != nil:
		return condition(unknown, "EndpointsAccessError", "%s cannot be checked due to: %v", where, s.slicesErr), false
	case len(s.slices) == 0:
		return condition(no, "EndpointsNotFound", "cannot find endpointslices for %s", where), false
	case !slices.ContainsFunc(s.slices, func(slice *discoveryv1.EndpointSlice) bool { return ready(slice, portName) }):
		return condition(no, "MissingEndpoints", "endpointslices for %s have no addresses with port name %q", where, portName), false
	}
	return c, true
}

func ready(slice *discoveryv1.EndpointSlice, port string) bool {
	return slices.ContainsFunc(slice.Endpoints, func(e discoveryv1.Endpoint) bool {
		return e.Conditions.Ready == nil || *e.Conditions.Ready
	}) && slices.ContainsFunc(slice.Ports, func(p discoveryv1.EndpointPort) bool {
		return p.Name != nil && *p.Name == port && p.Port != nil
	})
}

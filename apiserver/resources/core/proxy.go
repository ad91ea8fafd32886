package core

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	netutils "k8s.io/utils/net"

	"github.com/strake-io/strake/apiserver/resource"
)

// The proxy sub-resources take a name of the form [scheme:]name[:port].

// connectPod serves pods/proxy.
func connectPod(proxy NodeProxy) resource.ConnectFunc {
	return func(ctx context.Context, req resource.Request, objects resource.Objects) (http.Handler, error) {
		scheme, name, port, valid := utilnet.SplitSchemeNamePort(req.Name)
		if !valid {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid pod request %q", req.Name))
		}
		obj, err := objects.Get(ctx, podResource, req.Namespace, name)
		if err != nil {
			return nil, err
		}
		pod := obj.(*corev1.Pod)
		if port == "" {
			port = firstPort(pod)
		}
		ip := pod.Status.PodIP
		if ip == "" && len(pod.Status.PodIPs) > 0 {
			ip = pod.Status.PodIPs[0].IP
		}
		return forward(ctx, proxy, req, scheme, ip, port)
	}
}

func firstPort(pod *corev1.Pod) string {
	for i := range pod.Spec.Containers {
		if ports := pod.Spec.Containers[i].Ports; len(ports) > 0 {
			return strconv.Itoa(int(ports[0].ContainerPort))
		}
	}
	return ""
}

// connectService serves services/proxy: it picks an endpoint that is ready.
func connectService(proxy NodeProxy, intN func(n int) int) resource.ConnectFunc {
	return func(ctx context.Context, req resource.Request, objects resource.Objects) (http.Handler, error) {
		scheme, name, port, valid := utilnet.SplitSchemeNamePort(req.Name)
		if !valid {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid service request %q", req.Name))
		}
		portName, err := servicePortName(ctx, objects, req.Namespace, name, port)
		if err != nil {
			return nil, err
		}
		obj, err := objects.Get(ctx, schema.GroupResource{Resource: "endpoints"}, req.Namespace, name)
		if apierrors.IsNotFound(err) {
			return nil, noEndpoints(req.Name)
		}
		if err != nil {
			return nil, err
		}
		ep := obj.(*corev1.Endpoints)
		type place struct{ ip, port string }
		var places []place
		for _, s := range ep.Subsets {
			for _, p := range s.Ports {
				if p.Name != portName {
					continue
				}
				for _, a := range s.Addresses {
					places = append(places, place{a.IP, strconv.Itoa(int(p.Port))})
				}
			}
		}
		if len(places) == 0 {
			return nil, noEndpoints(req.Name)
		}
		chosen := places[intN(len(places))]
		return forward(ctx, proxy, req, scheme, chosen.ip, chosen.port)
	}
}

func noEndpoints(service string) error {
	return apierrors.NewServiceUnavailable(fmt.Sprintf("no endpoints available for service %q", service))
}

// servicePortName is the name by which endpoints know the port: what the request
// says, or that of the service's port of this number.
func servicePortName(ctx context.Context, objects resource.Objects, namespace, name, port string) (string, error) {
	number, err := strconv.Atoi(port)
	if err != nil {
		return port, nil
	}
	obj, err := objects.Get(ctx, schema.GroupResource{Resource: "services"}, namespace, name)
	if err != nil {
		return "", err
	}
	for _, p := range obj.(*corev1.Service).Spec.Ports {
		if int(p.Port) == number {
			return p.Name, nil
		}
	}
	return "", apierrors.NewServiceUnavailable(fmt.Sprintf("no service port %d found for service %q", number, name))
}

// connectNode serves nodes/proxy: everything that the node's kubelet serves, and what
// others serve at other ports of the node.
func connectNode(proxy NodeProxy) resource.ConnectFunc {
	return func(ctx context.Context, req resource.Request, objects resource.Objects) (http.Handler, error) {
		scheme, name, port, valid := utilnet.SplitSchemeNamePort(req.Name)
		if !valid {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("invalid node request %q", req.Name))
		}
		return kubelet(ctx, proxy, objects, name, KubeletRequest{
			Port: port, Scheme: scheme,
			Path: utilnet.JoinPreservingTrailingSlash("/", req.Path), Query: req.Query, Flush: true, Proxied: true,
		})
	}
}

// forward sends a request on, but only to an address that can be a pod's: not to
// this host itself, nor to the network's own services.
func forward(ctx context.Context, proxy NodeProxy, req resource.Request, scheme, ip, port string) (http.Handler, error) {
	p, err := through(proxy)
	if err != nil {
		return nil, err
	}
	parsed := netutils.ParseIPSloppy(ip)
	switch {
	case parsed == nil:
		return nil, apierrors.NewBadRequest("address not allowed")
	case parsed.IsLoopback(), parsed.IsLinkLocalUnicast(), parsed.IsLinkLocalMulticast(), parsed.IsUnspecified():
		return nil, apierrors.NewBadRequest("address not allowed")
	}
	if scheme == "" {
		scheme = "http"
	}
	host := ip
	if port != "" {
		host = net.JoinHostPort(ip, port)
	} else if parsed.To4() == nil {
		host = "[" + ip + "]"
	}
	path := utilnet.JoinPreservingTrailingSlash("/", req.Path)
	return p.Forward(ctx, &url.URL{Scheme: scheme, Host: host, Path: path, RawQuery: req.Query.Encode()})
}

package strake

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/strake-io/strake/apiserver/resources/core"
	"github.com/strake-io/strake/store"
)

// The API servers of a cluster tell each other that they live by keys that expire, in
// upstream's place and form.
const (
	serverLeases  = "/registry/masterleases/"
	serverLife    = 15 * time.Second
	serverRenewal = 10 * time.Second
	// farewell bounds what is done when a control plane stops.
	farewell = 2 * time.Second
)

// advertised is where this control plane serves, and says so; not every one does.
func (c *ControlPlane) advertised() bool { return c.config.Advertise.IsValid() }

// keepEndpoints keeps the service "kubernetes" leading to all API servers that live,
// until ctx ends. Then this one takes itself out, if there are others.
func (c *ControlPlane) keepEndpoints(ctx context.Context, client kubernetes.Interface) {
	if !c.advertised() {
		return
	}
	ticker := time.NewTicker(serverRenewal)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			if err := c.reconcileEndpoints(ctx, client); err != nil && ctx.Err() == nil {
				c.config.Logger.Error(err, "Could not tell where the API servers are")
			}
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
			defer cancel()
			if err := c.leaveEndpoints(ctx, client); err != nil {
				c.config.Logger.V(1).Info("Could not leave the endpoints of the API", "error", err.Error())
			}
			return
		}
	}
}

// reconcileEndpoints says that this server lives, and writes where all that do are.
func (c *ControlPlane) reconcileEndpoints(ctx context.Context, client kubernetes.Interface) error {
	if !c.advertised() {
		return nil
	}
	own := c.config.Advertise.Addr().String()
	value, err := runtime.Encode(protobuf.NewSerializer(scheme.Scheme, scheme.Scheme), &corev1.Endpoints{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Endpoints"},
		Subsets:  []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: own}}}},
	})
	if err != nil {
		return fmt.Errorf("encoding the lease of this server: %w", err)
	}
	if _, err := c.config.Store.Put(ctx, store.Put{Key: serverLeases + own, Value: value, If: store.Any, TTL: serverLife}); err != nil {
		return fmt.Errorf("writing the lease of this server: %w", err)
	}
	servers, err := c.liveServers(ctx)
	if err != nil {
		return err
	}
	return c.writeEndpoints(ctx, client, servers)
}

func (c *ControlPlane) leaveEndpoints(ctx context.Context, client kubernetes.Interface) error {
	own := serverLeases + c.config.Advertise.Addr().String()
	var gone *store.ConflictError
	if _, err := c.config.Store.Delete(ctx, own, store.Any); err != nil && !errors.As(err, &gone) {
		return err
	}
	others, err := c.liveServers(ctx)
	if err != nil || len(others) == 0 {
		return err
	}
	return c.writeEndpoints(ctx, client, others)
}

// liveServers are the addresses of all API servers whose lease stands.
func (c *ControlPlane) liveServers(ctx context.Context) ([]netip.Addr, error) {
	list, err := c.config.Store.List(ctx, serverLeases, store.ListOptions{})
	if err != nil {
		return nil, fmt.Errorf("listing the leases of servers: %w", err)
	}
	var out []netip.Addr
	for _, kv := range list.KVs {
		if ip, err := netip.ParseAddr(strings.TrimPrefix(kv.Key, serverLeases)); err == nil {
			out = append(out, ip)
		}
	}
	return out, nil
}

// writeEndpoints writes what differs: of several servers each does the same.
func (c *ControlPlane) writeEndpoints(ctx context.Context, client kubernetes.Interface, servers []netip.Addr) error {
	endpoints, slice := core.KubernetesEndpoints(servers, int32(c.config.Advertise.Port()))
	err := ensure(ctx, client.CoreV1().Endpoints(endpoints.Namespace), endpoints, func(is *corev1.Endpoints) bool {
		return apiequality.Semantic.DeepEqual(is.Subsets, endpoints.Subsets)
	})
	if err != nil {
		return fmt.Errorf("publishing the endpoints of kubernetes: %w", err)
	}
	err = ensure(ctx, client.DiscoveryV1().EndpointSlices(slice.Namespace), slice, func(is *discoveryv1.EndpointSlice) bool {
		return apiequality.Semantic.DeepEqual(is.Endpoints, slice.Endpoints) && apiequality.Semantic.DeepEqual(is.Ports, slice.Ports)
	})
	if err != nil {
		return fmt.Errorf("publishing the endpoint slice of kubernetes: %w", err)
	}
	return nil
}

// writer is a client of one kind.
type writer[T any] interface {
	Get(ctx context.Context, name string, opts metav1.GetOptions) (T, error)
	Create(ctx context.Context, obj T, opts metav1.CreateOptions) (T, error)
	Update(ctx context.Context, obj T, opts metav1.UpdateOptions) (T, error)
}

// ensure makes an object, or replaces the one that there is where it is not the same.
// Another that makes it at the same time makes an equal one.
func ensure[T metav1.Object](ctx context.Context, to writer[T], want T, same func(is T) bool) error {
	is, err := to.Get(ctx, want.GetName(), metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		if _, err = to.Create(ctx, want, metav1.CreateOptions{}); apierrors.IsAlreadyExists(err) {
			return nil
		}
	case err == nil && !same(is):
		_, err = to.Update(ctx, want, metav1.UpdateOptions{})
	}
	return err
}

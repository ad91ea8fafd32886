package strake

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/strake-io/strake/apiserver/resources/core"
)

// securePort is the API's where none is advertised: upstream's default.
const securePort int32 = 6443

// publishKubernetesService makes the service "kubernetes", which every cluster has, and
// leads it to where the API is advertised, if it is.
func (c *ControlPlane) publishKubernetesService(ctx context.Context, client kubernetes.Interface) error {
	port := securePort
	if c.config.Advertise.IsValid() {
		port = int32(c.config.Advertise.Port())
	}
	service := core.KubernetesService(c.allocation.addresses[0].First(), port)
	_, err := client.CoreV1().Services(service.Namespace).Get(ctx, service.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		_, err = client.CoreV1().Services(service.Namespace).Create(ctx, service, metav1.CreateOptions{})
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return fmt.Errorf("publishing the service kubernetes: %w", err)
	}
	return c.reconcileEndpoints(ctx, client)
}

// kubernetesServiceInterval is how often it is looked after, upstream's.
const kubernetesServiceInterval = 10 * time.Second

// keepKubernetesService makes the service anew where it has gone, until ctx ends. So it
// gets an address of the cluster's own range after another had to make room for that.
func (c *ControlPlane) keepKubernetesService(ctx context.Context, client kubernetes.Interface) {
	ticks := time.NewTicker(kubernetesServiceInterval)
	defer ticks.Stop()
	told := ""
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticks.C:
		}
		_, err := c.server.Objects().Get(ctx, corev1.Resource("services"), metav1.NamespaceDefault, core.KubernetesServiceName)
		if apierrors.IsNotFound(err) {
			err = c.publishKubernetesService(ctx, client)
		}
		switch {
		case err == nil:
			told = ""
		case ctx.Err() == nil && err.Error() != told:
			told = err.Error()
			c.config.Logger.Error(err, "Could not look after the service kubernetes")
		}
	}
}

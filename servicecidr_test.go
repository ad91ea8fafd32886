package strake

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/strake-io/strake/store/memory"
)

// cluster is a control plane with what tests of cluster IPs ask of it.
type cluster struct {
	*testing.T
	kubernetes.Interface
}

func (c *cluster) service(families ...corev1.IPFamily) (*corev1.Service, error) {
	c.Helper()
	return c.CoreV1().Services("default").Create(c.Context(), &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "s-"},
		Spec:       corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}, IPFamilies: families},
	}, metav1.CreateOptions{})
}

// within makes a service and wants its address in the range.
func (c *cluster) within(cidr string, families ...corev1.IPFamily) *corev1.Service {
	c.Helper()
	s, err := c.service(families...)
	if err != nil {
		c.Fatal(err)
	}
	if ip, err := netip.ParseAddr(s.Spec.ClusterIP); err != nil || !netip.MustParsePrefix(cidr).Contains(ip) {
		c.Fatalf("%s has the address %s, want one of %s", s.Name, s.Spec.ClusterIP, cidr)
	}
	return s
}

func (c *cluster) full(families ...corev1.IPFamily) {
	c.Helper()
	if s, err := c.service(families...); err == nil || !strings.Contains(err.Error(), "failed to allocate a serviceIP for Service") || !strings.Contains(err.Error(), "range is full") {
		c.Fatalf("%+v, %v", s, err)
	}
}

func (c *cluster) add(name string, cidrs ...string) {
	c.Helper()
	o := &networkingv1.ServiceCIDR{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: networkingv1.ServiceCIDRSpec{CIDRs: cidrs}}
	if _, err := c.NetworkingV1().ServiceCIDRs().Create(c.Context(), o, metav1.CreateOptions{}); err != nil {
		c.Fatal(err)
	}
	synctest.Wait()
}

func (c *cluster) remove(name string) {
	c.Helper()
	if err := c.NetworkingV1().ServiceCIDRs().Delete(c.Context(), name, metav1.DeleteOptions{}); err != nil {
		c.Fatal(err)
	}
	synctest.Wait()
}

// state is a ServiceCIDR's condition.
func (c *cluster) state(name string) string {
	c.Helper()
	o, err := c.NetworkingV1().ServiceCIDRs().Get(c.Context(), name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return "gone"
	}
	if err != nil {
		c.Fatal(err)
	}
	var all []string
	for _, one := range o.Status.Conditions {
		all = append(all, strings.TrimSpace(fmt.Sprintf("%s=%s %s", one.Type, one.Status, one.Reason)))
	}
	return strings.Join(all, ",")
}

func (c *cluster) expect(name, want string) {
	c.Helper()
	if got := c.state(name); got != want {
		c.Fatalf("%s is %q, want %q", name, got, want)
	}
}

func runCluster(t *testing.T, config ControlPlaneConfig) (*cluster, func()) {
	t.Helper()
	plane, err := NewControlPlane(config)
	if err != nil {
		t.Fatal(err)
	}
	stop := background(t, plane.Run, plane.Ready())
	synctest.Wait()
	return &cluster{T: t, Interface: plane.Client()}, stop
}

// A tiny range is full; another takes over, waits for its service when it is deleted,
// and goes after it.
func TestServiceCIDRs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := runCluster(t, ControlPlaneConfig{ServiceCIDRs: []netip.Prefix{
			netip.MustParsePrefix("10.9.0.0/29"), netip.MustParsePrefix("fd09::/126"),
		}})
		defer stop()
		c.expect("kubernetes", "Ready=True")
		for range 5 { // one is the service kubernetes'
			c.within("10.9.0.0/29")
		}
		c.full()
		c.add("more", "10.10.0.0/28")
		c.expect("more", "Ready=True")
		late := c.within("10.10.0.0/28")
		wanted := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "wanted"}, Spec: corev1.ServiceSpec{ClusterIP: "10.10.0.7", Ports: []corev1.ServicePort{{Port: 80}}}}
		if late.Spec.ClusterIP == wanted.Spec.ClusterIP {
			wanted.Spec.ClusterIP = "10.10.0.8"
		}
		services := c.CoreV1().Services("default")
		if _, err := services.Create(t.Context(), wanted, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		c.remove("more")
		c.expect("more", "Ready=False Terminating")
		c.full()
		if err := services.Delete(t.Context(), wanted.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Hour)
		c.expect("more", "Ready=False Terminating")
		wanted.Spec.ClusterIP = "10.10.0.9"
		if _, err := services.Create(t.Context(), wanted, metav1.CreateOptions{}); !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "failed to allocate IP 10.10.0.9: the provided network does not match the current range") {
			t.Error(err)
		}
		if err := services.Delete(t.Context(), late.Name, metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		c.expect("more", "gone")

		// The other family: three addresses of its own, and some of a range of both.
		for range 3 {
			c.within("fd09::/126", corev1.IPv6Protocol)
		}
		c.full(corev1.IPv6Protocol)
		c.add("both", "fd0a::/64", "10.11.0.0/24")
		c.within("fd0a::/64", corev1.IPv6Protocol)
		c.within("10.11.0.0/24")

		// The default one stays while its addresses are in use, though it gives no more.
		c.remove("kubernetes")
		c.expect("kubernetes", "Ready=False Terminating")
		c.add("all", "10.9.0.0/16", "fd09::/64")
		time.Sleep(11 * time.Second)
		o, err := c.NetworkingV1().ServiceCIDRs().Get(t.Context(), "kubernetes", metav1.GetOptions{})
		if err != nil || o.DeletionTimestamp != nil {
			t.Fatalf("the default one is not made anew: %+v, %v", o, err)
		}
		c.expect("kubernetes", "Ready=True")
	})
}

// Without controllers there is the default one even so, in the server's own name, and
// ranges of which nobody says that they are ready are used.
func TestServiceCIDRsWithoutControllers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := runCluster(t, ControlPlaneConfig{NoControllers: true, NoScheduler: true, ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/30")}})
		defer stop()
		o, err := c.NetworkingV1().ServiceCIDRs().Get(t.Context(), "kubernetes", metav1.GetOptions{})
		if err != nil || len(o.Status.Conditions) != 1 || o.Status.Conditions[0].Message != "Kubernetes default Service CIDR is ready" {
			t.Fatalf("%+v, %v", o, err)
		}
		var managers []string
		for _, m := range o.ManagedFields {
			managers = append(managers, m.Manager+" "+string(m.Operation)+" "+m.Subresource)
		}
		if got, want := strings.Join(managers, ","), "kubernetes-service-cidr-controller Apply status,kube-apiserver Update "; got != want || o.Generation != 0 || len(o.Finalizers) != 0 {
			t.Errorf("managers %q, want %q; %+v", got, want, o.ObjectMeta)
		}
		c.within("10.9.0.0/30")
		c.full()
		c.add("more", "10.10.0.0/30")
		c.within("10.10.0.0/30")
		c.remove("kubernetes") // nothing holds it
		c.expect("kubernetes", "Ready=True")
	})
}

// The configuration of a cluster changes: a second family is added, another first range
// is told of, and comes when the old one has gone.
func TestServiceCIDRsOfAnotherConfiguration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, err := memory.New(memory.Config{})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		config := ControlPlaneConfig{Store: s, NoControllers: true, NoScheduler: true, ServiceCIDRs: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/30")}}
		c, stop := runCluster(t, config)
		c.within("10.9.0.0/30")
		c.add("more", "10.10.0.0/30")
		stop()

		config.ServiceCIDRs = append(config.ServiceCIDRs, netip.MustParsePrefix("fd09::/112"))
		c, stop = runCluster(t, config)
		c.within("fd09::/112", corev1.IPv6Protocol)
		stop()
		config.ServiceCIDRs = []netip.Prefix{netip.MustParsePrefix("10.8.0.0/24")}
		c, stop = runCluster(t, config)
		for range 2 {
			c.within("10.10.0.0/30")
		}
		c.full() // its own range is nobody's
		time.Sleep(time.Second)
		events, err := c.CoreV1().Events("default").List(t.Context(), metav1.ListOptions{FieldSelector: "involvedObject.kind=ServiceCIDR"})
		if err != nil || len(events.Items) != 1 {
			t.Fatalf("%+v, %v", events, err)
		}
		const want = "The default ServiceCIDR [10.9.0.0/30 fd09::/112] does not match the controller flag configurations [10.8.0.0/24]"
		if e := events.Items[0]; e.Reason != "KubernetesDefaultServiceCIDRInconsistent" || e.Message != want || e.Type != corev1.EventTypeWarning || e.Source.Component != "kubernetes-service-cidr-controller" {
			t.Errorf("%+v", e)
		}
		stop()

		// The operator moves the cluster to it: what has addresses of the old range goes,
		// and what the cluster itself needs comes again.
		config.NoControllers = false
		c, stop = runCluster(t, config)
		defer stop()
		c.remove("kubernetes")
		c.expect("kubernetes", "Ready=False Terminating")
		all, err := c.CoreV1().Services("default").List(t.Context(), metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range all.Items {
			if err := c.CoreV1().Services("default").Delete(t.Context(), s.Name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(25 * time.Second)
		c.expect("kubernetes", "Ready=True")
		own, err := c.CoreV1().Services("default").Get(t.Context(), "kubernetes", metav1.GetOptions{})
		if err != nil || own.Spec.ClusterIP != "10.8.0.1" {
			t.Errorf("%+v, %v", own, err)
		}
	})
}

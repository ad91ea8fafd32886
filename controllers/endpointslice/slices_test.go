package endpointslice_test

//lint:file-ignore SA1019 Endpoints are still served, and still written.

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/endpoints"
	"github.com/strake-io/strake/controllers/endpointslice"
	"github.com/strake-io/strake/controllers/endpointslicemirroring"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
)

func node(name, zone string) *corev1.Node {
	return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{corev1.LabelTopologyZone: zone}}}
}

func service(name string) *corev1.Service {
	return &corev1.Service{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: name},
		Spec: corev1.ServiceSpec{
			ClusterIP: "10.0.0.1", IPFamilies: []corev1.IPFamily{corev1.IPv4Protocol},
			Selector: map[string]string{"app": "web"},
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, Protocol: corev1.ProtocolTCP, TargetPort: intstr.FromString("web")}},
		},
	}
}

func pod(i int) *corev1.Pod {
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: fmt.Sprintf("p%03d", i), Labels: map[string]string{"app": "web"}},
		Spec: corev1.PodSpec{NodeName: "node-a", Containers: []corev1.Container{{
			Name: "c", Image: "i", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: 8080, Protocol: corev1.ProtocolTCP}},
		}}},
	}
}

// show writes the slices of a service in a few words: ports, then the ready
// and the other endpoints.
func show(t *testing.T, api *fakeapi.API, name string) string {
	t.Helper()
	list, err := api.Client.DiscoveryV1().EndpointSlices("ns").List(t.Context(), metav1.ListOptions{LabelSelector: discoveryv1.LabelServiceName + "=" + name})
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, s := range list.Items {
		line := ""
		for _, p := range s.Ports {
			line += fmt.Sprintf("%s:%d ", *p.Name, *p.Port)
		}
		ready, serving := 0, 0
		for _, e := range s.Endpoints {
			if *e.Conditions.Ready {
				ready++
			}
			if e.Conditions.Serving != nil && *e.Conditions.Serving {
				serving++
			}
		}
		out = append(out, fmt.Sprintf("%s%d ready %d serving %d all", line, ready, serving, len(s.Endpoints)))
	}
	return strings.Join(out, "; ")
}

func start(t *testing.T, api *fakeapi.API) {
	fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{
		endpoints.New(), endpointslice.New(), endpointslicemirroring.New(),
	}}, func(ctx context.Context) error { return api.Kubelet(ctx, time.Second, 5*time.Second) })
}

func TestAServiceFollowsItsPods(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New(node("node-a", "z1"))
		start(t, api)
		core := api.Client.CoreV1()
		svc, err := core.Services("ns").Create(t.Context(), service("web"), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := show(t, api, "web"); got != "0 ready 0 serving 0 all" {
			t.Errorf("without pods: %s", got)
		}
		for i := range 2 {
			if _, err := core.Pods("ns").Create(t.Context(), pod(i), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(3 * time.Second)
		if got := show(t, api, "web"); got != "http:8080 2 ready 2 serving 2 all" {
			t.Errorf("two pods: %s", got)
		}
		e, err := core.Endpoints("ns").Get(t.Context(), "web", metav1.GetOptions{})
		if err != nil || len(e.Subsets) != 1 || len(e.Subsets[0].Addresses) != 2 || e.Subsets[0].Ports[0].Port != 8080 || *e.Subsets[0].Addresses[0].NodeName != "node-a" {
			t.Errorf("endpoints %v %v", e, err)
		}
		list, _ := api.Client.DiscoveryV1().EndpointSlices("ns").List(t.Context(), metav1.ListOptions{})
		// The order of endpoints says nothing.
		endpoints := list.Items[0].Endpoints
		first := endpoints[slices.IndexFunc(endpoints, func(e discoveryv1.Endpoint) bool { return e.TargetRef.Name == "p000" })]
		if *first.Zone != "z1" || first.TargetRef.Name != "p000" || !metav1.IsControlledBy(&list.Items[0], svc) {
			t.Errorf("slice %+v", list.Items[0])
		}

		if err := core.Pods("ns").Delete(t.Context(), "p000", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if got := show(t, api, "web"); got != "http:8080 1 ready 2 serving 2 all" {
			t.Errorf("one going: %s", got)
		}
		time.Sleep(10 * time.Second)
		if got := show(t, api, "web"); got != "http:8080 1 ready 1 serving 1 all" {
			t.Errorf("one gone: %s", got)
		}
		n := len(api.Writes())
		time.Sleep(24 * time.Hour)
		if rest := api.Writes()[n:]; len(rest) != 0 {
			t.Errorf("writes at rest: %v", rest)
		}
		if err := core.Services("ns").Delete(t.Context(), "web", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := core.Endpoints("ns").Get(t.Context(), "web", metav1.GetOptions{}); err == nil {
			t.Error("the endpoints outlive their service")
		}
	})
}

func TestManyPodsFillSlicesOfAHundred(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New(node("node-a", "z1"), service("web"))
		start(t, api)
		for i := range 250 {
			if _, err := api.Client.CoreV1().Pods("ns").Create(t.Context(), pod(i), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Minute)
		list, _ := api.Client.DiscoveryV1().EndpointSlices("ns").List(t.Context(), metav1.ListOptions{})
		total := 0
		seen := map[string]bool{}
		for _, s := range list.Items {
			if len(s.Endpoints) > 100 {
				t.Errorf("%d endpoints in one slice", len(s.Endpoints))
			}
			for _, e := range s.Endpoints {
				total++
				seen[e.TargetRef.Name] = true
			}
		}
		if total != 250 || len(seen) != 250 || len(list.Items) != 3 {
			t.Errorf("%d endpoints of %d pods in %d slices", total, len(seen), len(list.Items))
		}
		// One pod less changes one slice.
		n := len(api.Writes())
		if err := api.Client.CoreV1().Pods("ns").Delete(t.Context(), "p007", *metav1.NewDeleteOptions(0)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		changed := 0
		for _, w := range api.Writes()[n:] {
			if strings.Contains(w, "endpointslices") {
				changed++
			}
		}
		if changed != 1 {
			t.Errorf("%d slice writes for one pod", changed)
		}
	})
}

func TestEndpointsOfUsersAreMirrored(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		own := service("own")
		own.Spec.Selector = nil
		api := fakeapi.New(own, &corev1.Endpoints{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "own"},
			Subsets:    []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: "192.0.2.1"}}, Ports: []corev1.EndpointPort{{Name: "db", Port: 5432, Protocol: corev1.ProtocolTCP}}}},
		})
		start(t, api)
		time.Sleep(time.Second)
		if got := show(t, api, "own"); got != "db:5432 1 ready 0 serving 1 all" {
			t.Errorf("mirrored: %s", got)
		}
	})
}

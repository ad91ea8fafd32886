package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

// watchVersions looks at the pods that the selector picks until the result is
// called: were pods with different images there at the same time, ended ones apart?
func watchVersions(t *testing.T, client kubernetes.Interface, selector string) func() bool {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	watch, err := client.CoreV1().Pods("default").Watch(ctx, metav1.ListOptions{LabelSelector: selector})
	if err != nil {
		t.Fatal(err)
	}
	met := make(chan bool, 1)
	go func() {
		images, both := map[string]string{}, false
		for event := range watch.ResultChan() {
			data, _ := json.Marshal(event.Object)
			var pod struct {
				Metadata struct{ Name string }
				Spec     struct{ Containers []struct{ Image string } }
				Status   struct{ Phase string }
			}
			if json.Unmarshal(data, &pod) != nil || len(pod.Spec.Containers) == 0 {
				continue
			}
			images[pod.Metadata.Name] = pod.Spec.Containers[0].Image
			if event.Type == "DELETED" || pod.Status.Phase == "Failed" || pod.Status.Phase == "Succeeded" {
				delete(images, pod.Metadata.Name)
			}
			different := map[string]bool{}
			for _, image := range images {
				different[image] = true
			}
			both = both || len(different) > 1
		}
		met <- both
	}()
	return func() bool {
		cancel()
		watch.Stop()
		return <-met
	}
}

func testServices(t *testing.T, c *cluster) {
	c.apply(fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: echo}
spec:
  replicas: 3
  selector: {matchLabels: {app: echo}}
  template:
    metadata: {labels: {app: echo}}
    spec:
      terminationGracePeriodSeconds: 1
      containers:
      - name: main
        image: %q
        args: [serve, -udp, "53"]
        ports: [{name: web, containerPort: 80}, {name: dns, containerPort: 53, protocol: UDP}]
        readinessProbe: {httpGet: {path: /healthz, port: web}, periodSeconds: 1, failureThreshold: 1}
`, c.image("v1")))
	if out := c.kubectl("expose", "deployment", "echo", "--port=8080", "--target-port=web"); out != "service/echo exposed" {
		t.Errorf("expose said %q", out)
	}
	c.kubectl("rollout", "status", "deployment/echo", "--timeout=60s")
	address := c.kubectl("get", "service", "echo", "-o", "jsonpath={.spec.clusterIP}") + ":8080"
	answering := func(want int) {
		t.Helper()
		c.eventually(fmt.Sprintf("%d pods answer", want), func() error {
			if counts, err := c.tally(60, address); err != nil || len(counts) != want {
				return fmt.Errorf("%v answer, %v", counts, err)
			}
			return nil
		})
	}
	answering(3)
	pods := strings.Fields(c.kubectl("get", "pods", "-l", "app=echo", "-o", "jsonpath={.items[*].metadata.name}"))
	podIP := func(pod string) string { return c.kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}") }

	// Pods reach services, each other and themselves through them, and are seen by
	// their own addresses, but for the last.
	seen := map[string]bool{}
	own := podIP(pods[0])
	for i := 0; len(seen) < 3 && i < 100; i++ {
		answer := c.kubectl("exec", pods[0], "--", "wget", address)
		host, from := field(answer, "host"), field(answer, "from")
		seen[host] = true
		if (host == pods[0]) == (from == own) {
			t.Errorf("pod %s (%s) asked its service: %s answered, and saw %s", pods[0], own, host, from)
		}
	}
	if len(seen) != 3 {
		t.Errorf("from a pod, only %v answered", seen)
	}
	if answer := c.kubectl("exec", pods[0], "--", "wget", podIP(pods[1])); field(answer, "from") != own {
		t.Errorf("from pod to pod: %s", answer)
	}
	// The API.
	c.refuses("x509: certificate signed by unknown authority", "", "exec", pods[0], "--", "wget", "https://10.96.0.1:443/api")

	// Endpoints say who is ready.
	slices := func() (ready, not int) {
		var list discoveryv1.EndpointSliceList
		if err := json.Unmarshal([]byte(c.kubectl("get", "endpointslices", "-l", "kubernetes.io/service-name=echo", "-o", "json")), &list); err != nil {
			t.Fatal(err)
		}
		for _, s := range list.Items {
			if len(s.Ports) != 1 || *s.Ports[0].Port != 80 || s.AddressType != discoveryv1.AddressTypeIPv4 {
				t.Errorf("endpoint slice: %+v", s)
			}
			for _, e := range s.Endpoints {
				if e.TargetRef == nil || e.TargetRef.Kind != "Pod" || e.NodeName == nil {
					t.Errorf("endpoint: %+v", e)
				}
				if *e.Conditions.Ready {
					ready++
				} else {
					not++
				}
			}
		}
		return ready, not
	}
	if ready, not := slices(); ready != 3 || not != 0 {
		t.Errorf("%d ready endpoints and %d others, want 3 and 0", ready, not)
	}
	c.kubectl("exec", pods[0], "--", "touch", "/tmp/unhealthy")
	answering(2)
	if ready, not := slices(); ready != 2 || not != 1 {
		t.Errorf("%d ready endpoints and %d others, want 2 and 1", ready, not)
	}
	if out := c.kubectl("get", "endpoints", "echo", "-o", "jsonpath={.subsets[0].notReadyAddresses[*].targetRef.name}"); out != pods[0] {
		t.Errorf("endpoints not ready: %q, want %s", out, pods[0])
	}

	// Updates are followed.
	c.kubectl("patch", "service", "echo", "-p", `{"spec":{"sessionAffinity":"ClientIP"}}`)
	c.eventually("affinity", func() error {
		if counts, err := c.tally(30, address); err != nil || len(counts) != 1 {
			return fmt.Errorf("%v, %v", counts, err)
		}
		return nil
	})
	c.kubectl("patch", "service", "echo", "-p", `{"spec":{"sessionAffinity":"None"}}`)
	answering(2)
	c.refuses("spec.ports[0].name: Required value", "", "patch", "service", "echo", "-p", `{"spec":{"ports":[{"port":9090}]}}`)
	c.kubectl("patch", "service", "echo", "--type=json", "-p", `[{"op":"replace","path":"/spec/ports/0/port","value":9090}]`)
	old := address
	address = strings.Replace(address, ":8080", ":9090", 1)
	c.eventually("the new port", func() error { _, err := c.get(address); return err })
	if answer, err := c.get(old); err == nil {
		t.Errorf("the old port still answers: %s", answer)
	}

	// Without an endpoint a connection is refused at once.
	c.kubectl("scale", "deployment/echo", "--replicas=0")
	c.eventually("refusal", func() error {
		begun := time.Now()
		_, err := c.get(address)
		if err == nil || !strings.Contains(err.Error(), "connection refused") {
			return fmt.Errorf("asked: %v", err)
		}
		if d := time.Since(begun); d > time.Second {
			return fmt.Errorf("refused only after %v", d)
		}
		return nil
	})
	c.kubectl("scale", "deployment/echo", "--replicas=2")
	answering(2)

	// UDP.
	c.kubectl("expose", "deployment", "echo", "--name=dns", "--port=53", "--protocol=UDP")
	dns := c.kubectl("get", "service", "dns", "-o", "jsonpath={.spec.clusterIP}") + ":53"
	counts := map[string]int{}
	c.eventually("UDP", func() error { _, err := c.ask(dns); return err })
	for range 200 {
		host, err := c.ask(dns)
		if err != nil {
			t.Fatal(err)
		}
		counts[host]++
	}
	evenly(t, "UDP", counts, 2)

	// Services without an address of their own.
	c.kubectl("expose", "deployment", "echo", "--name=headless", "--port=80", "--cluster-ip=None")
	c.kubectl("create", "service", "externalname", "outside", "--external-name=example.com")
	c.eventually("headless endpoints", func() error {
		if out := c.kubectl("get", "endpoints", "headless", "-o", "jsonpath={.subsets[*].addresses[*].ip}"); len(strings.Fields(out)) != 2 {
			return fmt.Errorf("%q", out)
		}
		return nil
	})
	table := c.kubectl("get", "service", "headless", "outside", "--no-headers")
	for _, want := range []string{"headless ClusterIP None <none> 80/TCP", "outside ExternalName <none> example.com <none>"} {
		if !strings.Contains(strings.Join(strings.Fields(table), " "), want) {
			t.Errorf("services:\n%s\nwant %q", table, want)
		}
	}
	// Deleted, the address is no one's.
	c.kubectl("delete", "service", "echo", "dns", "headless", "outside")
	c.eventually("the service is gone", func() error {
		if _, err := c.get(address); err == nil {
			return fmt.Errorf("it still answers")
		}
		return nil
	})
	if out, err := c.try("get", "endpoints,endpointslices", "-l", "app=echo", "-o", "name"); err != nil || out != "" {
		c.says("No resources found", "get", "endpointslices", "-l", "kubernetes.io/service-name=echo")
	}
	c.kubectl("delete", "deployment", "echo", "--now")
}

// ask sends a datagram and returns the name of the host that answers.
func (c *cluster) ask(address string) (string, error) {
	conn, err := c.machine.Dial(context.Background(), "udp", address)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(2 * time.Second))
	if _, err := conn.Write([]byte("hello")); err != nil {
		return "", err
	}
	buf := make([]byte, 100)
	n, err := conn.Read(buf)
	if err != nil {
		return "", err
	}
	host, said, _ := strings.Cut(string(buf[:n]), " ")
	if said != "hello" {
		return "", fmt.Errorf("the echo is %q", said)
	}
	return host, nil
}

func testPorts(t *testing.T, c *cluster) {
	c.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: ports, labels: {app: ports}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: main
    image: %q
    args: [serve, -udp, "53"]
    ports: [{containerPort: 80, hostPort: 8088}, {containerPort: 53, protocol: UDP, hostPort: 8053}]
---
apiVersion: v1
kind: Service
metadata: {name: ports}
spec:
  type: NodePort
  selector: {app: ports}
  ports:
  - {name: web, port: 80, nodePort: 30088}
  - {name: dns, port: 53, protocol: UDP, nodePort: 30053}
`, c.image("v1")))
	c.kubectl("wait", "--for=condition=Ready", "pod/ports", "--timeout=60s")
	for _, host := range []string{"127.0.0.1", c.machine.Addr.String()} {
		for _, port := range []string{"8088", "30088"} {
			c.eventually("TCP "+host+":"+port, func() error { _, err := c.get(net.JoinHostPort(host, port)); return err })
		}
		for _, port := range []string{"8053", "30053"} {
			c.eventually("UDP "+host+":"+port, func() error { _, err := c.ask(net.JoinHostPort(host, port)); return err })
		}
	}
	// A second pod with the host port finds no node.
	c.apply(fmt.Sprintf(`
apiVersion: v1
kind: Pod
metadata: {name: second}
spec: {containers: [{name: main, image: %q, ports: [{containerPort: 80, hostPort: 8088}]}]}
`, c.image("v1")))
	c.says("0/1 nodes are available: 1 node(s) didn't have free ports for the requested pod ports.", "describe", "pod", "second")
	c.kubectl("delete", "pod", "second", "--now")
	c.kubectl("delete", "service/ports", "pod/ports", "--now")
	c.eventually("the host port is free", func() error {
		if _, err := c.get("127.0.0.1:8088"); err == nil {
			return fmt.Errorf("it still answers")
		}
		return nil
	})
}

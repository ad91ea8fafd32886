package main

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestScheduling places pods on simulated nodes.
func TestScheduling(t *testing.T) {
	c := newCluster(t, "--runtime", "fake", "--fake-nodes", "3")
	if out := c.kubectl("get", "nodes", "-o", "name"); strings.Count(out, "node/fake-") != 3 || strings.Count(out, "\n") != 2 {
		t.Fatalf("nodes:\n%s", out)
	}
	pod := func(name, spec string) {
		t.Helper()
		c.apply(fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: %s}\nspec: {%s containers: [{name: main, image: simulated, resources: {requests: {cpu: 1}}}]}\n", name, spec))
	}
	failed := func(pod, want string) {
		t.Helper()
		c.says(want, "get", "events", "--field-selector", "reason=FailedScheduling,involvedObject.name="+pod, "-o", "jsonpath={.items[*].message}")
		condition := c.kubectl("get", "pod", pod, "-o", `jsonpath={.status.phase} {.status.conditions[?(@.type=="PodScheduled")].reason}: {.status.conditions[?(@.type=="PodScheduled")].message}`)
		if want = "Pending Unschedulable: " + want; condition != want {
			t.Errorf("pod %s:\n%s\nwant\n%s", pod, condition, want)
		}
	}
	runs := func(pod, node string) {
		t.Helper()
		c.kubectl("wait", "--for=condition=Ready", "pod/"+pod, "--timeout=30s")
		if on := c.kubectl("get", "pod", pod, "-o", "jsonpath={.spec.nodeName}"); node != "" && on != node {
			t.Errorf("pod %s runs on %s, want %s", pod, on, node)
		}
	}

	// Too big for each, until a node has more room.
	c.apply(strings.NewReplacer("nginx:latest", "simulated", `cpu: "24"`, `cpu: "48"`).Replace(c.manifest("too-big.yaml", "v1")))
	failed("too-big", "0/3 nodes are available: 3 Insufficient cpu. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.")
	c.kubectl("delete", "pod", "too-big", "--now")

	// Labels.
	pod("picky", "nodeSelector: {disk: ssd},")
	failed("picky", "0/3 nodes are available: 3 node(s) didn't match Pod's node affinity/selector. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.")
	c.kubectl("label", "node", "fake-1", "disk=ssd")
	runs("picky", "fake-1")
	pod("affine", "affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: disk, operator: NotIn, values: [ssd]}, {key: kubernetes.io/hostname, operator: In, values: [fake-1, fake-2]}]}]}}},")
	runs("affine", "fake-2")

	// Taints and tolerations.
	c.kubectl("taint", "nodes", "--all", "dedicated=batch:NoSchedule")
	pod("plain", "")
	failed("plain", "0/3 nodes are available: 3 node(s) had untolerated taint(s). preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.")
	pod("tolerant", "tolerations: [{key: dedicated, operator: Equal, value: batch, effect: NoSchedule}], nodeSelector: {kubernetes.io/hostname: fake-0},")
	runs("tolerant", "fake-0")
	c.kubectl("taint", "node", "fake-2", "dedicated:NoSchedule-")
	runs("plain", "fake-2")
	c.kubectl("taint", "node", "fake-1", "out=now:NoExecute")
	c.kubectl("wait", "--for=delete", "pod/picky", "--timeout=30s")
	c.kubectl("taint", "nodes", "fake-0", "fake-1", "dedicated-")
	c.kubectl("taint", "node", "fake-1", "out-")

	// Cordon and drain.
	c.kubectl("cordon", "fake-0")
	c.kubectl("cordon", "fake-1")
	if out := c.kubectl("get", "node", "fake-0", "--no-headers"); !strings.Contains(out, "Ready,SchedulingDisabled") {
		t.Errorf("a cordoned node: %s", out)
	}
	c.kubectl("create", "deployment", "spread", "--image=simulated", "--replicas=3")
	c.kubectl("rollout", "status", "deployment/spread", "--timeout=30s")
	if out := c.kubectl("get", "pods", "-l", "app=spread", "-o", "jsonpath={.items[*].spec.nodeName}"); out != "fake-2 fake-2 fake-2" {
		t.Errorf("with two nodes cordoned, the pods are on %s", out)
	}
	c.refuses("cannot delete cannot delete Pods that declare no controller", "", "drain", "fake-2")
	c.kubectl("uncordon", "fake-1")
	out := c.kubectl("drain", "fake-2", "--force")
	if !strings.Contains(out, "evicting pod default/spread-") || !strings.Contains(out, "node/fake-2 drained") {
		t.Errorf("drain said\n%s", out)
	}
	c.kubectl("rollout", "status", "deployment/spread", "--timeout=30s")
	if out := c.kubectl("get", "pods", "-l", "app=spread", "-o", "jsonpath={.items[*].spec.nodeName}"); out != "fake-1 fake-1 fake-1" {
		t.Errorf("after the drain, the pods are on %s", out)
	}
	pod("waiting", "nodeSelector: {kubernetes.io/hostname: fake-2},")
	failed("waiting", "0/3 nodes are available: 1 node(s) didn't match Pod's node affinity/selector, 2 node(s) were unschedulable. preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling.")
	c.kubectl("uncordon", "fake-2")
	runs("waiting", "fake-2")

	// A pod that no node here holds finds one after a restart with more of them.
	pod("filler", "nodeSelector: {kubernetes.io/hostname: fake-1},")
	runs("filler", "fake-1")
	c.apply(strings.NewReplacer("nginx:latest", "simulated", `cpu: "24"`, `cpu: "31500m"`).Replace(c.manifest("too-big.yaml", "v1")))
	failed("too-big", "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. preemption: 0/3 nodes are available: 1 Preemption is not helpful for scheduling, 2 No preemption victims found for incoming pod.")
	c.stop()
	c.start("--fake-nodes", "4")
	runs("too-big", "fake-3")
	c.kubectl("delete", "deployment/spread", "pod/too-big", "pod/waiting", "pod/filler", "--now")
}

// TestManyReplicas spreads pods over many simulated nodes.
func TestManyReplicas(t *testing.T) {
	c := newCluster(t, "--runtime", "fake", "--fake-nodes", "20", "--store", "memory")
	begun := time.Now()
	c.kubectl("create", "deployment", "many", "--image=simulated", "--replicas=1000")
	c.kubectl("rollout", "status", "deployment/many", "--timeout=60s")
	t.Logf("1000 simulated pods available after %v", time.Since(begun).Round(time.Millisecond))
	counts := map[string]int{}
	for _, node := range strings.Fields(c.kubectl("get", "pods", "-o", "jsonpath={.items[*].spec.nodeName}")) {
		counts[node]++
	}
	for node, n := range counts {
		if n < 40 || n > 60 {
			t.Errorf("%s has %d of 1000 pods on 20 nodes", node, n)
		}
	}
	ips := map[string]bool{}
	for _, ip := range strings.Fields(c.kubectl("get", "pods", "-o", "jsonpath={.items[*].status.podIP}")) {
		ips[ip] = true
	}
	if len(ips) != 1000 {
		t.Errorf("1000 pods have %d different addresses", len(ips))
	}
}

package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// manifest reads one of the example manifests, with the test image in place of the
// one it names.
func (c *cluster) manifest(name, tag string) string {
	c.t.Helper()
	text, err := os.ReadFile("../manifests/" + name)
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.ReplaceAll(string(text), "nginx:latest", c.image(tag))
}

// get asks over HTTP from the cluster's machine, by a connection of its own.
func (c *cluster) get(address string) (string, error) {
	client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: c.machine.Dial, DisableKeepAlives: true}}
	response, err := client.Get("http://" + address)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", response.Status, body)
	}
	return string(body), err
}

// field is one of the words NAME=VALUE that the test server answers with.
func field(answer, name string) string {
	for _, word := range strings.Fields(answer) {
		if value, ok := strings.CutPrefix(word, name+"="); ok {
			return value
		}
	}
	return ""
}

// count asks n times and counts the answers by their host.
func (c *cluster) count(n int, address string) map[string]int {
	c.t.Helper()
	counts, err := c.tally(n, address)
	if err != nil {
		c.t.Fatal(err)
	}
	return counts
}

func (c *cluster) tally(n int, address string) (map[string]int, error) {
	counts := map[string]int{}
	for range n {
		answer, err := c.get(address)
		if err != nil {
			return nil, err
		}
		counts[field(answer, "host")]++
	}
	return counts, nil
}

// evenly checks that counts are spread over the given number of pods about evenly:
// five standard deviations of chance are allowed for.
func evenly(t testing.TB, what string, counts map[string]int, pods int) {
	t.Helper()
	total := 0
	for _, n := range counts {
		total += n
	}
	t.Logf("%s: %d requests spread over %d pods as %v", what, total, len(counts), counts)
	if len(counts) != pods {
		t.Errorf("%s: %d pods answered, want %d", what, len(counts), pods)
	}
	mean := float64(total) / float64(pods)
	for pod, n := range counts {
		if d := float64(n) - mean; d*d > 25*mean {
			t.Errorf("%s: pod %s got %d requests, the mean is %.0f", what, pod, n, mean)
		}
	}
}

// load asks the addresses without pause until stopped.
type load struct {
	asked    atomic.Int64
	versions sync.Map // of the pods that answered
	mu       sync.Mutex
	lost     []error // guarded by mu
	stop     func()
}

func (c *cluster) load(addresses ...string) *load {
	ctx, cancel := context.WithCancel(context.Background())
	l := &load{}
	var wg sync.WaitGroup
	for _, address := range addresses {
		wg.Go(func() {
			for ctx.Err() == nil {
				answer, err := c.get(address)
				l.asked.Add(1)
				if err != nil {
					l.mu.Lock()
					l.lost = append(l.lost, fmt.Errorf("%s: %w", time.Now().Format(time.StampMilli), err))
					l.mu.Unlock()
				}
				l.versions.Store(field(answer, "version"), true)
				time.Sleep(2 * time.Millisecond)
			}
		})
	}
	l.stop = func() { cancel(); wg.Wait() }
	return l
}

func TestWorkloads(t *testing.T) {
	c := newCluster(t)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *cluster)
	}{
		{"rollout", testRollout},
		{"rollout that fails", testFailedRollout},
		{"recreate", testRecreate},
		{"ownership", testOwnership},
		{"services", testServices},
		{"node ports and host ports", testPorts},
		{"namespace", testNamespace},
	} {
		t.Run(test.name, func(t *testing.T) {
			scoped := *c
			scoped.t = t
			test.run(t, &scoped)
		})
	}
}

func testRollout(t *testing.T, c *cluster) {
	c.apply(c.manifest("web.yaml", "v1"))
	c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	address := c.kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}") + ":80"

	begun := time.Now()
	c.kubectl("scale", "deployment/web", "--replicas=10")
	c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	t.Logf("from 3 to 10 replicas, all available, in %v", time.Since(begun).Round(time.Millisecond))
	c.eventually("all endpoints", func() error {
		if counts, err := c.tally(100, address); err != nil || len(counts) != 10 {
			return fmt.Errorf("%d pods answer, %v", len(counts), err)
		}
		return nil
	})
	evenly(t, "cluster IP", c.count(500, address), 10)
	evenly(t, "node port", c.count(500, "127.0.0.1:30080"), 10)
	c.kubectl("scale", "deployment/web", "--replicas=3")
	c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")

	l := c.load(address, "127.0.0.1:30080", c.machine.Addr.String()+":30080")
	c.kubectl("set", "image", "deployment/web", "web="+c.image("v2"))
	if out := c.kubectl("rollout", "status", "deployment/web", "--timeout=60s"); !strings.HasSuffix(out, `deployment "web" successfully rolled out`) {
		t.Errorf("rollout status said\n%s", out)
	}
	c.eventually("only v2 answers", func() error {
		for range 10 {
			if answer, err := c.get(address); err != nil || field(answer, "version") != "v2" {
				return fmt.Errorf("%q, %v", answer, err)
			}
		}
		return nil
	})
	c.kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=to v2")
	c.says("to v2", "rollout", "history", "deployment/web")
	history := strings.Fields(strings.Join(strings.Split(c.kubectl("rollout", "history", "deployment/web"), "\n")[1:], " "))
	if got, want := strings.Join(history, " "), "REVISION CHANGE-CAUSE 1 <none> 2 to v2"; got != want {
		t.Errorf("rollout history: %q, want %q", got, want)
	}
	if out := c.kubectl("rollout", "history", "deployment/web", "--revision=1"); !strings.Contains(out, c.image("v1")) {
		t.Errorf("revision 1:\n%s", out)
	}
	if out := c.kubectl("rollout", "undo", "deployment/web"); out != "deployment.apps/web rolled back" {
		t.Errorf("undo said %q", out)
	}
	c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	if image := c.kubectl("get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}"); image != c.image("v1") {
		t.Errorf("after undo the image is %s", image)
	}
	c.says("3", "rollout", "history", "deployment/web") // revision 1 has become 3
	// What terminates answers until its preStop hook is over; then only v1 is left.
	c.eventually("the old version again", func() error {
		if out := c.kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].spec.containers[0].image}"); strings.Contains(out, ":v2") {
			return fmt.Errorf("images %s", out)
		}
		return nil
	})
	l.stop()
	t.Logf("%d requests during a rollout and its undo, %d lost", l.asked.Load(), len(l.lost))
	if len(l.lost) > 0 {
		t.Errorf("lost requests: %v", l.lost[:min(5, len(l.lost))])
	}
	for _, version := range []string{"v1", "v2"} {
		if _, answered := l.versions.Load(version); !answered {
			t.Errorf("no answer came from %s", version)
		}
	}

	// Paused, a new template waits.
	c.kubectl("rollout", "pause", "deployment/web")
	c.kubectl("set", "image", "deployment/web", "web="+c.image("v2"))
	c.kubectl("set", "env", "deployment/web", "PAUSED=no")
	c.says("DeploymentPaused", "get", "deployment", "web", "-o", "yaml")
	observed := func() string {
		return c.kubectl("get", "deployment", "web", "-o", "jsonpath={.metadata.generation} {.status.observedGeneration} {.status.updatedReplicas}")
	}
	c.eventually("the paused deployment is seen", func() error {
		var generation, seen, updated int
		if _, err := fmt.Sscan(observed()+" 0", &generation, &seen, &updated); err != nil || generation != seen || updated != 0 {
			return fmt.Errorf("generation %d, seen %d, updated %d, %v", generation, seen, updated, err)
		}
		return nil
	})
	c.refuses(`error: you cannot rollback a paused deployment; resume it first`, "", "rollout", "undo", "deployment/web")
	c.kubectl("rollout", "resume", "deployment/web")
	c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	if out := c.kubectl("get", "replicasets", "-l", "app=web", "--no-headers"); strings.Count(out, "\n")+1 != 3 {
		t.Errorf("two changes while paused are to make one replica set:\n%s", out)
	}
	if out := c.kubectl("rollout", "restart", "deployment/web"); out != "deployment.apps/web restarted" {
		t.Errorf("restart said %q", out)
	}
	c.kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	c.kubectl("delete", "deployment/web", "service/web", "--now")
}

func testFailedRollout(t *testing.T, c *cluster) {
	c.kubectl("create", "deployment", "bad", "--image="+c.image("v1"), "--replicas=2")
	c.kubectl("rollout", "status", "deployment/bad", "--timeout=60s")
	c.kubectl("patch", "deployment", "bad", "-p", `{"spec":{"progressDeadlineSeconds":2}}`)
	c.kubectl("set", "image", "deployment/bad", "server="+c.image("no-such-tag"))
	c.refuses(`error: deployment "bad" exceeded its progress deadline`, "", "rollout", "status", "deployment/bad", "--timeout=30s")
	message := c.kubectl("get", "deployment", "bad", "-o", `jsonpath={.status.conditions[?(@.type=="Progressing")].reason}: {.status.conditions[?(@.type=="Progressing")].message}`)
	if !strings.HasPrefix(message, `ProgressDeadlineExceeded: ReplicaSet "bad-`) || !strings.HasSuffix(message, `" has timed out progressing.`) {
		t.Errorf("condition: %s", message)
	}
	if out := c.kubectl("get", "deployment", "bad", "-o", "jsonpath={.status.availableReplicas} {.status.updatedReplicas} {.status.unavailableReplicas}"); out != "2 1 1" {
		t.Errorf("available, updated, unavailable: %s", out)
	}
	c.says("ImagePullBackOff", "get", "pods", "-l", "app=bad")
	c.kubectl("rollout", "undo", "deployment/bad")
	c.kubectl("rollout", "status", "deployment/bad", "--timeout=60s")
	c.kubectl("delete", "deployment", "bad", "--now")
}

func testRecreate(t *testing.T, c *cluster) {
	c.apply(fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: recreated}
spec:
  replicas: 2
  strategy: {type: Recreate}
  selector: {matchLabels: {app: recreated}}
  template:
    metadata: {labels: {app: recreated}}
    spec:
      terminationGracePeriodSeconds: 1
      containers: [{name: main, image: %q}]
`, c.image("v1")))
	c.kubectl("rollout", "status", "deployment/recreated", "--timeout=60s")
	client, _ := c.client()
	both := watchVersions(t, client, "app=recreated")
	c.kubectl("set", "image", "deployment/recreated", "main="+c.image("v2"))
	c.kubectl("rollout", "status", "deployment/recreated", "--timeout=60s")
	if both() {
		t.Error("pods of the old and of the new version were there at the same time")
	}
	c.kubectl("delete", "deployment", "recreated", "--now")
}

func testOwnership(t *testing.T, c *cluster) {
	set := func(kind, version, name string, replicas int) string {
		selector := "{matchLabels: {app: " + name + "}}"
		if kind == "ReplicationController" {
			selector = "{app: " + name + "}"
		}
		return fmt.Sprintf(`
apiVersion: %s
kind: %s
metadata: {name: %s}
spec:
  replicas: %d
  selector: %s
  template:
    metadata: {labels: {app: %s}}
    spec: {terminationGracePeriodSeconds: 1, containers: [{name: main, image: %q}]}
`, version, kind, name, replicas, selector, name, c.image("v1"))
	}
	owner := func(pod string) string {
		return c.kubectl("get", "pod", pod, "-o", "jsonpath={.metadata.ownerReferences[0].kind}/{.metadata.ownerReferences[0].name}")
	}
	for _, kind := range []struct{ kind, version, name string }{
		{"ReplicaSet", "apps/v1", "rs"}, {"ReplicationController", "v1", "rc"},
	} {
		object := strings.ToLower(kind.kind) + "/" + kind.name
		// A pod that fits is adopted, and counts.
		c.kubectl("run", "free-"+kind.name, "--image="+c.image("v1"), "--labels=app="+kind.name)
		c.kubectl("wait", "--for=condition=Ready", "pod/free-"+kind.name, "--timeout=60s")
		c.apply(set(kind.kind, kind.version, kind.name, 2))
		c.eventually("two replicas", func() error {
			if out := c.kubectl("get", object, "-o", "jsonpath={.status.readyReplicas}"); out != "2" {
				return fmt.Errorf("%q are ready", out)
			}
			return nil
		})
		if got, want := owner("free-"+kind.name), kind.kind+"/"+kind.name; got != want {
			t.Errorf("the free pod's owner is %s, want %s", got, want)
		}
		// A pod whose label changes is let go, and replaced.
		c.kubectl("label", "pod", "free-"+kind.name, "app=free", "--overwrite")
		c.eventually("the pod is released", func() error {
			if got := owner("free-" + kind.name); got != "/" {
				return fmt.Errorf("its owner is %s", got)
			}
			return nil
		})
		c.eventually("a replacement", func() error {
			if out := c.kubectl("get", object, "-o", "jsonpath={.status.readyReplicas}"); out != "2" {
				return fmt.Errorf("%q are ready", out)
			}
			return nil
		})

		// Orphans live on, and find a new owner.
		c.kubectl("delete", object, "--cascade=orphan")
		names := strings.Fields(c.kubectl("get", "pods", "-l", "app="+kind.name, "-o", "jsonpath={.items[*].metadata.name}"))
		if len(names) != 2 {
			t.Errorf("orphans: %v", names)
		}
		for _, name := range names {
			if got := owner(name); got != "/" {
				t.Errorf("orphan %s has the owner %s", name, got)
			}
		}
		c.apply(set(kind.kind, kind.version, kind.name, 2))
		c.eventually("adoption", func() error {
			for _, name := range names {
				if got := owner(name); got == "/" {
					return fmt.Errorf("%s has no owner", name)
				}
			}
			return nil
		})
		// In the foreground the owner goes last.
		c.kubectl("delete", object, "--cascade=foreground")
		if out := c.kubectl("get", "pods", "-l", "app="+kind.name, "-o", "name"); out != "" {
			t.Errorf("pods outlived their owner, which was deleted in the foreground: %s", out)
		}
		// In the background, the default, it goes at once.
		c.apply(set(kind.kind, kind.version, kind.name, 1))
		c.kubectl("wait", "--for=jsonpath={.status.readyReplicas}=1", object, "--timeout=60s")
		c.kubectl("delete", object)
		c.eventually("no pods", func() error {
			if out := c.kubectl("get", "pods", "-l", "app="+kind.name, "-o", "name"); out != "" {
				return fmt.Errorf("there are %s", out)
			}
			return nil
		})
		c.kubectl("delete", "pod", "free-"+kind.name, "--now")
	}
}

func testNamespace(t *testing.T, c *cluster) {
	c.kubectl("create", "namespace", "short")
	c.apply(fmt.Sprintf(`
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: short}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 2
      containers: [{name: main, image: %q, command: [program, ignoreterm]}]
`, c.image("v1")))
	c.kubectl("-n", "short", "expose", "deployment", "web", "--port=80")
	c.kubectl("-n", "short", "create", "configmap", "kept", "--from-literal=a=b")
	c.kubectl("-n", "short", "rollout", "status", "deployment/web", "--timeout=60s")
	c.kubectl("delete", "namespace", "short", "--wait=false")
	c.refuses(`because it is being terminated`, "", "-n", "short", "create", "configmap", "late")
	c.says("Terminating", "get", "namespace", "short")
	c.says("Some resources are remaining: ", "get", "namespace", "short", "-o", "yaml")
	c.kubectl("wait", "--for=delete", "namespace/short", "--timeout=60s")
	c.kubectl("create", "namespace", "short")
	if out := c.kubectl("-n", "short", "get", "all,endpoints,endpointslices"); !strings.Contains(out, "No resources found in short namespace.") {
		t.Errorf("the namespace made anew is not empty:\n%s", out)
	}
	c.kubectl("delete", "namespace", "short")
}

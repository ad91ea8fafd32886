package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/strake-io/strake/internal/testimage"
	"github.com/strake-io/strake/internal/testnet"
)

// process is a program that runs on a host of its own.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{}

	mu     sync.Mutex // guards output
	output bytes.Buffer
}

func (p *process) Write(data []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.Write(data)
}

func (p *process) said() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.output.String()
}

// begin starts a program on a host and waits until it says that it is ready.
func begin(t *testing.T, host testnet.Host, name string, args ...string) *process {
	t.Helper()
	p := &process{cmd: exec.Command(name, args...), ended: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = p, p
	if err := host.In(p.cmd.Start); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.ended) }()
	for end := time.Now().Add(20 * time.Second); !strings.Contains(p.said(), "  ready  "); time.Sleep(20 * time.Millisecond) {
		select {
		case <-p.ended:
			t.Fatalf("%s ended:\n%s", name, p.said())
		default:
		}
		if time.Now().After(end) {
			t.Fatalf("%s is not ready, and does:\n%s", filepath.Base(name), p.end(syscall.SIGQUIT))
		}
	}
	return p
}

func (p *process) end(sig os.Signal) string {
	_ = p.cmd.Process.Signal(sig)
	<-p.ended
	return p.said()
}

func eventually(t *testing.T, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within a minute: %v", what, err)
}

// TestMasterAndNode is a cluster of two machines, joined by a cable: each program
// on its own, both killed and started again.
func TestMasterAndNode(t *testing.T) {
	for _, program := range []string{"kubectl", "runc"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("this test needs %s on the PATH; `make test` installs it", program)
		}
	}
	at, nodeAt := netip.MustParsePrefix("192.168.79.1/24"), netip.MustParsePrefix("192.168.79.2/24")
	master, node := testnet.New(t, at.Addr()), testnet.New(t, nodeAt.Addr())
	testnet.Link(t, master, "eth0", at, node, "eth0", nodeAt)
	// A service's address needs a route, any, before it is translated.
	master.Do(t, func(h *netlink.Handle) error { return testnet.DefaultRoute(h, "eth0", nodeAt.Addr()) })
	node.Do(t, func(h *netlink.Handle) error { return testnet.DefaultRoute(h, "eth0", at.Addr()) })
	dir, err := os.MkdirTemp("", "strake") // Unix sockets want short paths
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("left behind: %v", err)
		}
	})
	if out, err := exec.Command("go", "build", "-o", dir+"/", ".", "../node").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	var registry *testimage.Registry
	if err := node.In(func() (err error) {
		registry, err = testimage.Start(context.Background(), dir, nil)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	defer registry.Close()
	masterDir, nodeDir := dir+"/m", dir+"/n"
	masterArgs := []string{"--data-dir", masterDir, "--listen", at.Addr().String() + ":6443", "--node-monitor-grace-period", "12s", "--fake-nodes", "1"}
	nodeArgs := []string{"--data-dir", nodeDir, "--kubeconfig", masterDir + "/node.kubeconfig", "--runtime", "containerd", "--hostname-override", "worker", "--node-ip", nodeAt.Addr().String()}

	m := begin(t, master, dir+"/master", masterArgs...)
	n := begin(t, node, dir+"/node", nodeArgs...)
	defer func() {
		if t.Failed() {
			t.Logf("the master said\n%s\nthe node said\n%s", m.said(), n.said())
		}
		n.end(syscall.SIGKILL)
		n = begin(t, node, dir+"/node", append(nodeArgs, "--purge")...)
		if said := n.end(syscall.SIGTERM); !strings.Contains(said, "Nothing is left") {
			t.Errorf("the node left something:\n%s", said)
		}
		if said := m.end(syscall.SIGINT); !strings.Contains(said, "What is left: the data in "+masterDir) {
			t.Errorf("the master said\n%s", said)
		}
	}()
	try := func(args ...string) (string, error) {
		cmd := exec.Command("kubectl", args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+masterDir+"/kubeconfig")
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := master.In(cmd.Start); err != nil {
			return "", err
		}
		if err := cmd.Wait(); err != nil {
			return "", fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, errs.String())
		}
		return strings.TrimSpace(out.String()), nil
	}
	kubectl := func(args ...string) string {
		t.Helper()
		out, err := try(args...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	get := func(host testnet.Host, address string) (string, error) {
		client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DialContext: host.Dial, DisableKeepAlives: true}}
		response, err := client.Get("http://" + address)
		if err != nil {
			return "", err
		}
		defer response.Body.Close()
		body, err := io.ReadAll(response.Body)
		return string(body), err
	}

	kubectl("wait", "--for=condition=Ready", "node/worker", "--timeout=30s")
	// The simulated node beside it keeps the pods of a lone dead node from being
	// kept in the hope that the network is to blame.
	kubectl("cordon", "fake-0")
	kubectl("create", "deployment", "web", "--image="+registry.Ref("v1"))
	kubectl("expose", "deployment", "web", "--port=80")
	kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	pod := kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[0].metadata.name}")
	service := kubectl("get", "service", "web", "-o", "jsonpath={.spec.clusterIP}")

	// Through the API server to the kubelet's own port.
	if out := kubectl("logs", pod); !strings.Contains(out, "serving on") {
		t.Errorf("logs: %q", out)
	}
	if out := kubectl("exec", pod, "--", "echo", "hello"); out != "hello" {
		t.Errorf("exec: %q", out)
	}
	forward := exec.Command("kubectl", "port-forward", "pod/"+pod, "8099:80")
	forward.Env = append(os.Environ(), "KUBECONFIG="+masterDir+"/kubeconfig")
	if err := master.In(forward.Start); err != nil {
		t.Fatal(err)
	}
	eventually(t, "port-forward", func() error { _, err := get(master, "127.0.0.1:8099"); return err })
	_ = forward.Process.Kill()
	_ = forward.Wait()
	eventually(t, "the service on the node", func() error { _, err := get(node, service); return err })
	if _, err := try("exec", pod, "--", "wget", "https://10.96.0.1/"); err == nil || !strings.Contains(err.Error(), "certificate signed by unknown authority") {
		t.Errorf("from the pod to the API: %v", err)
	}
	// Others than the API server are turned away.
	if out, err := get(master, nodeAt.Addr().String()+":10250/pods"); err == nil && !strings.Contains(out, "HTTPS server") {
		t.Errorf("the kubelet's port without a certificate: %s", out)
	}

	// A master that dies takes nothing along.
	m.end(syscall.SIGKILL)
	if _, err := get(node, service); err != nil {
		t.Errorf("without a master: %v", err)
	}
	m = begin(t, master, dir+"/master", masterArgs...)
	eventually(t, "the pod as it was", func() error {
		out, err := try("get", "pod", pod, "-o", "jsonpath={.status.phase} {.status.containerStatuses[0].restartCount}")
		if err != nil || out != "Running 0" {
			return fmt.Errorf("%s, %v", out, err)
		}
		return nil
	})

	// A node that dies is found missing, and its pods are given up; its
	// containers run on.
	kubectl("patch", "deployment", "web", "-p", `{"spec":{"template":{"spec":{"tolerations":[{"key":"node.kubernetes.io/unreachable","operator":"Exists","effect":"NoExecute","tolerationSeconds":1}]}}}}`)
	kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	eventually(t, "one pod", func() error {
		if pod = kubectl("get", "pods", "-l", "app=web", "-o", "jsonpath={.items[*].metadata.name}"); strings.Contains(pod, " ") {
			return fmt.Errorf("%s", pod)
		}
		return nil
	})
	n.end(syscall.SIGKILL)
	killed := time.Now()
	kubectl("wait", "--for=condition=Ready=unknown", "node/worker", "--timeout=40s")
	t.Logf("the node was found missing after %v", time.Since(killed).Round(time.Second))
	eventually(t, "eviction", func() error {
		if out, err := try("get", "pod", pod, "-o", "jsonpath={.metadata.deletionTimestamp}"); err != nil || out == "" {
			return fmt.Errorf("the pod is not being deleted: %v", err)
		}
		return nil
	})
	if out := kubectl("get", "node", "worker", "-o", "jsonpath={.spec.taints[*].key}"); !strings.Contains(out, "node.kubernetes.io/unreachable") {
		t.Errorf("taints: %s", out)
	}
	if _, err := get(node, kubectl("get", "pod", pod, "-o", "jsonpath={.status.podIP}")); err != nil {
		t.Errorf("the container on the dead node: %v", err)
	}
	n = begin(t, node, dir+"/node", nodeArgs...)
	kubectl("wait", "--for=condition=Ready", "node/worker", "--timeout=30s")
	kubectl("rollout", "status", "deployment/web", "--timeout=60s")
	eventually(t, "the service again", func() error { _, err := get(node, service); return err })
}

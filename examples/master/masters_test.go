package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// aMaster is one of several, on a loopback address of its own.
type aMaster struct {
	name, dir string
	args      []string
	cmd       *exec.Cmd
	said      *safeBuffer
	client    kubernetes.Interface
}

// safeBuffer keeps what a process says.
type safeBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func freePort(t *testing.T, ip string) string {
	t.Helper()
	l, err := net.Listen("tcp", ip+":0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

func (m *aMaster) start(t *testing.T, binary string) {
	t.Helper()
	m.cmd, m.said = exec.Command(binary, m.args...), &safeBuffer{}
	m.cmd.Stdout, m.cmd.Stderr = m.said, m.said
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	eventually(t, m.name+" is ready", func() error {
		if strings.Contains(m.said.String(), "  ready ") {
			return nil
		}
		return fmt.Errorf("it says %q", m.said)
	})
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(m.dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	config.QPS = -1
	if m.client, err = kubernetes.NewForConfig(config); err != nil {
		t.Fatal(err)
	}
}

func (m *aMaster) end(sig os.Signal) {
	if m.cmd == nil {
		return
	}
	_ = m.cmd.Process.Signal(sig)
	_ = m.cmd.Wait()
	m.cmd = nil
}

// TestThreeMasters loses each of three masters once, by kill -9, while others write
// through the rest: no acknowledged write is lost, and the workloads go on.
func TestThreeMasters(t *testing.T) {
	dir := t.TempDir()
	binary := filepath.Join(dir, "master")
	if out, err := exec.Command("go", "build", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("building: %v\n%s", err, out)
	}
	var masters []*aMaster
	for i := range 3 {
		ip := fmt.Sprintf("127.0.71.%d", i+1)
		m := &aMaster{name: fmt.Sprintf("m%d", i), dir: filepath.Join(dir, fmt.Sprintf("m%d", i))}
		m.args = []string{"--data-dir", m.dir, "--listen", freePort(t, ip), "--peer-listen", freePort(t, ip), "--master-name", m.name, "--fake-nodes", "0"}
		if i > 0 {
			m.args = append(m.args, "--join", filepath.Join(masters[0].dir, "master.join"))
		}
		masters = append(masters, m)
		t.Cleanup(func() {
			if t.Failed() {
				t.Logf("%s said\n%s", m.name, m.said)
			}
			m.end(syscall.SIGKILL)
		})
		m.start(t, binary)
	}

	ctx := t.Context()
	const namespace = "default"
	acknowledged := map[string]bool{}
	write := func(through *aMaster, name string) {
		t.Helper()
		eventually(t, "a write through "+through.name, func() error {
			ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
			defer cancel()
			cm := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{GenerateName: name}}
			made, err := through.client.CoreV1().ConfigMaps(namespace).Create(ctx, cm, metav1.CreateOptions{})
			if err == nil {
				acknowledged[made.Name] = true
			}
			return err
		})
	}
	for round, lost := range masters {
		rest := []*aMaster{masters[(round+1)%3], masters[(round+2)%3]}
		lost.end(syscall.SIGKILL)
		for i := range 20 {
			write(rest[i%2], fmt.Sprintf("round-%d-", round))
		}
		lost.start(t, binary)
		write(lost, "back-")
	}
	for _, m := range masters {
		list, err := m.client.CoreV1().ConfigMaps(namespace).List(ctx, metav1.ListOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found := map[string]bool{}
		for _, cm := range list.Items {
			found[cm.Name] = true
		}
		for name := range acknowledged {
			if !found[name] {
				t.Errorf("%s has lost %s", m.name, name)
			}
		}
	}

	// One that is removed ends, and says why.
	gone := masters[2]
	if err := masters[0].client.CoreV1().RESTClient().Delete().AbsPath("/etcd/members/" + gone.name).Do(ctx).Error(); err != nil {
		t.Fatal(err)
	}
	if err := gone.cmd.Wait(); err == nil || !strings.Contains(gone.said.String(), "the others have removed it") {
		t.Errorf("%v: %s", err, gone.said)
	}
	gone.cmd = nil
	write(masters[1], "two-left-")
	for _, m := range masters[:2] {
		m.end(syscall.SIGTERM)
	}
}

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/strake-io/strake/internal/history"
	"github.com/strake-io/strake/internal/history/objects"
	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/etcd"
)

// masterEnv makes the test binary the program itself.
const masterEnv = "STRAKE_HISTORY_MASTER"

func TestMain(m *testing.M) {
	if os.Getenv(masterEnv) != "" {
		main()
	}
	os.Exit(m.Run())
}

// mortal is a master that dies and comes back.
type mortal struct {
	aMaster
	life atomic.Int64
}

// launch does not wait until it serves.
func (m *mortal) launch() error {
	m.said = &safeBuffer{}
	m.cmd = exec.Command(os.Args[0], m.args...)
	m.cmd.Env = append(os.Environ(), masterEnv+"=yes")
	m.cmd.Stdout, m.cmd.Stderr = m.said, m.said
	// It does not outlive a test that is killed.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return m.cmd.Start()
}

// ready waits until it serves, or ctx ends.
func (m *mortal) ready(ctx context.Context) error {
	late := time.Now().Add(time.Minute)
	for !strings.Contains(m.said.String(), "  ready ") {
		if time.Now().After(late) {
			return fmt.Errorf("%s does not come back: %s", m.name, m.said)
		}
		if pause(ctx, 50*time.Millisecond) != nil {
			return nil
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// bear a master that lives until the test ends, and is ready.
func bear(t *testing.T, name, ip string, args ...string) *mortal {
	t.Helper()
	m := &mortal{aMaster: aMaster{name: name, dir: filepath.Join(t.TempDir(), name)}}
	m.args = append([]string{"--data-dir", m.dir, "--listen", freePort(t, ip), "--fake-nodes", "0"}, args...)
	if err := m.launch(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			said := m.said.String()
			t.Logf("%s said\n%s", m.name, said[max(0, len(said)-8000):])
		}
		m.end(syscall.SIGKILL)
	})
	if err := m.ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	return m
}

// server of the API for the workload.
func (m *mortal) server(t *testing.T) *objects.Server {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", filepath.Join(m.dir, "kubeconfig"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return &objects.Server{URL: config.Host, Client: client, Life: m.life.Load}
}

// harm one of the masters again and again: it is killed and started again, or stopped
// for a while.
func harm(masters []*mortal, kills *int) func(context.Context, *rand.Rand) error {
	return func(ctx context.Context, random *rand.Rand) error {
		for ctx.Err() == nil {
			_ = pause(ctx, time.Duration(random.IntN(int(2*time.Second))))
			m := masters[random.IntN(len(masters))]
			if random.IntN(3) == 0 {
				_ = m.cmd.Process.Signal(syscall.SIGSTOP)
				_ = pause(ctx, time.Duration(random.IntN(int(4*time.Second))))
				_ = m.cmd.Process.Signal(syscall.SIGCONT)
				continue
			}
			m.life.Add(1)
			m.end(syscall.SIGKILL)
			*kills++
			_ = pause(ctx, time.Duration(random.IntN(int(2*time.Second))))
			if err := m.launch(); err != nil {
				return err
			}
			if err := m.ready(ctx); err != nil {
				return err
			}
		}
		return nil
	}
}

func historyConfig(t *testing.T) objects.Config {
	t.Helper()
	settings, err := history.FromEnvironment(2 * time.Second)
	if err != nil {
		t.Fatal(err)
	}
	return objects.Config{Settings: settings, Namespace: "default"}
}

// TestHistoryMaster kills and stops one master on an etcd that lives on, and whose own
// watch says what has happened.
func TestHistoryMaster(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := etcd.New(etcd.Config{DataDir: t.TempDir(), Listeners: []net.Listener{l}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c := historyConfig(t)
	m := bear(t, "master", "127.0.0.1", "--etcd-endpoints", "http://"+l.Addr().String())
	c.Servers = []*objects.Server{m.server(t)}
	c.Witness = func(ctx context.Context, log *history.Log, after int64) error {
		return witness(ctx, s, log, after)
	}
	kills := 0
	c.Fault = harm([]*mortal{m}, &kills)
	objects.Run(t, c)
	t.Logf("killed %d times", kills)
}

// witness writes what a store says of ConfigMaps to the log.
func witness(ctx context.Context, s store.Store, log *history.Log, after int64) error {
	watch, err := s.Watch(ctx, "/registry/configmaps/default/"+objects.Prefix, after)
	if err != nil {
		return err
	}
	defer watch.Stop()
	uids := map[string]string{}
	for {
		batch, err := watch.Next(ctx)
		if err != nil {
			return err
		}
		var events []history.Event
		for _, e := range batch.Events {
			event, err := stored(e)
			if err != nil {
				return err
			}
			if event.Deleted {
				event.Identity = uids[event.Key]
			}
			uids[event.Key] = event.Identity
			events = append(events, event)
		}
		if err := log.Append(events, batch.Revision); err != nil {
			return err
		}
	}
}

// stored is an event of the store as one of the API.
func stored(e store.Event) (history.Event, error) {
	out := history.Event{Revision: e.KV.ModRevision, Key: filepath.Base(e.KV.Key), Type: "MODIFIED"}
	if e.Type == store.EventDelete {
		out.Type, out.Deleted = "DELETED", true
		return out, nil
	}
	obj, _, err := scheme.Codecs.UniversalDeserializer().Decode(e.KV.Value, nil, nil)
	if err != nil {
		return out, err
	}
	cm := obj.(*corev1.ConfigMap)
	out.Value, out.Identity = cm.Data["v"], string(cm.UID)
	if e.KV.CreateRevision == e.KV.ModRevision {
		out.Type, out.Created = history.Added, e.KV.ModRevision
	}
	return out, nil
}

// TestHistoryMasters kills and stops one of three masters after the other. What has
// happened is what the masters' watches say: one of them always has it all.
func TestHistoryMasters(t *testing.T) {
	c := historyConfig(t)
	var masters []*mortal
	for i := range 3 {
		ip, name := fmt.Sprintf("127.0.72.%d", i+1), fmt.Sprint("m", i)
		args := []string{"--peer-listen", freePort(t, ip), "--master-name", name}
		if i > 0 {
			args = append(args, "--join", filepath.Join(masters[0].dir, "master.join"))
		}
		m := bear(t, name, ip, args...)
		masters = append(masters, m)
		c.Servers = append(c.Servers, m.server(t))
	}
	kills := 0
	c.Fault = harm(masters, &kills)
	objects.Run(t, c)
	t.Logf("killed %d times", kills)
}

package historytest_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/strake-io/strake/store/etcd"
)

// childEnv makes the test binary a process that serves a member: its value is a member.
const childEnv = "STRAKE_HISTORY_MEMBER"

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		if err := serveMember(text); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// member is a store in a process of its own.
type member struct {
	Dir string
	// Address of the store by the protocol of serve, and EtcdAddress by etcd's own.
	Address, EtcdAddress string
	Cluster              *etcd.Cluster
	cmd                  *exec.Cmd
}

// serveMember is the process of a member, until it is killed.
func serveMember(text string) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	var m member
	if err := json.Unmarshal([]byte(text), &m); err != nil {
		return err
	}
	// Nothing but the test compacts.
	c := etcd.Config{DataDir: m.Dir, Cluster: m.Cluster, CompactionInterval: -1, Logger: copies(m.Dir)}
	if m.EtcdAddress != "" {
		l, err := net.Listen("tcp", m.EtcdAddress)
		if err != nil {
			return err
		}
		c.Listeners = []net.Listener{l}
	}
	s, err := etcd.New(c)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", m.Address)
	if err != nil {
		return err
	}
	server := &http.Server{Handler: serve(s)}
	go func() { _ = server.Serve(l) }()
	err = s.Run(ctx)
	return errors.Join(err, server.Close())
}

// copiesFile has a line for each time that a member caught up by a copy of the database.
const copiesFile = "copies"

// copies is a logger that writes those lines.
func copies(dir string) logr.Logger {
	return funcr.New(func(_, args string) {
		if !strings.Contains(args, "applied snapshot") {
			return
		}
		f, err := os.OpenFile(filepath.Join(dir, copiesFile), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
		if err == nil {
			fmt.Fprintln(f, args)
			err = f.Close()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}, funcr.Options{Verbosity: 4})
}

// copied counts them.
func (m *member) copied() int {
	data, _ := os.ReadFile(filepath.Join(m.Dir, copiesFile)) // none: never
	return strings.Count(string(data), "\n")
}

// start the process, and do not wait for it.
func (m *member) start() error {
	text, err := json.Marshal(m)
	if err != nil {
		return err
	}
	m.cmd = exec.Command(os.Args[0])
	m.cmd.Env = append(os.Environ(), childEnv+"="+string(text))
	m.cmd.Stderr = os.Stderr
	// It does not outlive a test that is killed.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return m.cmd.Start()
}

// kill -9, and wait until it is gone.
func (m *member) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait()
}

// signal sent to the process.
func (m *member) signal(s syscall.Signal) error { return m.cmd.Process.Signal(s) }

// startMember starts one that lives until the test ends.
func startMember(t *testing.T, m *member) *member {
	t.Helper()
	if err := m.start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = m.signal(syscall.SIGCONT)
		m.kill()
	})
	return m
}

// lone is a member without others.
func lone(t *testing.T) *member {
	t.Helper()
	return startMember(t, &member{Dir: t.TempDir(), Address: freeAddress(t), EtcdAddress: freeAddress(t)})
}

// three members that make one store. keep is etcd.Cluster.KeepEntries.
func three(t *testing.T, keep int) []*member {
	t.Helper()
	urls := map[string]string{}
	for i := range 3 {
		urls[fmt.Sprint("m", i)] = "http://" + freeAddress(t)
	}
	var members []*member
	for i := range 3 {
		name := fmt.Sprint("m", i)
		members = append(members, startMember(t, &member{
			Dir: t.TempDir(), Address: freeAddress(t), EtcdAddress: freeAddress(t),
			Cluster: &etcd.Cluster{Name: name, PeerURL: urls[name], Members: urls, KeepEntries: keep},
		}))
	}
	return members
}

func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// pause of a random time between two bounds, or until ctx ends.
func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

package etcd_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/etcd"
)

func TestSurvivesRestart(t *testing.T) {
	dir := t.TempDir()
	s, stop := run(t, etcd.Config{DataDir: dir})
	before := put(t, s, "/a", "1")
	stop()
	s, _ = run(t, etcd.Config{DataDir: dir})
	if got := value(t, s, "/a"); got != "1" {
		t.Errorf("after a restart the key holds %q", got)
	}
	// Watches go on across the restart.
	w, err := s.Watch(t.Context(), "/", before)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Stop()
	put(t, s, "/b", "2")
	batch, err := w.Next(t.Context())
	if err != nil || len(batch.Events) != 1 || batch.Events[0].KV.Key != "/b" {
		t.Errorf("a watch from before the restart: %+v, %v", batch, err)
	}
}

// writeUntilKilled writes numbered keys from several goroutines and prints each
// once it is acknowledged.
func writeUntilKilled(dir string) error {
	s, err := etcd.New(etcd.Config{DataDir: dir})
	if err != nil {
		return err
	}
	errs := make(chan error, 10)
	go func() { errs <- s.Run(context.Background()) }()
	var mu sync.Mutex
	for g := range 8 {
		go func() {
			for i := 0; ; i++ {
				key := fmt.Sprintf("/k/%d/%d", g, i)
				if _, err := s.Put(context.Background(), store.Put{Key: key, Value: []byte(key)}); err != nil {
					errs <- err
					return
				}
				mu.Lock()
				fmt.Println(key)
				mu.Unlock()
			}
		}()
	}
	return <-errs
}

func TestSurvivesKill(t *testing.T) {
	dir := t.TempDir()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killedEnv+"="+dir)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := map[string]bool{}
	for lines := bufio.NewScanner(out); lines.Scan(); {
		acknowledged[lines.Text()] = true
		if len(acknowledged) == 400 {
			child.Process.Kill() // and read on: what else it has acknowledged
		}
	}
	child.Wait()
	if len(acknowledged) < 400 {
		t.Fatalf("the child acknowledged only %d writes", len(acknowledged))
	}
	s, _ := run(t, etcd.Config{DataDir: dir})
	list, err := s.List(t.Context(), "/k/", store.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, kv := range list.KVs {
		if kv.Key != string(kv.Value) {
			t.Errorf("%s holds %s", kv.Key, kv.Value)
		}
		delete(acknowledged, kv.Key)
	}
	// The last line may be cut short by the kill.
	for key := range acknowledged {
		if value(t, s, key) == "" && !prefixOfOne(key, list.KVs) {
			t.Errorf("the acknowledged write of %s is lost", key)
		}
	}
}

func prefixOfOne(key string, kvs []store.KV) bool {
	for _, kv := range kvs {
		if strings.HasPrefix(kv.Key, key) {
			return true
		}
	}
	return false
}

// TestExternalServerRestarts loses the server under a store and its watch.
func TestExternalServerRestarts(t *testing.T) {
	dir := t.TempDir()
	l := listen(t)
	_, stopServer := run(t, etcd.Config{DataDir: dir, Listeners: []net.Listener{l}})
	s, _ := run(t, etcd.Config{Endpoints: []string{"http://" + l.Addr().String()}})
	put(t, s, "/a", "1")
	w, err := s.Watch(t.Context(), "/", 0)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "/a", "2")
	batch, err := w.Next(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	stopServer()
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	if _, err := s.Put(ctx, store.Put{Key: "/b"}); !errors.Is(err, store.ErrUncertain) {
		t.Errorf("a write without a server: %v", err)
	}
	cancel()
	again, err := net.Listen("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	run(t, etcd.Config{DataDir: dir, Listeners: []net.Listener{again}})
	for {
		if _, err = s.Put(t.Context(), store.Put{Key: "/a", Value: []byte("3"), If: store.Any}); err == nil {
			break
		}
		if !errors.Is(err, store.ErrUncertain) {
			t.Fatalf("a write while the server comes back: %v", err)
		}
		time.Sleep(10 * time.Millisecond)
	}
	at, seen := batch.Revision, ""
	for seen != "3" {
		if batch, err = w.Next(t.Context()); err != nil {
			// It may end with the server, and is then resumed.
			if w, err = s.Watch(t.Context(), "/", at); err != nil {
				t.Fatal(err)
			}
			continue
		}
		at = batch.Revision
		for _, e := range batch.Events {
			if e.KV.Key == "/a" {
				seen = string(e.KV.Value)
			}
		}
	}
	w.Stop()
}

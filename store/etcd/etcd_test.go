package etcd_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/etcd"
	"github.com/strake-io/strake/store/storetest"
)

// killedEnv makes the test binary the child that TestSurvivesKill kills: its
// value is the data directory.
const killedEnv = "STRAKE_ETCD_TEST_WRITE_UNTIL_KILLED"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedEnv); dir != "" {
		if err := writeUntilKilled(dir); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// run starts a store and returns it serving, with what stops it.
func run(t testing.TB, cfg etcd.Config) (s *etcd.Store, stop func()) {
	t.Helper()
	s, err := etcd.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				t.Errorf("Run: %v", err)
			}
		})
	}
	t.Cleanup(stop)
	select {
	case <-s.Ready():
	case err := <-done:
		done <- nil
		t.Fatalf("Run: %v", err)
	}
	return s, stop
}

func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func TestContractEmbedded(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store {
		s, _ := run(t, etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true, Logger: errorsOf(t)})
		return s
	})
}

func TestContractExternal(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store {
		l := listen(t)
		run(t, etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true, Listeners: []net.Listener{l}})
		// A small page, so that lists take several.
		s, _ := run(t, etcd.Config{Endpoints: []string{"http://" + l.Addr().String()}, PageSize: 3})
		return s
	})
}

// errorsOf fails the test with what is logged as an error.
func errorsOf(t testing.TB) logr.Logger {
	return funcr.New(func(_, args string) {
		if strings.Contains(args, `"logger"`) || strings.Contains(args, `"error"=`) {
			t.Logf("logged: %s", args)
		}
	}, funcr.Options{})
}

func put(t testing.TB, s store.Store, key, value string) int64 {
	t.Helper()
	revision, err := s.Put(t.Context(), store.Put{Key: key, Value: []byte(value), If: store.Any})
	if err != nil {
		t.Fatal(err)
	}
	return revision
}

func value(t testing.TB, s store.Store, key string) string {
	t.Helper()
	kv, _, err := s.Get(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	if kv == nil {
		return ""
	}
	return string(kv.Value)
}

func TestTwoSideBySide(t *testing.T) {
	before := etcdGoroutines()
	one, stopOne := run(t, etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true})
	two, stopTwo := run(t, etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true})
	put(t, one, "/a", "one")
	put(t, two, "/a", "two")
	w, err := two.Watch(t.Context(), "/", 0)
	if err != nil {
		t.Fatal(err)
	}
	stopOne()
	if _, _, err := one.Get(t.Context(), "/a"); !errors.Is(err, store.ErrClosed) {
		t.Errorf("the stopped one: %v", err)
	}
	put(t, two, "/b", "two")
	if batch, err := w.Next(t.Context()); err != nil || len(batch.Events) != 1 {
		t.Errorf("the other one's watch: %+v, %v", batch, err)
	}
	if got := value(t, two, "/a"); got != "two" {
		t.Errorf("the other one holds %q", got)
	}
	stopTwo()
	noneLeft(t, before)
}

func TestExternalLeavesNothing(t *testing.T) {
	before := etcdGoroutines()
	l := listen(t)
	_, stopServer := run(t, etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true, Listeners: []net.Listener{l}})
	s, stop := run(t, etcd.Config{Endpoints: []string{"http://" + l.Addr().String()}})
	put(t, s, "/a", "1")
	w, err := s.Watch(t.Context(), "/", 0)
	if err != nil {
		t.Fatal(err)
	}
	put(t, s, "/a", "2")
	if _, err := w.Next(t.Context()); err != nil {
		t.Fatal(err)
	}
	stop()
	stopServer()
	noneLeft(t, before)
}

func TestExternalWaitsForServer(t *testing.T) {
	l := listen(t)
	endpoint := "http://" + l.Addr().String()
	s, err := etcd.New(etcd.Config{Endpoints: []string{endpoint}, DialTimeout: 200 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	run(t, etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true, Listeners: []net.Listener{l}})
	if _, err := s.Put(t.Context(), store.Put{Key: "/a"}); err != nil { // waits for Ready
		t.Fatal(err)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestCompactsPeriodically(t *testing.T) {
	s, _ := run(t, etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true, CompactionInterval: 10 * time.Millisecond})
	first := put(t, s, "/a", "1")
	put(t, s, "/a", "2")
	for {
		_, err := s.List(t.Context(), "/", store.ListOptions{Revision: first})
		if errors.Is(err, store.ErrCompacted) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond)
	}
	if got := value(t, s, "/a"); got != "2" {
		t.Errorf("after compaction the key holds %q", got)
	}
}

func TestCloseBeforeRun(t *testing.T) {
	s, err := etcd.New(etcd.Config{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s.Close()
	if _, err := s.Revision(t.Context()); !errors.Is(err, store.ErrClosed) {
		t.Errorf("Revision: %v", err)
	}
	if err := s.Run(t.Context()); err != nil {
		t.Errorf("Run of a closed store: %v", err)
	}
}

func TestDataDirInUse(t *testing.T) {
	dir := t.TempDir()
	_, stop := run(t, etcd.Config{DataDir: dir, UnsafeNoFsync: true})
	l := listen(t)
	second, err := etcd.New(etcd.Config{DataDir: dir, Listeners: []net.Listener{l}})
	if err != nil {
		t.Fatal(err)
	}
	if err := second.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Errorf("a second store on the directory: %v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("its listener was left open: %v", err)
	}
	stop()
	run(t, etcd.Config{DataDir: dir, UnsafeNoFsync: true})
}

func TestNoSpaceAndTooLarge(t *testing.T) {
	s, _ := run(t, etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true, QuotaBytes: 4 << 20})
	large := make([]byte, 2<<20)
	if _, err := s.Put(t.Context(), store.Put{Key: "/large", Value: large}); !errors.Is(err, store.ErrTooLarge) {
		t.Errorf("a value of 2 MiB: %v", err)
	}
	var err error
	for i := 0; i < 100 && err == nil; i++ {
		_, err = s.Put(t.Context(), store.Put{Key: fmt.Sprintf("/k/%d", i), Value: large[:1<<19]})
	}
	if !errors.Is(err, store.ErrNoSpace) || errors.Is(err, store.ErrUncertain) {
		t.Errorf("writing beyond the quota: %v", err)
	}
	if _, err := s.Put(t.Context(), store.Put{Key: "/leased", TTL: time.Hour}); !errors.Is(err, store.ErrNoSpace) || errors.Is(err, store.ErrUncertain) {
		t.Errorf("writing with a TTL beyond the quota: %v", err)
	}
	if _, err := s.Delete(t.Context(), "/k/0", store.Any); err != nil {
		t.Errorf("a deletion beyond the quota: %v", err)
	}
}

// TestReserve keeps some of the disk free, whatever the quota says.
func TestReserve(t *testing.T) {
	dir := t.TempDir()
	s, stop := run(t, etcd.Config{DataDir: dir, UnsafeNoFsync: true})
	if _, err := s.Put(t.Context(), store.Put{Key: "/k", If: store.Absent}); err != nil {
		t.Fatal(err)
	}
	stop()
	s, _ = run(t, etcd.Config{DataDir: dir, UnsafeNoFsync: true, ReserveBytes: 1 << 62})
	for _, cond := range []store.Condition{store.Any, store.Absent} {
		_, err := s.Put(t.Context(), store.Put{Key: "/new", If: cond})
		if !errors.Is(err, store.ErrNoSpace) || errors.Is(err, store.ErrUncertain) || !strings.Contains(err.Error(), dir) {
			t.Errorf("writing where the disk is too full, with condition %v: %v", cond, err)
		}
	}
	if _, err := s.Delete(t.Context(), "/k", store.Any); err != nil {
		t.Errorf("deleting where the disk is too full: %v", err)
	}
}

// TestFullStoreRecovers deletes from a full store until it takes writes again.
func TestFullStoreRecovers(t *testing.T) {
	s, _ := run(t, etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true, QuotaBytes: 4 << 20, CompactionInterval: 20 * time.Millisecond})
	var err error
	for i := 0; err == nil; i++ {
		_, err = s.Put(t.Context(), store.Put{Key: "/k", Value: make([]byte, 1<<18), If: store.Any})
	}
	if !errors.Is(err, store.ErrNoSpace) {
		t.Fatalf("writing beyond the quota: %v", err)
	}
	if _, err := s.Delete(t.Context(), "/k", store.Any); err != nil {
		t.Fatal(err)
	}
	for {
		if _, err = s.Put(t.Context(), store.Put{Key: "/small", Value: []byte("x"), If: store.Any}); err == nil {
			break
		}
		if !errors.Is(err, store.ErrNoSpace) {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func TestInvalidConfig(t *testing.T) {
	for name, cfg := range map[string]etcd.Config{
		"neither":  {},
		"both":     {DataDir: "d", Endpoints: []string{"e"}},
		"negative": {DataDir: "d", QuotaBytes: -1},
	} {
		if _, err := etcd.New(cfg); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// etcdGoroutines counts the goroutines that etcd or gRPC runs.
func etcdGoroutines() int {
	return len(etcdStacks())
}

func etcdStacks() (stacks []string) {
	buf := make([]byte, 4<<20)
	for _, g := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		if strings.Contains(g, "go.etcd.io/") || strings.Contains(g, "google.golang.org/grpc") || strings.Contains(g, "net/http.") {
			stacks = append(stacks, g)
		}
	}
	return stacks
}

// noneLeft gives goroutines that were told to end the time to do so.
func noneLeft(t testing.TB, before int) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Second); etcdGoroutines() > before; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("goroutines are left behind:\n%s", strings.Join(etcdStacks(), "\n\n"))
		}
	}
}

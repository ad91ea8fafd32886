package etcd_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/etcd"
	"github.com/strake-io/strake/store/storetest"
)

// peerURL is a free one on loopback.
func peerURL(t testing.TB) string {
	t.Helper()
	l := listen(t)
	defer l.Close()
	return "http://" + l.Addr().String()
}

// founders are the configurations of three members that start together.
func founders(t testing.TB) []etcd.Config {
	t.Helper()
	members := map[string]string{}
	for i := range 3 {
		members[fmt.Sprintf("m%d", i)] = peerURL(t)
	}
	var configs []etcd.Config
	for i := range 3 {
		name := fmt.Sprintf("m%d", i)
		configs = append(configs, etcd.Config{
			DataDir: t.TempDir(), UnsafeNoFsync: true,
			Cluster: &etcd.Cluster{Name: name, PeerURL: members[name], Members: members},
		})
	}
	return configs
}

// startAll starts members side by side: none is ready alone.
func startAll(t testing.TB, configs []etcd.Config) (stores []*etcd.Store, stops []func()) {
	t.Helper()
	for _, config := range configs {
		s, stop := begin(t, config)
		stores, stops = append(stores, s), append(stops, stop)
	}
	for _, s := range stores {
		wait(t, s)
	}
	return stores, stops
}

// begin starts a store without waiting for it. stop may be called more than once.
func begin(t testing.TB, config etcd.Config) (s *etcd.Store, stop func()) {
	t.Helper()
	s, err := etcd.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Run(ctx); err != nil {
			t.Errorf("Run: %v", err)
		}
	}()
	stop = func() {
		cancel()
		<-done
	}
	t.Cleanup(stop)
	return s, stop
}

func wait(t testing.TB, s *etcd.Store) {
	t.Helper()
	select {
	case <-s.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("the member is not ready")
	}
}

// The contract on a member that others may join.
func TestContractMember(t *testing.T) {
	storetest.Run(t, func(t testing.TB) store.Store {
		s, _ := run(t, etcd.Config{
			DataDir: t.TempDir(), UnsafeNoFsync: true, Logger: errorsOf(t),
			Cluster: &etcd.Cluster{Name: "one", PeerURL: peerURL(t)},
		})
		return s
	})
}

func TestThreeMembers(t *testing.T) {
	before := etcdGoroutines()
	configs := founders(t)
	stores, stops := startAll(t, configs)
	ctx := t.Context()
	watch, err := stores[1].Watch(ctx, "/", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	// A write through one is there for readers of all, at once.
	for i := range 20 {
		key := fmt.Sprintf("/%d", i)
		revision := put(t, stores[i%3], key, "v")
		for _, s := range stores {
			if value(t, s, key) != "v" {
				t.Errorf("%s is not there", key)
			}
			if now, err := s.Revision(ctx); err != nil || now < revision {
				t.Errorf("revision %d, %v, want %d", now, err, revision)
			}
		}
	}
	for seen := 0; seen < 20; {
		batch, err := watch.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		seen += len(batch.Events)
	}
	members, err := stores[0].Members(ctx)
	if err != nil || len(members) != 3 || leaders(members) != 1 {
		t.Errorf("members %+v, %v", members, err)
	}
	// Two go on without the third, whichever it is.
	for i := range 3 {
		stops[i]()
		next := stores[(i+1)%3]
		putWithin(t, next, fmt.Sprintf("/without-%d", i), "v")
		stores[i], stops[i] = begin(t, configs[i])
		wait(t, stores[i])
		if value(t, stores[i], fmt.Sprintf("/without-%d", i)) != "v" {
			t.Error("a member that came back lacks what it missed")
		}
	}
	// One of three can do nothing, says so in time, and stops all the same.
	stops[0]()
	stops[1]()
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, err := stores[2].Put(short, store.Put{Key: "/x", Value: []byte("v")}); !errors.Is(err, store.ErrUncertain) {
		t.Errorf("a write without a majority: %v", err)
	}
	if _, _, err := stores[2].Get(short, "/0"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a read without a majority: %v", err)
	}
	hanging := make(chan error, 1)
	go func() {
		_, _, err := stores[2].Get(context.Background(), "/0")
		hanging <- err
	}()
	time.Sleep(50 * time.Millisecond)
	stops[2]()
	if err := <-hanging; !errors.Is(err, store.ErrClosed) {
		t.Errorf("a read that hung when the store stopped: %v", err)
	}
	noneLeft(t, before)
}

// putWithin writes through a change of leaders.
func putWithin(t testing.TB, s *etcd.Store, key, value string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		_, err := s.Put(ctx, store.Put{Key: key, Value: []byte(value)})
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			t.Fatalf("writing %s: %v", key, err)
		}
	}
}

func leaders(members []etcd.Member) (n int) {
	for _, m := range members {
		if m.Leader {
			n++
		}
	}
	return n
}

func TestMembersJoinAndLeave(t *testing.T) {
	ctx := t.Context()
	// A store that was alone, with data of its own.
	dir := t.TempDir()
	alone, stop := run(t, etcd.Config{DataDir: dir, UnsafeNoFsync: true})
	put(t, alone, "/a", "b")
	stop()

	firstURL := peerURL(t)
	config := etcd.Config{DataDir: dir, UnsafeNoFsync: true, Cluster: &etcd.Cluster{Name: "first", PeerURL: firstURL}}
	first, stopFirst := begin(t, config)
	wait(t, first)
	join := func(name string) (*etcd.Store, func(), etcd.Config) {
		url := peerURL(t)
		known, err := first.AddMember(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		// Asked again, since the answer was lost.
		if known, err = first.AddMember(ctx, url); err != nil {
			t.Fatal(err)
		}
		members := map[string]string{}
		for _, m := range known {
			if m.Name == "" {
				m.Name = name
			}
			members[m.Name] = m.PeerURLs[0]
		}
		c := etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true, Cluster: &etcd.Cluster{Name: name, PeerURL: url, Members: members, Join: true}}
		s, stop := begin(t, c)
		wait(t, s)
		return s, stop, c
	}
	second, stopSecond, secondConfig := join("second")
	third, _, _ := join("third")
	if value(t, third, "/a") != "b" {
		t.Error("a member that joined lacks what was there")
	}
	members, err := third.Members(ctx)
	if err != nil || len(members) != 3 || leaders(members) != 1 {
		t.Fatalf("members %+v, %v", members, err)
	}
	for _, m := range members {
		if m.Learner || m.Self != (m.Name == "third") {
			t.Errorf("%+v", m)
		}
	}
	if _, err := first.AddMember(ctx, secondConfig.Cluster.PeerURL); err == nil || !strings.Contains(err.Error(), "is at") {
		t.Errorf("a member that is there was added: %v", err)
	}
	// The second is lost for good: removed, and replaced.
	stopSecond()
	if err := first.RemoveMember(ctx, "second"); err != nil {
		t.Fatal(err)
	}
	if err := first.RemoveMember(ctx, "second"); !errors.Is(err, etcd.ErrNoMember) {
		t.Errorf("removed twice: %v", err)
	}
	ghost, err := etcd.New(secondConfig)
	if err != nil {
		t.Fatal(err)
	}
	if err := ghost.Run(ctx); err == nil || !strings.Contains(err.Error(), "removed it") {
		t.Errorf("a member that was removed: %v", err)
	}
	fourth, _, _ := join("fourth")
	putWithin(t, fourth, "/c", "d")
	if value(t, first, "/c") != "d" {
		t.Error("a write through the fourth is not there")
	}
	_ = second

	// Served as if it were alone it would wait for ever.
	stopFirst()
	lone, err := etcd.New(etcd.Config{DataDir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if err := lone.Run(ctx); err == nil || !strings.Contains(err.Error(), "one of 3 members") {
		t.Errorf("one of three started alone: %v", err)
	}
}

func TestBackup(t *testing.T) {
	ctx := t.Context()
	s, stop := run(t, etcd.Config{DataDir: t.TempDir(), UnsafeNoFsync: true})
	for i := range 100 {
		put(t, s, fmt.Sprintf("/%03d", i), "v")
	}
	var backup bytes.Buffer
	if err := s.Snapshot(ctx, &backup); err != nil {
		t.Fatal(err)
	}
	last := put(t, s, "/later", "v")
	stop()
	file := filepath.Join(t.TempDir(), "backup.db")
	if err := os.WriteFile(file, backup.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	if err := etcd.Restore(file, dir, nil, logr.Discard()); err != nil {
		t.Fatal(err)
	}
	if err := etcd.Restore(file, dir, nil, logr.Discard()); err == nil || !strings.Contains(err.Error(), "not empty") {
		t.Errorf("restored over data: %v", err)
	}
	if err := os.WriteFile(file, backup.Bytes()[:backup.Len()-600], 0o600); err != nil {
		t.Fatal(err)
	}
	if err := etcd.Restore(file, filepath.Join(t.TempDir(), "x"), nil, logr.Discard()); err == nil {
		t.Error("half a backup was restored")
	}
	restored, _ := run(t, etcd.Config{DataDir: dir, UnsafeNoFsync: true})
	list, err := restored.List(ctx, "/", store.ListOptions{})
	if err != nil || len(list.KVs) != 100 {
		t.Fatalf("%d keys, %v", len(list.KVs), err)
	}
	if now, err := restored.Revision(ctx); err != nil || now <= last {
		t.Errorf("the revision %d went back before %d (%v)", now, last, err)
	}
	watch, err := restored.Watch(ctx, "/", last)
	if err == nil {
		_, err = watch.Next(ctx)
		watch.Stop()
	}
	if !errors.Is(err, store.ErrCompacted) {
		t.Errorf("a watch from before the restore: %v", err)
	}
}

func TestInvalidClusters(t *testing.T) {
	for name, cluster := range map[string]etcd.Cluster{
		"no name":         {PeerURL: "http://127.0.0.1:1"},
		"a name with =":   {Name: "a=b", PeerURL: "http://127.0.0.1:1"},
		"no URL":          {Name: "a"},
		"no port":         {Name: "a", PeerURL: "http://127.0.0.1"},
		"no certificates": {Name: "a", PeerURL: "https://127.0.0.1:1"},
		"not a member":    {Name: "a", PeerURL: "http://127.0.0.1:1", Members: map[string]string{"b": "http://127.0.0.1:2"}},
		"no log":          {Name: "a", PeerURL: "http://127.0.0.1:1", KeepEntries: -1},
		"joins nobody":    {Name: "a", PeerURL: "http://127.0.0.1:1", Join: true},
	} {
		if _, err := etcd.New(etcd.Config{DataDir: "x", Cluster: &cluster}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
	if _, err := etcd.New(etcd.Config{Endpoints: []string{"http://x"}, Cluster: &etcd.Cluster{Name: "a", PeerURL: "http://127.0.0.1:1"}}); err == nil {
		t.Error("a cluster of an external etcd is accepted")
	}
}

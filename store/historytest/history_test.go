package historytest_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/strake-io/strake/internal/history"
	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/etcd"
	"github.com/strake-io/strake/store/historytest"
	"github.com/strake-io/strake/store/memory"
)

// usual is how long each test works where nobody asks for more.
const usual = time.Second

func config(t *testing.T) historytest.Config {
	t.Helper()
	t.Parallel() // each mostly waits
	settings, err := history.FromEnvironment(usual)
	if err != nil {
		t.Fatal(err)
	}
	return historytest.Config{Settings: settings, Compact: true}
}

func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)))
}

// fault again and again, with some time between.
func again(most time.Duration, f func(ctx context.Context, random *rand.Rand) error) func(context.Context, *rand.Rand) error {
	return func(ctx context.Context, random *rand.Rand) error {
		for ctx.Err() == nil {
			pause(ctx, between(random, most/4, most))
			if err := f(ctx, random); err != nil {
				return err
			}
		}
		return nil
	}
}

func TestHistoryMemory(t *testing.T) {
	c := config(t)
	s, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	c.Stores = []store.Store{s}
	historytest.Run(t, c)
}

// TestHistoryLoneKilled kills -9 the process of a lone member again and again, and
// starts it on the same data.
func TestHistoryLoneKilled(t *testing.T) {
	c := config(t)
	m := lone(t)
	c.Stores = []store.Store{newRemote(m.Address)}
	c.Fault = again(time.Second, func(ctx context.Context, random *rand.Rand) error {
		m.kill()
		pause(ctx, between(random, 0, 200*time.Millisecond))
		return m.start()
	})
	historytest.Run(t, c)
}

// TestHistoryLoneStalls stops the process of a lone member for random times, as a disk
// does that does not answer.
func TestHistoryLoneStalls(t *testing.T) {
	c := config(t)
	m := lone(t)
	c.Stores = []store.Store{newRemote(m.Address)}
	c.Fault = again(time.Second, func(ctx context.Context, random *rand.Rand) error { return stall(ctx, random, m) })
	historytest.Run(t, c)
}

func stall(ctx context.Context, random *rand.Rand, m *member) error {
	most := 300 * time.Millisecond
	if random.IntN(3) == 0 {
		most = 3 * time.Second // longer than calls wait
	}
	if err := m.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	pause(ctx, between(random, 0, most))
	return m.signal(syscall.SIGCONT)
}

// TestHistoryExternalCut reaches an etcd over connections that are cut and held up.
func TestHistoryExternalCut(t *testing.T) {
	c := config(t)
	m := lone(t)
	p := newProxy(t, m.EtcdAddress)
	c.Stores = []store.Store{external(t, p.listener.Addr().String())}
	c.Fault = again(500*time.Millisecond, func(ctx context.Context, random *rand.Rand) error {
		if random.IntN(2) == 0 {
			p.hold()
			pause(ctx, between(random, 0, 1500*time.Millisecond))
			defer p.release()
		}
		p.cut(false)
		return nil
	})
	historytest.Run(t, c)
}

// external is a store on an etcd.
func external(t *testing.T, address string) *etcd.Store {
	t.Helper()
	s, err := etcd.New(etcd.Config{Endpoints: []string{"http://" + address}, CompactionInterval: -1})
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
	return s
}

func views(members []*member) (out []store.Store) {
	for _, m := range members {
		out = append(out, newRemote(m.Address))
	}
	return out
}

// TestHistoryMembersKilled kills -9 one of three members after the other.
func TestHistoryMembersKilled(t *testing.T) {
	c := config(t)
	members := three(t, 0)
	c.Stores = views(members)
	c.Fault = again(2*time.Second, func(ctx context.Context, random *rand.Rand) error {
		m := members[random.IntN(3)]
		m.kill()
		pause(ctx, between(random, 0, 2*time.Second))
		return m.start()
	})
	historytest.Run(t, c)
}

// TestHistoryMembersStall stops one of three members for random times: a leader that
// wakes up does not know that it is none any more.
func TestHistoryMembersStall(t *testing.T) {
	c := config(t)
	members := three(t, 0)
	c.Stores = views(members)
	c.Fault = again(2*time.Second, func(ctx context.Context, random *rand.Rand) error {
		return stall(ctx, random, members[random.IntN(3)])
	})
	historytest.Run(t, c)
}

// TestHistoryMembersLag stops one of three members for longer than the others keep their
// log: it catches up by a copy of the whole database, under its readers and watchers.
func TestHistoryMembersLag(t *testing.T) {
	c := config(t)
	members := three(t, 20)
	c.Stores = views(members)
	c.Fault = again(2*time.Second, func(ctx context.Context, random *rand.Rand) error {
		i := random.IntN(3)
		if err := members[i].signal(syscall.SIGSTOP); err != nil {
			return err
		}
		burst(ctx, c.Stores[(i+1)%3])
		return members[i].signal(syscall.SIGCONT)
	})
	historytest.Run(t, c)
	copied := 0
	for _, m := range members {
		copied += m.copied()
	}
	t.Logf("members caught up by %d copies", copied)
	if copied == 0 && c.Time >= time.Minute {
		t.Error("no member lagged that far")
	}
}

// burst writes more than is kept for members that lag, and than is underway to one that
// does not read.
func burst(ctx context.Context, s store.Store) {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second) // there may have to be another leader first
	defer cancel()
	var writing sync.WaitGroup
	for w := range 4 {
		writing.Go(func() {
			for i := 0; i < 500 && ctx.Err() == nil; {
				if _, err := s.Put(ctx, store.Put{Key: fmt.Sprint("/elsewhere/", w), If: store.Any}); err == nil {
					i++
				}
			}
		})
	}
	writing.Wait()
}

// TestHistoryLeaderMoves makes another of three members the leader again and again.
func TestHistoryLeaderMoves(t *testing.T) {
	c := config(t)
	members := three(t, 0)
	var clients []*clientv3.Client
	for _, m := range members {
		client, err := clientv3.New(clientv3.Config{Endpoints: []string{"http://" + m.EtcdAddress}, Logger: zap.NewNop()})
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
		clients = append(clients, client)
	}
	c.Stores = views(members)
	moved := 0
	c.Fault = again(500*time.Millisecond, func(ctx context.Context, random *rand.Rand) error {
		ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
		defer cancel()
		if moveLeader(ctx, clients, random) {
			moved++
		}
		return nil
	})
	historytest.Run(t, c)
	if moved == 0 {
		t.Error("no leader was moved")
	}
	t.Logf("%d changes of leader", moved)
}

// moveLeader to one of the others. It does nothing while there is none,
// or the members are busy electing.
func moveLeader(ctx context.Context, clients []*clientv3.Client, random *rand.Rand) bool {
	var ids []uint64
	var leader *clientv3.Client
	for _, client := range clients {
		status, err := client.Status(ctx, client.Endpoints()[0])
		if err != nil {
			return false
		}
		if status.Leader == status.Header.MemberId {
			leader = client
			continue
		}
		ids = append(ids, status.Header.MemberId)
	}
	if leader == nil || len(ids) == 0 {
		return false
	}
	_, err := leader.MoveLeader(ctx, ids[random.IntN(len(ids))])
	return err == nil
}

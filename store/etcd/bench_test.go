package etcd_test

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.uber.org/zap"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/etcd"
)

// valueSize is that of a pod in protobuf.
const valueSize = 2600

// raw starts an embedded etcd as etcd comes, without sockets.
func raw(b *testing.B) *clientv3.Client {
	cfg := embed.NewConfig()
	cfg.Dir = b.TempDir()
	cfg.ListenPeerUrls, cfg.ListenClientUrls = nil, nil
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	member, err := embed.StartEtcd(cfg)
	if err != nil {
		b.Fatal(err)
	}
	<-member.Server.ReadyNotify()
	client := v3client.New(member.Server)
	b.Cleanup(func() {
		client.Close()
		member.Close()
	})
	return client
}

// rate makes n writes from several writers and returns how many a second.
func rate(b *testing.B, writers, n int, write func(i int) error) float64 {
	var next atomic.Int64
	var group sync.WaitGroup
	start := time.Now()
	for range writers {
		group.Go(func() {
			for i := int(next.Add(1)); i <= n; i = int(next.Add(1)) {
				if err := write(i); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	return float64(n) / time.Since(start).Seconds()
}

// BenchmarkCreate makes durable conditional writes, and raw puts of the same
// values into an etcd beside it: the ratio is what the store keeps of etcd.
func BenchmarkCreate(b *testing.B) {
	for _, writers := range []int{1, 32, 256} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s, _ := run(b, etcd.Config{DataDir: b.TempDir()})
			client := raw(b)
			value := make([]byte, valueSize)
			var ours, theirs float64
			rounds := 0
			for b.Loop() {
				rounds++
				round := strconv.Itoa(rounds)
				n := 100 * min(writers, 32)
				ours += rate(b, writers, n, func(i int) error {
					_, err := s.Put(context.Background(), store.Put{Key: "/k/" + round + "/" + strconv.Itoa(i), Value: value})
					return err
				})
				theirs += rate(b, writers, n, func(i int) error {
					_, err := client.Put(context.Background(), "/k/"+round+"/"+strconv.Itoa(i), string(value))
					return err
				})
			}
			b.ReportMetric(ours/float64(rounds), "writes/s")
			b.ReportMetric(theirs/float64(rounds), "raw-puts/s")
			b.ReportMetric(ours/theirs, "ratio")
		})
	}
}

// BenchmarkRevision is what a consistent read costs before the cache answers it.
func BenchmarkRevision(b *testing.B) {
	s, _ := run(b, etcd.Config{DataDir: b.TempDir()})
	for b.Loop() {
		if _, err := s.Revision(context.Background()); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGet(b *testing.B) {
	s, _ := run(b, etcd.Config{DataDir: b.TempDir()})
	put(b, s, "/a", string(make([]byte, valueSize)))
	for b.Loop() {
		if _, _, err := s.Get(context.Background(), "/a"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkStart is from nothing to the first write.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		s, stop := run(b, etcd.Config{DataDir: b.TempDir()})
		put(b, s, "/a", "1")
		b.StopTimer()
		stop()
		b.StartTimer()
	}
}

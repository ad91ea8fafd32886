package etcd

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/fileutil"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"google.golang.org/grpc"
)

const (
	// A lone member elects itself once its election timeout has passed, and no
	// peer is there to be disturbed by a short one.
	tickMillis     = 10
	electionMillis = 50
	// keepEntries is how many raft entries are kept in memory for followers
	// that lag. There are none; etcd's default of 5,000 would hold that many
	// values.
	keepEntries = 100
)

// errRemoved is the end of a member that the others have taken out: etcd stops it
// without a word.
var errRemoved = errors.New("the member stopped: the others have removed it, and its data is of no use any more")

// embedded starts a member and waits until it serves. calls ends what is asked of one of
// several.
func embedded(ctx, calls context.Context, cfg *Config) (_ *backend, err error) {
	if err := os.MkdirAll(cfg.DataDir, 0o700); err != nil {
		return nil, err
	}
	// etcd would wait for another process's lock for ever, and not say why.
	lock, err := fileutil.TryLockFile(filepath.Join(cfg.DataDir, "lock"), os.O_WRONLY|os.O_CREATE, fileutil.PrivateFileMode)
	if err != nil {
		if errors.Is(err, fileutil.ErrLocked) {
			return nil, fmt.Errorf("the data directory %s is in use", cfg.DataDir)
		}
		return nil, fmt.Errorf("locking the data directory: %w", err)
	}
	defer func() {
		if err != nil {
			lock.Close()
		}
	}()
	config, err := memberConfig(cfg)
	if err != nil {
		return nil, err
	}
	member, err := embed.StartEtcd(config)
	if err != nil {
		return nil, fmt.Errorf("starting the embedded member: %w", err)
	}
	if err := mustBeOneOf(member, cfg.Cluster); err != nil {
		member.Close()
		return nil, err
	}
	select {
	case <-member.Server.ReadyNotify():
	case err := <-member.Err():
		member.Close()
		return nil, fmt.Errorf("starting the embedded member: %w", err)
	case <-member.Server.StopNotify():
		member.Close()
		return nil, errRemoved
	case <-ctx.Done():
		member.Close()
		return nil, ctx.Err()
	}
	client := v3client.New(member.Server)
	if cfg.Cluster != nil {
		if err := cfg.Cluster.settle(ctx, member, client); err != nil {
			client.Close()
			member.Close()
			return nil, fmt.Errorf("joining the other members: %w", err)
		}
	}
	var kv keyValue = v3rpc.NewQuotaKVServer(member.Server)
	if cfg.Cluster != nil {
		kv = joint{kv, calls}
	}
	kv = &reserved{keyValue: kv, dir: cfg.DataDir, reserve: cfg.ReserveBytes}
	stopServing, served := serve(member, cfg)
	failed := make(chan error, 2)
	stopped := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case err := <-member.Err():
			failed <- err
		case err := <-served:
			failed <- err
		case <-member.Server.StopNotify():
			failed <- errRemoved
		case <-stopped:
		}
	})
	b := &backend{
		kv:     kv,
		client: client,
		member: member.Server.KV(),
		disk:   func() diskBackend { return member.Server.Backend() },
		lone:   cfg.Cluster == nil,
		alarms: member.Server.Alarms,
		leader: func() uint64 { return uint64(member.Server.Leader()) },
		failed: failed,
		stop: func() {
			close(stopped)
			stopServing()
			client.Close()
			member.Close()
			watching.Wait()
			lock.Close()
		},
	}
	if cfg.Cluster != nil {
		b.until = calls
	}
	return b, nil
}

func memberConfig(cfg *Config) (*embed.Config, error) {
	c := embed.NewConfig()
	c.Dir = cfg.DataDir
	c.TickMs, c.ElectionMs = tickMillis, electionMillis
	c.SnapshotCatchUpEntries = keepEntries
	c.QuotaBackendBytes = cfg.QuotaBytes
	if cfg.MaxValueBytes > 0 {
		// A request is the value with its key and condition.
		c.MaxRequestBytes = uint(cfg.MaxValueBytes) + 64<<10
	}
	c.UnsafeNoFsync = cfg.UnsafeNoFsync
	// No peer and no client comes through a socket of etcd's own.
	c.ListenPeerUrls, c.ListenClientUrls = nil, nil
	c.ListenClientHttpUrls, c.ListenMetricsUrls = nil, nil
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zapLogger(cfg.Logger))
	// The store compacts by itself.
	c.AutoCompactionRetention = "0"
	if cfg.Cluster != nil {
		if err := cfg.Cluster.configure(c); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// serve answers etcd's API on the listeners of cfg. stop ends that and closes
// them; served brings an error that ends one before.
func serve(member *embed.Etcd, cfg *Config) (stop func(), served <-chan error) {
	errs := make(chan error, len(cfg.Listeners))
	if len(cfg.Listeners) == 0 {
		return func() {}, errs
	}
	server := v3rpc.Server(member.Server, cfg.ListenerTLS, nil)
	var serving sync.WaitGroup
	for _, l := range cfg.Listeners {
		serving.Go(func() {
			if err := server.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) && !errors.Is(err, net.ErrClosed) {
				errs <- fmt.Errorf("serving on %s: %w", l.Addr(), err)
			}
		})
	}
	return func() {
		// Clients that do not go by themselves (watches) are cut off.
		cut := time.AfterFunc(100*time.Millisecond, server.Stop)
		server.GracefulStop()
		cut.Stop()
		serving.Wait()
	}, errs
}

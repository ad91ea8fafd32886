package etcd

import (
	"context"
	"math"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
)

const (
	keepAliveTime    = 30 * time.Second
	keepAliveTimeout = 10 * time.Second
)

// external connects to a cluster and waits until it answers.
func external(ctx context.Context, cfg *Config) (*backend, error) {
	client, err := clientv3.New(clientv3.Config{
		Endpoints:            cfg.Endpoints,
		TLS:                  cfg.TLS,
		DialTimeout:          cfg.DialTimeout,
		DialKeepAliveTime:    keepAliveTime,
		DialKeepAliveTimeout: keepAliveTimeout,
		PermitWithoutStream:  true,
		Logger:               zapLogger(cfg.Logger),
		DialOptions: []grpc.DialOption{
			// After an outage the store should be back soon.
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 100 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: 3 * time.Second},
				MinConnectTimeout: cfg.DialTimeout,
			}),
		},
	})
	if err != nil {
		return nil, err
	}
	b := &backend{
		kv:     remote{clientv3.RetryKVClient(client)},
		client: client,
		stop:   func() { client.Close() },
	}
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, 2*time.Second) {
		attempt, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
		_, err := b.kv.Range(attempt, revisionRequest())
		cancel()
		if err == nil {
			return b, nil
		}
		if ctx.Err() != nil {
			client.Close()
			return nil, ctx.Err()
		}
		cfg.Logger.Info("The etcd cluster does not answer", "endpoints", cfg.Endpoints, "error", err.Error(), "retryIn", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// keyValue is what a store needs of etcd's KV service: its server has it, and
// remote makes it of a client.
type keyValue interface {
	Range(context.Context, *pb.RangeRequest) (*pb.RangeResponse, error)
	Txn(context.Context, *pb.TxnRequest) (*pb.TxnResponse, error)
	Put(context.Context, *pb.PutRequest) (*pb.PutResponse, error)
	DeleteRange(context.Context, *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error)
	Compact(context.Context, *pb.CompactionRequest) (*pb.CompactionResponse, error)
}

// remote is the KV service of a client, with no bound on what it receives.
type remote struct{ client pb.KVClient }

var unbounded = grpc.MaxCallRecvMsgSize(math.MaxInt32)

func (r remote) Range(ctx context.Context, in *pb.RangeRequest) (*pb.RangeResponse, error) {
	return r.client.Range(ctx, in, unbounded)
}

func (r remote) Txn(ctx context.Context, in *pb.TxnRequest) (*pb.TxnResponse, error) {
	return r.client.Txn(ctx, in, unbounded)
}

func (r remote) Put(ctx context.Context, in *pb.PutRequest) (*pb.PutResponse, error) {
	return r.client.Put(ctx, in, unbounded)
}

func (r remote) DeleteRange(ctx context.Context, in *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	return r.client.DeleteRange(ctx, in, unbounded)
}

func (r remote) Compact(ctx context.Context, in *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	return r.client.Compact(ctx, in, unbounded)
}

package etcd

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// readAgain is how long a read waits before it is tried again while members elect.
const readAgain = 20 * time.Millisecond

// joint is the KV service of one of several members. A call of it may wait for a
// majority that does not come: it ends with the store at the latest. Reads wait for the
// next leader; whether a write that lost its leader was done is for its caller to find
// out.
type joint struct {
	keyValue
	until context.Context
}

// Range implements keyValue.
func (j joint) Range(ctx context.Context, request *pb.RangeRequest) (*pb.RangeResponse, error) {
	ctx, done := merge(ctx, j.until)
	defer done()
	for {
		response, err := j.keyValue.Range(ctx, request)
		if err == nil || !electing(err) {
			return response, err
		}
		select {
		case <-time.After(readAgain):
		case <-ctx.Done():
			return nil, err
		}
	}
}

// Txn implements keyValue.
func (j joint) Txn(ctx context.Context, request *pb.TxnRequest) (*pb.TxnResponse, error) {
	ctx, done := merge(ctx, j.until)
	defer done()
	return j.keyValue.Txn(ctx, request)
}

// Put implements keyValue.
func (j joint) Put(ctx context.Context, request *pb.PutRequest) (*pb.PutResponse, error) {
	ctx, done := merge(ctx, j.until)
	defer done()
	return j.keyValue.Put(ctx, request)
}

// DeleteRange implements keyValue.
func (j joint) DeleteRange(ctx context.Context, request *pb.DeleteRangeRequest) (*pb.DeleteRangeResponse, error) {
	ctx, done := merge(ctx, j.until)
	defer done()
	return j.keyValue.DeleteRange(ctx, request)
}

// Compact implements keyValue.
func (j joint) Compact(ctx context.Context, request *pb.CompactionRequest) (*pb.CompactionResponse, error) {
	ctx, done := merge(ctx, j.until)
	defer done()
	return j.keyValue.Compact(ctx, request)
}

// electing says that a read failed because there was no leader to ask.
func electing(err error) bool {
	err = rpctypes.Error(err)
	for _, passing := range []error{
		rpctypes.ErrNoLeader, rpctypes.ErrLeaderChanged, rpctypes.ErrTimeout, rpctypes.ErrTimeoutDueToLeaderFail,
		rpctypes.ErrTimeoutDueToConnectionLost, rpctypes.ErrTimeoutWaitAppliedIndex,
	} {
		if errors.Is(err, passing) {
			return true
		}
	}
	return false
}

// merge is a context that ends with either.
func merge(ctx, until context.Context) (context.Context, func()) {
	merged, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(until, cancel)
	return merged, func() { stop(); cancel() }
}

// bounded is a context for what is asked of several members beside the KV service.
func (s *Store) bounded(ctx context.Context, b *backend) (context.Context, func()) {
	if b.until == nil {
		return ctx, func() {}
	}
	return merge(ctx, b.until)
}

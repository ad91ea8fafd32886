package etcd

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/strake-io/strake/store"
)

// Put implements [store.Writer].
func (s *Store) Put(ctx context.Context, put store.Put) (int64, error) {
	b, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	request := &pb.PutRequest{Key: []byte(put.Key), Value: put.Value}
	if put.TTL > 0 {
		bounded, done := s.bounded(ctx, b)
		request.Lease, err = s.leases.grant(bounded, put.TTL)
		done()
		if err != nil {
			// The key itself was not touched.
			return 0, s.readError(ctx, "a lease for "+put.Key, err)
		}
	}
	if put.If == store.Any {
		resp, err := b.kv.Put(ctx, request)
		if err != nil {
			return 0, s.putError(ctx, request, err)
		}
		return resp.Header.Revision, nil
	}
	revision, err := s.conditionally(ctx, b, put.Key, put.If, &pb.RequestOp{Request: &pb.RequestOp_RequestPut{RequestPut: request}})
	var conflict *store.ConflictError
	if err != nil && !errors.As(err, &conflict) {
		return 0, s.putError(ctx, request, err)
	}
	return revision, err
}

// putError maps the error of a put; a lease that has gone is not used again.
func (s *Store) putError(ctx context.Context, request *pb.PutRequest, err error) error {
	if errors.Is(rpctypes.Error(err), rpctypes.ErrLeaseNotFound) {
		s.leases.forget(request.Lease)
	}
	return s.writeError(ctx, "writing "+string(request.Key), err)
}

// Delete implements [store.Writer].
func (s *Store) Delete(ctx context.Context, key string, cond store.Condition) (int64, error) {
	if cond == store.Absent {
		return 0, errors.New("store/etcd: a deletion cannot ask for absence")
	}
	b, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	request := &pb.DeleteRangeRequest{Key: []byte(key)}
	if cond == store.Any {
		resp, err := b.kv.DeleteRange(ctx, request)
		switch {
		case err != nil:
			return 0, s.writeError(ctx, "deleting "+key, err)
		case resp.Deleted == 0:
			return 0, &store.ConflictError{Key: key}
		}
		return resp.Header.Revision, nil
	}
	revision, err := s.conditionally(ctx, b, key, cond, &pb.RequestOp{Request: &pb.RequestOp_RequestDeleteRange{RequestDeleteRange: request}})
	var conflict *store.ConflictError
	if err != nil && !errors.As(err, &conflict) {
		return 0, s.writeError(ctx, "deleting "+key, err)
	}
	return revision, err
}

// conditionally makes a write where the condition holds, and reads the key where
// it does not, in one round trip.
func (s *Store) conditionally(ctx context.Context, b *backend, key string, cond store.Condition, write *pb.RequestOp) (int64, error) {
	resp, err := b.kv.Txn(ctx, &pb.TxnRequest{
		Compare: []*pb.Compare{{
			Result:      pb.Compare_EQUAL,
			Target:      pb.Compare_MOD,
			Key:         []byte(key),
			TargetUnion: &pb.Compare_ModRevision{ModRevision: int64(cond)}, // 0 where there is none
		}},
		Success: []*pb.RequestOp{write},
		Failure: []*pb.RequestOp{{Request: &pb.RequestOp_RequestRange{RequestRange: &pb.RangeRequest{Key: []byte(key)}}}},
	})
	if err != nil {
		return 0, err
	}
	if resp.Succeeded {
		return resp.Header.Revision, nil
	}
	conflict := &store.ConflictError{Key: key}
	if kvs := resp.Responses[0].GetResponseRange().GetKvs(); len(kvs) > 0 {
		kv := toKV(kvs[0])
		conflict.Current = &kv
	}
	return 0, conflict
}

package etcd

import (
	"context"
	"errors"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/strake-io/strake/store"
)

// Compact implements [store.Store].
func (s *Store) Compact(ctx context.Context, revision int64) error {
	b, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	_, err = b.kv.Compact(ctx, &pb.CompactionRequest{Revision: revision})
	if err == nil || errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted) {
		return nil
	}
	return s.readError(ctx, "compacting", err)
}

// compactPeriodically forgets, at every interval, the history up to where the
// store was one interval before. Several processes may do so on one cluster: the
// earliest revision that any of them means has been the present an interval ago.
func (s *Store) compactPeriodically(ctx context.Context) {
	ticker := time.NewTicker(s.cfg.CompactionInterval)
	defer ticker.Stop()
	var before int64
	for {
		if before > 0 {
			if err := s.Compact(ctx, before); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
				s.log.Error(err, "The store was not compacted", "revision", before)
			}
		}
		if now, err := s.Revision(ctx); err == nil {
			before = now
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

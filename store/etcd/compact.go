package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

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
			if err := s.defragment(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
				s.log.Error(err, "The store was not defragmented")
			}
			if err := s.makeRoom(ctx); err != nil && ctx.Err() == nil && !errors.Is(err, store.ErrClosed) {
				s.log.Error(err, "The store remains full")
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

// makeRoom brings an embedded member that has reached its quota back to taking
// writes, once deletions and compaction have left enough space: there may be
// nobody with an etcdctl to do it. An external cluster has its own operators.
func (s *Store) makeRoom(ctx context.Context) error {
	b, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	if b.member == nil {
		return nil
	}
	alarms, err := b.client.AlarmList(ctx)
	if err != nil {
		return fmt.Errorf("store/etcd: asking for alarms: %w", err)
	}
	for _, alarm := range alarms.Alarms {
		if alarm.Alarm != pb.AlarmType_NOSPACE {
			continue
		}
		disk := b.disk()
		if err := disk.Defrag(); err != nil {
			return fmt.Errorf("store/etcd: defragmenting: %w", err)
		}
		size := disk.Size()
		if size > s.cfg.QuotaBytes-s.cfg.QuotaBytes/10 {
			return fmt.Errorf("store/etcd: %d of %d bytes are in use: %w", size, s.cfg.QuotaBytes, store.ErrNoSpace)
		}
		if _, err := b.client.AlarmDisarm(ctx, &clientv3.AlarmMember{MemberID: alarm.MemberID, Alarm: alarm.Alarm}); err != nil {
			return fmt.Errorf("store/etcd: disarming: %w", err)
		}
		s.log.Info("The store has room again", "bytes", size, "quota", s.cfg.QuotaBytes)
	}
	return nil
}

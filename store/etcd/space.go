package etcd

import (
	"context"
	"errors"
	"fmt"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"github.com/strake-io/strake/store"
)

// A database is defragmented once it wastes half of its size, and at least this much:
// that stops the member for about a second for each GiB.
const leastWaste = 128 << 20

// alarmTimeout bounds asking an external cluster for its alarms.
const alarmTimeout = 2 * time.Second

// Check says why the store takes no writes for now, if it does not: its quota is reached
// ([store.ErrNoSpace]) or its data is corrupt. It asks an external cluster, and of an
// embedded member only what that knows.
func (s *Store) Check(ctx context.Context) error {
	b, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	var alarms []*pb.AlarmMember
	if b.alarms != nil {
		alarms = b.alarms()
	} else {
		ctx, cancel := context.WithTimeout(ctx, alarmTimeout)
		defer cancel()
		list, err := b.client.AlarmList(ctx)
		if err != nil {
			return s.readError(ctx, "asking for alarms", err)
		}
		alarms = list.Alarms
	}
	var errs []error
	for _, alarm := range alarms {
		switch alarm.Alarm {
		case pb.AlarmType_NOSPACE:
			errs = append(errs, fmt.Errorf("store/etcd: the member %x has reached the quota of its database: %w", alarm.MemberID, store.ErrNoSpace))
		case pb.AlarmType_CORRUPT:
			errs = append(errs, fmt.Errorf("store/etcd: the data of the member %x is corrupt", alarm.MemberID))
		}
	}
	if r, ok := b.kv.(*reserved); ok {
		errs = append(errs, r.check())
	}
	return errors.Join(errs...)
}

// wasteful says that a database is worth defragmenting.
func wasteful(size, inUse int64) bool {
	waste := size - inUse
	return waste >= leastWaste && waste >= size/2
}

// defragment gives room in the database of the embedded member back to the disk, where
// there is much.
func (s *Store) defragment(ctx context.Context) error {
	b, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	if b.disk == nil {
		return nil
	}
	disk := b.disk()
	if !wasteful(disk.Size(), disk.SizeInUse()) {
		return nil
	}
	before := disk.Size()
	if err := disk.Defrag(); err != nil {
		return fmt.Errorf("store/etcd: defragmenting: %w", err)
	}
	s.log.V(1).Info("The database was defragmented", "bytes", disk.Size(), "before", before)
	return nil
}

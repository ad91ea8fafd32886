package etcd

import (
	"context"
	"errors"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"golang.org/x/sys/unix"

	"github.com/strake-io/strake/store"
)

// defaultReserve holds the next piece of etcd's log, 64 MiB, and what its database
// grows by meanwhile.
const defaultReserve = 96 << 20

// reserved refuses puts while the disk has too little room. A member that meets a
// full disk does not survive it; one that stops a little earlier goes on by itself
// once there is room. Deletions pass, as they do at the quota: they make room.
type reserved struct {
	keyValue
	dir     string
	reserve int64
}

// Put implements keyValue.
func (r *reserved) Put(ctx context.Context, request *pb.PutRequest) (*pb.PutResponse, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	return r.keyValue.Put(ctx, request)
}

// Txn implements keyValue.
func (r *reserved) Txn(ctx context.Context, request *pb.TxnRequest) (*pb.TxnResponse, error) {
	for _, op := range request.Success {
		if op.GetRequestPut() == nil {
			continue
		}
		if err := r.check(); err != nil {
			return nil, err
		}
	}
	return r.keyValue.Txn(ctx, request)
}

func (r *reserved) check() error {
	free, known := freeBytes(r.dir)
	if !known || free >= r.reserve {
		return nil
	}
	return fmt.Errorf("%w: %s has %d MiB free, and the last %d MiB are kept for what is stored already",
		store.ErrNoSpace, r.dir, free>>20, r.reserve>>20)
}

// freeBytes is how much may still be written to the file system of dir.
func freeBytes(dir string) (free int64, known bool) {
	var fs unix.Statfs_t
	for {
		switch err := unix.Statfs(dir, &fs); {
		case errors.Is(err, unix.EINTR):
		case err != nil:
			return 0, false
		default:
			return int64(fs.Bavail) * int64(fs.Bsize), true
		}
	}
}

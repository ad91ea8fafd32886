package etcd

import (
	"context"
	"errors"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/strake-io/strake/store"
)

// Get implements [store.Reader].
func (s *Store) Get(ctx context.Context, key string) (*store.KV, int64, error) {
	b, err := s.enter(ctx)
	if err != nil {
		return nil, 0, err
	}
	defer s.leave()
	resp, err := b.kv.Range(ctx, &pb.RangeRequest{Key: []byte(key), Serializable: b.alone()})
	if err != nil {
		return nil, 0, s.readError(ctx, "reading "+key, err)
	}
	if len(resp.Kvs) == 0 {
		return nil, resp.Header.Revision, nil
	}
	kv := toKV(resp.Kvs[0])
	return &kv, resp.Header.Revision, nil
}

// alone says that what this member has applied is all that was acknowledged, so
// that a serializable read is a linearizable one.
func (b *backend) alone() bool { return b.lone }

// Revision implements [store.Reader].
func (s *Store) Revision(ctx context.Context) (int64, error) {
	b, err := s.enter(ctx)
	if err != nil {
		return 0, err
	}
	defer s.leave()
	if b.alone() {
		return b.member.Rev(), nil
	}
	resp, err := b.kv.Range(ctx, revisionRequest())
	if err != nil {
		return 0, s.readError(ctx, "reading the revision", err)
	}
	return resp.Header.Revision, nil
}

// revisionRequest reads nothing, linearizably.
func revisionRequest() *pb.RangeRequest {
	return &pb.RangeRequest{Key: []byte{0}, CountOnly: true}
}

// List implements [store.Reader]. A long list is read in pages of one revision.
func (s *Store) List(ctx context.Context, prefix string, opts store.ListOptions) (*store.ListResult, error) {
	b, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	for {
		result, err := s.list(ctx, b, prefix, opts)
		// Compaction has overtaken the pages of a list of the present.
		if opts.Revision == 0 && result != nil && errors.Is(rpctypes.Error(err), rpctypes.ErrCompacted) {
			continue
		}
		if err != nil {
			return nil, s.readError(ctx, "listing "+prefix, err)
		}
		return result, nil
	}
}

// list reads all pages. With an error it returns what it had, if anything.
func (s *Store) list(ctx context.Context, b *backend, prefix string, opts store.ListOptions) (result *store.ListResult, err error) {
	from, end := span(prefix)
	if opts.After != "" && opts.After >= prefix {
		from = append([]byte(opts.After), 0)
	}
	revision := opts.Revision
	for {
		size := s.cfg.PageSize
		if opts.Limit > 0 {
			size = min(size, opts.Limit)
			if result != nil {
				size = min(size, opts.Limit-len(result.KVs))
			}
		}
		resp, err := b.kv.Range(ctx, &pb.RangeRequest{
			Key:       from,
			RangeEnd:  end,
			Revision:  revision,
			Limit:     int64(size),
			CountOnly: opts.CountOnly,
			// Later pages too are read from whoever has all up to the revision:
			// another member of a cluster may be behind it.
			Serializable: b.alone(),
		})
		if err != nil {
			return result, err
		}
		if result == nil {
			if revision == 0 {
				revision = resp.Header.Revision
			}
			result = &store.ListResult{Revision: revision, Count: resp.Count}
			if !opts.CountOnly && resp.Count > 0 {
				want := int(resp.Count)
				if opts.Limit > 0 {
					want = min(want, opts.Limit)
				}
				result.KVs = make([]store.KV, 0, want)
			}
		}
		for _, kv := range resp.Kvs {
			result.KVs = append(result.KVs, toKV(kv))
		}
		if !resp.More || opts.CountOnly || opts.Limit > 0 && len(result.KVs) >= opts.Limit {
			return result, nil
		}
		from = append([]byte(result.KVs[len(result.KVs)-1].Key), 0)
	}
}

// span is the range of keys with a prefix.
func span(prefix string) (from, end []byte) {
	if prefix == "" {
		return []byte{0}, []byte{0} // everything, in etcd's words
	}
	end = []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return []byte(prefix), end[:i+1]
		}
	}
	return []byte(prefix), []byte{0} // to the last key
}

func toKV(kv *mvccpb.KeyValue) store.KV {
	return store.KV{Key: string(kv.Key), Value: kv.Value, CreateRevision: kv.CreateRevision, ModRevision: kv.ModRevision}
}

package etcd

import (
	"context"
	"fmt"
	"testing"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/strake-io/strake/store"
)

// pages answers ranges with one key each, and notes how they were asked for.
type pages struct {
	keyValue
	requests []*pb.RangeRequest
}

func (p *pages) Range(_ context.Context, in *pb.RangeRequest) (*pb.RangeResponse, error) {
	p.requests = append(p.requests, in)
	n := len(p.requests)
	return &pb.RangeResponse{
		Header: &pb.ResponseHeader{Revision: 7},
		Kvs:    []*mvccpb.KeyValue{{Key: fmt.Append(nil, "/k", n)}},
		Count:  3,
		More:   n < 3,
	}, nil
}

// Members of a cluster may be behind the one that answered the first page.
func TestPagesOfAClusterAreLinearizable(t *testing.T) {
	s, err := New(Config{Endpoints: []string{"http://127.0.0.1:1"}, PageSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	p := &pages{}
	s.backend = &backend{kv: p}
	close(s.ready)
	list, err := s.List(t.Context(), "/", store.ListOptions{})
	if err != nil || len(list.KVs) != 3 || list.Revision != 7 {
		t.Fatalf("%+v, %v", list, err)
	}
	for i, r := range p.requests {
		if want := int64(7 * min(i, 1)); r.Serializable || r.Revision != want {
			t.Errorf("page %d: serializable %v, at revision %d; want linearizable, at %d", i, r.Serializable, r.Revision, want)
		}
	}
}

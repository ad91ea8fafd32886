package etcd

import (
	"context"
	"math"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const (
	// maxLeaseKeys bounds the keys of one lease: they are all deleted in one
	// transaction when it ends.
	maxLeaseKeys = 1000
	// maxSlack bounds how much longer than its TTL a key may live.
	maxSlack = time.Minute
)

// leases hands out leases that keys with about the same expiry share, since a
// lease costs a write of its own, and many of them much more. The zero value
// needs only its client.
type leases struct {
	client *clientv3.Client
	mu     sync.Mutex // guards last
	last   map[time.Duration]*lease
}

// lease is one that more keys may join for a while.
type lease struct {
	id      int64
	expires time.Time
	keys    int
}

// slack is how much longer than asked keys with this TTL may live: a twentieth.
func slack(ttl time.Duration) time.Duration {
	return min(ttl/20, maxSlack).Truncate(time.Second)
}

// usable says whether a key written now may join: it must not go before its TTL,
// nor stay much longer. No key joins a lease by which others would be bound to
// expire with it later than they may: all of one lease have one TTL.
func (l *lease) usable(ttl time.Duration, now time.Time) bool {
	return l != nil && l.keys < maxLeaseKeys && !now.Add(ttl).After(l.expires)
}

// grant returns a lease for a key with the TTL, made anew where none fits.
func (ls *leases) grant(ctx context.Context, ttl time.Duration) (int64, error) {
	now := time.Now()
	ls.mu.Lock()
	if l := ls.last[ttl]; l.usable(ttl, now) {
		l.keys++
		ls.mu.Unlock()
		return l.id, nil
	}
	ls.mu.Unlock()
	seconds := int64(math.Ceil((ttl + slack(ttl)).Seconds()))
	resp, err := ls.client.Grant(ctx, seconds)
	if err != nil {
		return 0, err
	}
	l := &lease{id: int64(resp.ID), expires: now.Add(time.Duration(resp.TTL) * time.Second), keys: 1}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for other, old := range ls.last {
		if old.expires.Before(now) {
			delete(ls.last, other)
		}
	}
	if ls.last == nil {
		ls.last = map[time.Duration]*lease{}
	}
	ls.last[ttl] = l
	return l.id, nil
}

// forget takes a lease out that etcd does not know any more.
func (ls *leases) forget(id int64) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for ttl, l := range ls.last {
		if l.id == id {
			delete(ls.last, ttl)
		}
	}
}

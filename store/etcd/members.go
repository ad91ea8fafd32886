package etcd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// ErrNoMember says that there is no member of that name or ID.
var ErrNoMember = errors.New("there is no such member")

// Member is one of those that keep the data together.
type Member struct {
	// ID in the hexadecimal form in which etcd prints it.
	ID string `json:"id"`
	// Name of the member; empty as long as it has been added and not started.
	Name string `json:"name,omitempty"`
	// PeerURLs are where the others reach it.
	PeerURLs []string `json:"peerURLs"`
	// Learner says that it has no vote yet.
	Learner bool `json:"learner,omitempty"`
	// Leader says that it leads the others, as this member knows.
	Leader bool `json:"leader,omitempty"`
	// Self says that it is the one that was asked.
	Self bool `json:"self,omitempty"`
}

// Members are all members of the cluster, embedded or external.
func (s *Store) Members(ctx context.Context) ([]Member, error) {
	b, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	ctx, done := s.bounded(ctx, b)
	defer done()
	list, err := b.client.MemberList(ctx)
	if err != nil {
		return nil, s.readError(ctx, "listing the members", err)
	}
	return b.members(list.Members, list.Header), nil
}

func (b *backend) members(from []*etcdserverpb.Member, header *etcdserverpb.ResponseHeader) []Member {
	out := make([]Member, 0, len(from))
	for _, m := range from {
		out = append(out, Member{
			ID: strconv.FormatUint(m.ID, 16), Name: m.Name, PeerURLs: m.PeerURLs, Learner: m.IsLearner,
			Leader: b.leader != nil && b.leader() == m.ID, Self: b.leader != nil && header != nil && header.MemberId == m.ID,
		})
	}
	return out
}

// changeAgain is how long a change of the members waits for those that are there to be
// in touch.
const changeAgain = 200 * time.Millisecond

// notNow says that etcd lets nobody join until all members are in touch, one that joined
// before has its vote, and there is a leader.
func notNow(err error) bool {
	err = rpctypes.Error(err)
	return errors.Is(err, rpctypes.ErrUnhealthy) || errors.Is(err, rpctypes.ErrTooManyLearners) || errors.Is(err, rpctypes.ErrNoLeader)
}

// whenReady makes a change as soon as etcd lets one.
func whenReady(ctx context.Context, change func() error) error {
	for {
		err := change()
		if !notNow(err) {
			return err
		}
		select {
		case <-time.After(changeAgain):
		case <-ctx.Done():
			return err
		}
	}
}

// AddMember lets a member join that will be reached at peerURL, without a vote until it
// has the data. The result is all members; that without a name is the new one. One that
// was added and has not started may be added again. It waits, until ctx ends, where etcd
// lets nobody join yet.
func (s *Store) AddMember(ctx context.Context, peerURL string) ([]Member, error) {
	b, err := s.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer s.leave()
	ctx, done := s.bounded(ctx, b)
	defer done()
	var added *clientv3.MemberAddResponse
	err = whenReady(ctx, func() (err error) {
		added, err = b.client.MemberAddAsLearner(ctx, []string{peerURL})
		return err
	})
	switch {
	case errors.Is(rpctypes.Error(err), rpctypes.ErrPeerURLExist), errors.Is(rpctypes.Error(err), rpctypes.ErrMemberExist):
		return s.waiting(ctx, b, peerURL)
	case notNow(err):
		return nil, fmt.Errorf("store/etcd: adding a member at %s: %w", peerURL, err)
	case err != nil:
		return nil, s.writeError(ctx, "adding a member at "+peerURL, err)
	}
	return b.members(added.Members, added.Header), nil
}

// waiting are the members, where that at peerURL was added before and has not started.
func (s *Store) waiting(ctx context.Context, b *backend, peerURL string) ([]Member, error) {
	list, err := b.client.MemberList(ctx)
	if err != nil {
		return nil, s.readError(ctx, "listing the members", err)
	}
	for _, m := range list.Members {
		for _, url := range m.PeerURLs {
			if url == peerURL && m.Name != "" {
				return nil, fmt.Errorf("store/etcd: the member %s is at %s already", m.Name, peerURL)
			}
		}
	}
	return b.members(list.Members, list.Header), nil
}

// RemoveMember takes a member out, by its ID or name. It stops, if it runs, and its data
// is of no use any more. It waits, until ctx ends, where etcd lets nobody
// go yet, and etcd refuses to go below a majority of those that run. It fails
// with [ErrNoMember].
func (s *Store) RemoveMember(ctx context.Context, who string) error {
	all, err := s.Members(ctx)
	if err != nil {
		return err
	}
	b, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer s.leave()
	ctx, done := s.bounded(ctx, b)
	defer done()
	for _, m := range all {
		if m.ID != who && m.Name != who {
			continue
		}
		id, err := strconv.ParseUint(m.ID, 16, 64)
		if err != nil {
			return fmt.Errorf("store/etcd: the member's ID %s: %w", m.ID, err)
		}
		err = whenReady(ctx, func() error {
			_, err := b.client.MemberRemove(ctx, id)
			return err
		})
		switch {
		case notNow(err):
			return fmt.Errorf("store/etcd: removing the member %s: %w", who, err)
		case err != nil:
			return s.writeError(ctx, "removing the member "+who, err)
		}
		return nil
	}
	return fmt.Errorf("store/etcd: %s: %w", who, ErrNoMember)
}

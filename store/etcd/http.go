package etcd

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/strake-io/strake/store"
)

const (
	// snapshotTimeout bounds a backup, which may be of gigabytes and slow to send.
	snapshotTimeout = time.Hour
	// changeTimeout bounds a change of the members.
	changeTimeout = 30 * time.Second
	maxRequest    = 64 << 10
)

// Join is the body of a POST to members.
type Join struct {
	// PeerURL that the new member will be reached at.
	PeerURL string `json:"peerURL"`
}

// Handler serves an operator, below a path such as "/etcd":
//
//	GET    /etcd/members         all members, as a list of [Member]
//	POST   /etcd/members         lets one join ([Join]); answers as GET
//	DELETE /etcd/members/NAME    takes one out, by its name or ID
//	GET    /etcd/snapshot        a backup, as [Store.Snapshot] writes it
//
// It asks nobody who they are: put it where only administrators reach it, such as
// apiserver.Config.Paths, which only they are allowed by default.
func (s *Store) Handler(prefix string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+prefix+"/members", s.serveMembers)
	mux.HandleFunc("POST "+prefix+"/members", s.serveJoin)
	mux.HandleFunc("DELETE "+prefix+"/members/{who}", s.serveRemove)
	mux.HandleFunc("GET "+prefix+"/snapshot", s.serveSnapshot)
	return mux
}

func (s *Store) serveMembers(w http.ResponseWriter, r *http.Request) {
	members, err := s.Members(r.Context())
	answer(w, members, err)
}

func (s *Store) serveJoin(w http.ResponseWriter, r *http.Request) {
	var join Join
	if err := json.NewDecoder(io.LimitReader(r.Body, maxRequest)).Decode(&join); err != nil || join.PeerURL == "" {
		http.Error(w, `want a body such as {"peerURL": "https://10.0.0.2:2380"}`, http.StatusBadRequest)
		return
	}
	if _, ok := peerURL(join.PeerURL); !ok {
		http.Error(w, fmt.Sprintf("peerURL %q: want a URL such as https://10.0.0.2:2380", join.PeerURL), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), changeTimeout)
	defer cancel()
	members, err := s.AddMember(ctx, join.PeerURL)
	answer(w, members, err)
}

func (s *Store) serveRemove(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), changeTimeout)
	defer cancel()
	err := s.RemoveMember(ctx, r.PathValue("who"))
	if err == nil {
		s.serveMembers(w, r)
		return
	}
	answer(w, nil, err)
}

// serveSnapshot streams a backup. One that breaks off has no checksum at its end, and is
// refused by a restore.
func (s *Store) serveSnapshot(w http.ResponseWriter, r *http.Request) {
	// The server's bound on a request is for smaller ones. A client that goes is noticed
	// by the write that fails.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), snapshotTimeout)
	defer cancel()
	w.Header().Set("Content-Type", "application/octet-stream")
	sent := &sending{w: w}
	err := s.Snapshot(ctx, sent)
	switch {
	case err == nil:
	case !sent.any:
		answer(w, nil, err)
	default:
		panic(http.ErrAbortHandler)
	}
}

// sending notices whether anything was written.
type sending struct {
	w   io.Writer
	any bool
}

func (s *sending) Write(p []byte) (int, error) {
	s.any = true
	return s.w.Write(p)
}

func answer(w http.ResponseWriter, members []Member, err error) {
	if err != nil {
		code := http.StatusInternalServerError
		switch {
		case errors.Is(err, ErrNoMember):
			code = http.StatusNotFound
		case errors.Is(err, store.ErrClosed), errors.Is(err, context.DeadlineExceeded), notNow(err):
			code = http.StatusServiceUnavailable
		}
		http.Error(w, strings.TrimPrefix(err.Error(), "store/etcd: "), code)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	// Where the client is gone there is nobody to tell.
	_ = encoder.Encode(members)
}

package etcd_test

import (
	"context"
	"fmt"
	"os"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/etcd"
)

// An etcd in this process, with no socket.
func Example() {
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	s, err := etcd.New(etcd.Config{DataDir: dir})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()

	// Calls wait until it serves.
	revision, err := s.Put(ctx, store.Put{Key: "/registry/pods/default/a", Value: []byte("1")})
	fmt.Println(revision, err)
	cancel()
	fmt.Println(<-done)
	// Output:
	// 2 <nil>
	// <nil>
}

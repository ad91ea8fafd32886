package fairness_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/strake-io/strake/apiserver/fairness"
	"github.com/strake-io/strake/apiserver/request"
)

// A server with one seat serves one user at a time, and administrators always.
func Example() {
	controller, err := fairness.New(fairness.Config{Seats: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	serve := func(who user.Info) (*fairness.Turn, error) {
		class := controller.Classify(&request.Info{Verb: "get", Path: "/apis"}, who)
		turn, err := class.Begin(context.Background(), fairness.One, time.Second)
		fmt.Println(who.GetName(), "at", class.Level(), "refused:", errors.Is(err, fairness.ErrTooManyRequests))
		return turn, err
	}
	alice := &user.DefaultInfo{Name: "alice", Groups: []string{user.AllAuthenticated}}
	turn, err := serve(alice)
	if err != nil {
		return
	}
	_, _ = serve(alice)
	_, _ = serve(&user.DefaultInfo{Name: "root", Groups: []string{user.SystemPrivilegedGroup}})
	turn.End()
	_, _ = serve(alice)
	// Output:
	// alice at catch-all refused: false
	// alice at catch-all refused: true
	// root at exempt refused: false
	// alice at catch-all refused: false
}

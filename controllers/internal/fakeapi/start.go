package fakeapi

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/strake-io/strake/controllers"
)

// Start runs controllers against the server inside a synctest bubble, with
// everything at rest when it returns. What it starts ends with the test; stop
// ends it before that.
func Start(t *testing.T, config controllers.Config, beside ...func(context.Context) error) (stop func()) {
	t.Helper()
	r, err := controllers.New(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, run := range append(beside, r.Run) {
		wg.Go(func() {
			if err := run(ctx); err != nil {
				t.Errorf("run: %v", err)
			}
		})
	}
	<-r.Ready()
	synctest.Wait()
	var once sync.Once
	stop = func() {
		once.Do(func() {
			cancel()
			wg.Wait()
		})
	}
	t.Cleanup(stop)
	return stop
}

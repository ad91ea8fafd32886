package apiserver

import (
	"context"
	"sync"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/fairness"
	"github.com/strake-io/strake/apiserver/registry"
)

// newFairness makes what gives requests their turns; nil where they need none.
func (s *Server) newFairness() (*fairness.Controller, error) {
	if s.config.MaxInFlight < 0 {
		return nil, nil
	}
	return fairness.New(fairness.Config{
		Seats: s.config.MaxInFlight, Seed: s.names.Uint64(),
		Logger: s.config.Logger.WithName("fairness"), Registerer: s.metrics.registerer,
	})
}

// keepFairness has requests take turns by the flow schemas and priority levels that
// there are, until ctx ends.
func (s *Server) keepFairness(ctx context.Context) {
	if s.fair == nil {
		return
	}
	stored := func(plural string) *registry.Registry {
		return s.set.Table().Stored(schema.GroupResource{Group: flowcontrolv1.GroupName, Resource: plural})
	}
	schemas, levels := stored("flowschemas"), stored("prioritylevelconfigurations")
	var wait sync.WaitGroup
	defer wait.Wait()
	wait.Go(func() { s.fair.Run(ctx) })
	if schemas == nil || levels == nil {
		return
	}
	changed := make(chan struct{}, 1)
	for _, reg := range []*registry.Registry{schemas, levels} {
		wait.Go(func() { notice(ctx, reg, changed) })
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		objects, err := allOf[*flowcontrolv1.FlowSchema](ctx, schemas)
		if err != nil {
			continue // the server is stopping
		}
		if of, err := allOf[*flowcontrolv1.PriorityLevelConfiguration](ctx, levels); err == nil {
			s.fair.Apply(objects, of)
		}
	}
}

// notice tells changed of every change of a resource, until ctx ends.
func notice(ctx context.Context, reg *registry.Registry, changed chan<- struct{}) {
	for ctx.Err() == nil {
		watcher, err := reg.Watch(ctx, registry.Selection{}, 0, 0)
		if err != nil {
			return // the cache has ended
		}
		for err == nil {
			select {
			case changed <- struct{}{}:
			default: // it will look later than now in any case
			}
			_, err = watcher.Next(ctx)
		}
		watcher.Stop()
	}
}

// allOf are a resource's objects, the cache's own.
func allOf[T runtime.Object](ctx context.Context, reg *registry.Registry) ([]T, error) {
	page, err := reg.List(ctx, registry.ListOptions{Version: "0"})
	if err != nil {
		return nil, err
	}
	var all []T
	for _, e := range page.Entries {
		if obj, ok := e.Object.(T); ok {
			all = append(all, obj)
		}
	}
	return all, nil
}

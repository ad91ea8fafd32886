package controllers

import (
	"context"
	"sync"

	"k8s.io/client-go/tools/record"

	"github.com/strake-io/strake/internal/eventrecorder"
)

// eventQueue is how many events of one controller may wait to be written.
const eventQueue = 2048

// recorders makes the event recorders of the controllers and runs those that
// are the runner's own.
type recorders struct {
	config Config
	made   map[string]*eventrecorder.Recorder
}

func newRecorders(config Config) *recorders {
	return &recorders{config: config, made: map[string]*eventrecorder.Recorder{}}
}

// get is the recorder of a component; one that discards for no component.
func (r *recorders) get(component string) (record.EventRecorder, error) {
	if component == "" {
		return &record.FakeRecorder{}, nil
	}
	if r.config.Recorder != nil {
		return r.config.Recorder(component), nil
	}
	if made, ok := r.made[component]; ok {
		return made, nil
	}
	made, err := eventrecorder.NewFromConfig(eventrecorder.Config{
		Client: r.config.Client, Component: component, Logger: r.config.Logger, Queue: eventQueue, Writers: 1,
	})
	if err != nil {
		return nil, err
	}
	r.made[component] = made
	return made, nil
}

// run writes events until ctx ends; what it returns waits for that.
func (r *recorders) run(ctx context.Context) (join func()) {
	var wg sync.WaitGroup
	for _, recorder := range r.made {
		wg.Go(func() { _ = recorder.Run(ctx) })
	}
	return wg.Wait
}

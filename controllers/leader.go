package controllers

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// LeaderElection lets one of several runners work while the others stand by.
type LeaderElection struct {
	// Namespace and Name of the Lease; kube-system and strake-controllers if empty.
	Namespace, Name string
	// Identity tells the runners apart. Required.
	Identity string
	// LeaseDuration is how long the others wait after the last sign of life of
	// the leader; 15 s if 0.
	LeaseDuration time.Duration
	// RenewDeadline is after how long without a successful renewal the leader
	// gives up; 10 s if 0.
	RenewDeadline time.Duration
	// RetryPeriod is the time between tries; 2 s if 0.
	RetryPeriod time.Duration
}

// ErrLeadershipLost is what Run returns when another runner may have taken
// over. What was cached and queued is then worthless: make a new Runner.
var ErrLeadershipLost = errors.New("controllers: leadership lost")

func (e *LeaderElection) validate() error {
	if e != nil && e.Identity == "" {
		return errors.New("controllers: Config.LeaderElection.Identity is required")
	}
	return nil
}

func (e LeaderElection) withDefaults() LeaderElection {
	if e.Namespace == "" {
		e.Namespace = "kube-system"
	}
	if e.Name == "" {
		e.Name = "strake-controllers"
	}
	if e.LeaseDuration == 0 {
		e.LeaseDuration = 15 * time.Second
	}
	if e.RenewDeadline == 0 {
		e.RenewDeadline = 10 * time.Second
	}
	if e.RetryPeriod == 0 {
		e.RetryPeriod = 2 * time.Second
	}
	return e
}

// lead works while this runner is the leader.
func (r *Runner) lead(ctx context.Context) error {
	e := r.config.LeaderElection.withDefaults()
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, e.Namespace, e.Name,
		r.config.Client.CoreV1(), r.config.Client.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: e.Identity})
	if err != nil {
		return fmt.Errorf("controllers: leader election: %w", err)
	}
	election, cancel := context.WithCancel(ctx)
	defer cancel()
	var (
		work    sync.WaitGroup
		workErr error // written before work is done, read after
	)
	work.Add(1)
	var once sync.Once
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, Name: e.Name, ReleaseOnCancel: true,
		LeaseDuration: e.LeaseDuration, RenewDeadline: e.RenewDeadline, RetryPeriod: e.RetryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(leading context.Context) {
				once.Do(func() {
					defer work.Done()
					workErr = r.work(leading)
					cancel() // a controller that failed gives the lease back
				})
			},
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("controllers: leader election: %w", err)
	}
	elector.Run(election)
	// Stopped while standing by, the callback is never called. If it runs, this
	// waits for it.
	once.Do(work.Done)
	work.Wait()
	switch {
	case workErr != nil:
		return workErr
	case ctx.Err() == nil:
		return ErrLeadershipLost
	}
	return nil
}

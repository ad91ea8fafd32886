package scheduler

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
)

// ErrLeadershipLost is what Run returns when another scheduler took over, or this
// one could not renew its lease in time. The host may call New and Run again.
var ErrLeadershipLost = errors.New("scheduler: leadership lost")

// LeaderElection is the lease that schedulers of one cluster contend for.
type LeaderElection struct {
	// Identity tells the contenders apart. Required.
	Identity string
	// Namespace of the lease, kube-system by default.
	Namespace string
	// Name of the lease, the scheduler's name by default: kube-scheduler where that
	// is default-scheduler, as upstream, so that both never schedule at once.
	Name string
	// LeaseDuration is how long others wait before they take over a lease that was
	// not renewed: 15 s by default.
	LeaseDuration time.Duration
	// RenewDeadline is after how long without success the leader gives up: 10 s by
	// default.
	RenewDeadline time.Duration
	// RetryPeriod is the pause between tries: 2 s by default.
	RetryPeriod time.Duration
}

// watchedLock notes whether the lease was ever ours.
type watchedLock struct {
	resourcelock.Interface
	acquired atomic.Bool
}

func (w *watchedLock) Create(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return w.note(r, w.Interface.Create(ctx, r))
}

func (w *watchedLock) Update(ctx context.Context, r resourcelock.LeaderElectionRecord) error {
	return w.note(r, w.Interface.Update(ctx, r))
}

func (w *watchedLock) note(r resourcelock.LeaderElectionRecord, err error) error {
	if err == nil && r.HolderIdentity == w.Identity() {
		w.acquired.Store(true)
	}
	return err
}

// check is called with nil too.
func (l *LeaderElection) check() error {
	if l != nil && l.Identity == "" {
		return errors.New("LeaderElection.Identity is required")
	}
	return nil
}

// run calls work while this contender leads, and joins it.
func (l *LeaderElection) run(ctx context.Context, client kubernetes.Interface, log logr.Logger, schedulerName string, work func(ctx context.Context) error) error {
	c := *l
	if c.Namespace == "" {
		c.Namespace = metav1.NamespaceSystem
	}
	if c.Name == "" {
		c.Name = schedulerName
		if schedulerName == DefaultSchedulerName {
			c.Name = "kube-scheduler"
		}
	}
	if c.LeaseDuration == 0 {
		c.LeaseDuration = 15 * time.Second
	}
	if c.RenewDeadline == 0 {
		c.RenewDeadline = 10 * time.Second
	}
	if c.RetryPeriod == 0 {
		c.RetryPeriod = 2 * time.Second
	}
	done := make(chan error, 1)
	lock := &watchedLock{Interface: &resourcelock.LeaseLock{
		LeaseMeta:  metav1.ObjectMeta{Namespace: c.Namespace, Name: c.Name},
		Client:     client.CoordinationV1(),
		LockConfig: resourcelock.ResourceLockConfig{Identity: c.Identity},
	}}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock:            lock,
		LeaseDuration:   c.LeaseDuration,
		RenewDeadline:   c.RenewDeadline,
		RetryPeriod:     c.RetryPeriod,
		ReleaseOnCancel: true,
		Name:            c.Name,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { done <- work(ctx) },
			OnStoppedLeading: func() { log.Info("No longer the leading scheduler", "identity", c.Identity) },
		},
	})
	if err != nil {
		return fmt.Errorf("scheduler: leader election: %w", err)
	}
	elector.Run(ctx)
	// The elector starts work in a goroutine that it does not wait for.
	if lock.acquired.Load() {
		if err := <-done; err != nil {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return ErrLeadershipLost
}

// Package scheduler assigns pods to nodes, as kube-scheduler does
// (https://kubernetes.io/docs/concepts/scheduling-eviction/kube-scheduler).
//
// It talks to any Kubernetes API server through client-go. What it decides with
// are plugins: their interfaces are in package framework, the default ones in
// package plugins and its folders. [Config.ScorePlugins] adds some from outside.
//
// # How it works
//
// One goroutine, the loop, owns everything that decisions rest on: the snapshot
// of nodes and pods, the queue of waiting pods, and the results shared by pods
// alike. Informers and binders put messages in its inbox; between two pods it
// applies them all, so an attempt sees a cluster that does not change under it,
// nothing heard during an attempt is lost, and no lock is needed.
//
// A placed pod is assumed: it takes its room on the node at once, and is bound by
// workers while the loop goes on. When the binding fails the pod is forgotten and
// waits for another attempt. The API server refuses to bind a pod twice, which
// makes a restart at any moment safe.
//
// Every feasible node is considered; there is no sampling. Pods alike (see
// framework.Signer) share filter results and scores, which are repaired for the
// nodes that changed and not computed again.
package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"

	"github.com/strake-io/strake/internal/eventrecorder"
	"github.com/strake-io/strake/scheduler/framework"
	"github.com/strake-io/strake/scheduler/plugins"
	"github.com/strake-io/strake/scheduler/plugins/defaultbinder"
)

// Config of a [Scheduler]. Only Client is required.
type Config struct {
	// Client reads pods and nodes, binds pods, and writes their condition and
	// events.
	Client kubernetes.Interface
	// Informers are shared with others and started by the caller, after New. By
	// default the scheduler has its own.
	Informers informers.SharedInformerFactory
	// SchedulerName is the spec.schedulerName that this scheduler answers to,
	// "default-scheduler" by default; also the source shown on its events.
	SchedulerName string
	// Plugins is the profile; plugins.Default by default. A profile without a
	// queue sort or bind plugin gets the default one.
	Plugins []framework.Weighted
	// ScorePlugins are added to the profile. They may implement any extension
	// point.
	ScorePlugins []framework.Weighted
	// Rand breaks ties between the best nodes; a source with a fixed seed repeats
	// its choices. Used by one goroutine. By default it is seeded at random.
	Rand rand.Source
	// Bind binds many pods at once, where the program has a shorter way to its API
	// server than one POST each (see defaultbinder.BatchFunc). By default Bindings
	// are posted. It is not used where the profile has a bind plugin.
	Bind func(ctx context.Context, bindings []*corev1.Binding) []error
	// BindWorkers bind at the same time, 32 by default.
	BindWorkers int
	// InitialBackoff is how long a pod waits after its first failed attempt, 1 s
	// by default; the wait doubles with each attempt.
	InitialBackoff time.Duration
	// MaxBackoff ends the doubling, 10 s by default.
	MaxBackoff time.Duration
	// UnschedulableTimeout is after how long an unschedulable pod is tried again
	// though nothing happened that may help it, 5 min by default.
	UnschedulableTimeout time.Duration
	// LeaderElection lets one of several schedulers work at a time; nil means that
	// this is the only one.
	LeaderElection *LeaderElection
	// Logger is silent by default.
	Logger logr.Logger
	// Registerer receives the metrics, with upstream's names; nil means none.
	Registerer prometheus.Registerer
}

// DefaultSchedulerName is the scheduler that pods ask for unless they say otherwise.
const DefaultSchedulerName = corev1.DefaultSchedulerName

// Scheduler assigns pods to nodes while Run runs.
type Scheduler struct {
	config  Config
	profile *profile
	metrics *metrics
	ready   chan struct{}
	once    sync.Once
}

// New checks the configuration. It starts nothing, but where Informers are given
// it asks them for pods and nodes, so they must be started after it.
func New(c Config) (*Scheduler, error) {
	if c.Client == nil {
		return nil, errors.New("scheduler: Config.Client is required")
	}
	if c.SchedulerName == "" {
		c.SchedulerName = DefaultSchedulerName
	}
	if c.InitialBackoff <= 0 {
		c.InitialBackoff = time.Second
	}
	if c.MaxBackoff <= 0 {
		c.MaxBackoff = 10 * time.Second
	}
	if c.MaxBackoff < c.InitialBackoff {
		return nil, fmt.Errorf("scheduler: MaxBackoff %v is less than InitialBackoff %v", c.MaxBackoff, c.InitialBackoff)
	}
	if c.UnschedulableTimeout <= 0 {
		c.UnschedulableTimeout = 5 * time.Minute
	}
	if c.BindWorkers <= 0 {
		c.BindWorkers = 32
	}
	if c.Rand == nil {
		c.Rand = rand.NewPCG(rand.Uint64(), rand.Uint64())
	}
	if c.Plugins == nil {
		c.Plugins = plugins.Default()
	}
	var binder framework.Plugin = defaultbinder.New(c.Client)
	if c.Bind != nil {
		binder = defaultbinder.NewBatch(c.Bind)
	}
	p, err := newProfile(c.SchedulerName, append(append([]framework.Weighted(nil), c.Plugins...), c.ScorePlugins...), binder)
	if err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	if err := c.LeaderElection.check(); err != nil {
		return nil, fmt.Errorf("scheduler: %w", err)
	}
	m, err := newMetrics(c.Registerer, c.SchedulerName)
	if err != nil {
		return nil, fmt.Errorf("scheduler: registering metrics: %w", err)
	}
	if c.Informers != nil {
		c.Informers.Core().V1().Pods().Informer()
		c.Informers.Core().V1().Nodes().Informer()
	}
	return &Scheduler{config: c, profile: p, metrics: m, ready: make(chan struct{})}, nil
}

// Ready is closed when the scheduler has heard of all pods and nodes and starts
// to place pods; with leader election, when it stands for election.
func (s *Scheduler) Ready() <-chan struct{} { return s.ready }

// Run schedules until ctx ends, and returns when everything it started has
// stopped. It may be called once.
func (s *Scheduler) Run(ctx context.Context) error {
	first := false
	s.once.Do(func() { first = true })
	if !first {
		return errors.New("scheduler: Run was called before")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()

	recorder, err := eventrecorder.NewFromConfig(eventrecorder.Config{
		Client: s.config.Client, Component: s.config.SchedulerName, Logger: s.config.Logger, Writers: 4, Queue: 8192,
	})
	if err != nil {
		return fmt.Errorf("scheduler: %w", err)
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel() // before the wait
	wg.Go(func() { _ = recorder.Run(ctx) })

	factory := s.config.Informers
	if factory == nil {
		factory = informers.NewSharedInformerFactoryWithOptions(s.config.Client, 0, informers.WithTransform(trim))
		factory.Core().V1().Pods().Informer()
		factory.Core().V1().Nodes().Informer()
		factory.Start(ctx.Done())
		defer factory.Shutdown()
		defer cancel()
	}
	work := func(ctx context.Context) error {
		return s.work(ctx, factory, recorder)
	}
	if s.config.LeaderElection == nil {
		return work(ctx)
	}
	s.setReady()
	return s.config.LeaderElection.run(ctx, s.config.Client, s.config.Logger, s.config.SchedulerName, work)
}

// work is Run while this scheduler leads.
func (s *Scheduler) work(ctx context.Context, factory informers.SharedInformerFactory, recorder *eventrecorder.Recorder) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	l := newLoop(s, recorder)
	synced, stop, err := l.inbox.listen(factory, s.config.SchedulerName)
	if err != nil {
		return fmt.Errorf("scheduler: %w", err)
	}
	defer stop()
	if !waitFor(ctx, synced) {
		return nil
	}
	l.inbox.orderNodes()
	s.setReady()
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	l.binder.start(ctx, &wg, s.config.BindWorkers)
	l.conditions.start(ctx, &wg)
	l.run(ctx)
	return nil
}

func (s *Scheduler) setReady() {
	select {
	case <-s.ready:
	default:
		close(s.ready)
	}
}

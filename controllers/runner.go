package controllers

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"
)

// Config configures a Runner.
type Config struct {
	// Client talks to the API. Required.
	Client kubernetes.Interface
	// Metadata lists, watches and deletes objects of any kind. The garbage
	// collector and the namespace controller need it; nil is right where
	// neither is registered.
	Metadata metadata.Interface
	// Informers are shared with other components of the program. New asks the
	// factory for what the controllers watch, Run starts what is not running
	// yet, with Run's context; the host shuts the factory down. Nil makes a
	// factory of the runner's own, which ends with Run.
	Informers informers.SharedInformerFactory
	// Controllers are what runs. Package defaults lists those of a whole cluster.
	Controllers []Registration
	// Workers overrides, per controller name, how many keys are reconciled at
	// once. A controller that is not named keeps its own number.
	Workers map[string]int
	// LeaderElection lets several runners stand by for one another. Nil runs at once.
	LeaderElection *LeaderElection
	// Recorder makes the event recorder of a component. Nil writes events
	// through Client.
	Recorder func(component string) record.EventRecorder
	// Logger gets a few lines at start and every failed reconcile. The zero
	// value discards.
	Logger logr.Logger
	// Registerer gets the work-queue metrics under upstream's names. Nil keeps none.
	Registerer prometheus.Registerer
}

// Runner runs controllers.
type Runner struct {
	config       Config
	ownInformers bool
	loops        []*loop
	metrics      *metrics
	recorders    *recorders
	ready        chan struct{}
	started      sync.Once
}

// ErrRunOnce is what a second Run returns.
var ErrRunOnce = errors.New("controllers: a runner runs once")

// New makes a runner. It checks the config and sets the controllers up; nothing
// starts before Run.
func New(config Config) (*Runner, error) {
	if config.Client == nil {
		return nil, errors.New("controllers: Config.Client is required")
	}
	if err := config.LeaderElection.validate(); err != nil {
		return nil, err
	}
	r := &Runner{config: config, metrics: newMetrics(), ready: make(chan struct{})}
	if config.Informers == nil {
		r.config.Informers = informers.NewSharedInformerFactory(config.Client, 0)
		r.ownInformers = true
	}
	if r.config.Logger.GetSink() == nil {
		r.config.Logger = logr.Discard()
	}
	r.recorders = newRecorders(r.config)
	seen := map[string]bool{}
	for _, reg := range config.Controllers {
		if reg.Name == "" || reg.Setup == nil || seen[reg.Name] {
			return nil, fmt.Errorf("controllers: registration %q needs a name of its own and Setup", reg.Name)
		}
		seen[reg.Name] = true
		l, err := r.newLoop(reg)
		if err != nil {
			return nil, fmt.Errorf("controllers: set up %s: %w", reg.Name, err)
		}
		r.loops = append(r.loops, l)
	}
	return r, nil
}

// Ready is closed when every informer has synced and the controllers work or,
// under leader election, stand by.
func (r *Runner) Ready() <-chan struct{} { return r.ready }

// Run runs the controllers until ctx ends, and returns with every goroutine
// joined. It may be called once.
func (r *Runner) Run(ctx context.Context) error {
	first := false
	r.started.Do(func() { first = true })
	if !first {
		return ErrRunOnce
	}
	if err := r.metrics.register(r.config.Registerer); err != nil {
		return fmt.Errorf("controllers: %w", err)
	}
	defer r.metrics.unregister(r.config.Registerer)
	// client-go takes its logger from the context, else a global one.
	ctx, cancel := context.WithCancel(logr.NewContext(ctx, r.config.Logger))
	defer r.recorders.run(ctx)()
	if r.ownInformers {
		defer r.config.Informers.Shutdown()
	}
	defer cancel()

	var synced []cache.DoneChecker
	for _, l := range r.loops {
		checks, remove, err := l.watch()
		defer remove()
		if err != nil {
			return fmt.Errorf("controllers: watch for %s: %w", l.name, err)
		}
		synced = append(synced, checks...)
	}
	r.config.Informers.StartWithContext(ctx)
	if !cache.WaitFor(ctx, "", synced...) {
		return nil
	}
	close(r.ready)
	r.config.Logger.V(1).Info("controllers ready", "controllers", len(r.loops))
	if r.config.LeaderElection != nil {
		return r.lead(ctx)
	}
	return r.work(ctx)
}

// work runs the loops until ctx ends or one of them fails.
func (r *Runner) work(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, len(r.loops))
	for _, l := range r.loops {
		wg.Go(func() { l.queue.run(ctx) })
		if l.controller.Run == nil {
			continue
		}
		wg.Go(func() {
			if err := l.controller.Run(ctx); err != nil && ctx.Err() == nil {
				errs <- fmt.Errorf("controllers: %s: %w", l.name, err)
				cancel()
			}
		})
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// loop is one controller at work.
type loop struct {
	name         string
	env          *Env
	controller   Controller
	queue        *queue
	expectations *expectations
	states       map[reflect.Type]*watchState // by the Go type of the objects; see watchOf
}

func (r *Runner) newLoop(reg Registration) (*loop, error) {
	l := &loop{name: reg.Name, expectations: newExpectations(), states: map[reflect.Type]*watchState{}}
	workers := reg.Workers
	if n := r.config.Workers[reg.Name]; n > 0 {
		workers = n
	}
	if workers <= 0 {
		workers = 5
	}
	l.queue = newQueue(workers, r.metrics.forQueue(reg.Name), l.process)
	r.metrics.queues[reg.Name] = l.queue
	recorder, err := r.recorders.get(reg.Component)
	if err != nil {
		return nil, err
	}
	l.env = &Env{
		Client: r.config.Client, Metadata: r.config.Metadata, Informers: r.config.Informers,
		Recorder: recorder, Logger: r.config.Logger.WithName(reg.Name), Enqueue: l.queue.Add,
	}
	l.controller, err = reg.Setup(l.env)
	if err == nil && l.controller.Reconcile == nil {
		err = errors.New("no Reconcile")
	}
	return l, err
}

// watch adds the handlers. remove takes them away again.
func (l *loop) watch() (synced []cache.DoneChecker, remove func(), err error) {
	var undo []func()
	remove = func() {
		for _, u := range undo {
			u()
		}
	}
	for _, w := range l.controller.Watches {
		state := &watchState{store: w.Informer.GetStore()}
		keys := w.Keys
		if keys == nil {
			keys = OwnKey
		}
		handle := func(old, current any) { l.changed(state, keys, old, current) }
		reg, err := w.Informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
			AddFunc:    func(o any) { handle(nil, o) },
			UpdateFunc: handle,
			DeleteFunc: func(o any) { handle(o, nil) },
		})
		if err != nil {
			return nil, remove, err
		}
		undo = append(undo, func() { _ = w.Informer.RemoveEventHandler(reg) })
		synced = append(synced, reg.HasSyncedChecker())
		if kind := reflect.TypeOf(w.Object); kind != nil {
			l.states[kind] = state
		}
	}
	return synced, remove, nil
}

// watchOf is the watch that will show a write of o, nil if there is none. The
// map is filled before any work begins and only read from then on.
func (l *loop) watchOf(o Object) *watchState { return l.states[reflect.TypeOf(o)] }

// changed is the handler of every informer event.
func (l *loop) changed(state *watchState, keys func(Change) []Key, old, current any) {
	if gone, ok := old.(cache.DeletedFinalStateUnknown); ok {
		old = gone.Obj
	}
	var c Change
	c.Old, _ = old.(Object)
	c.New, _ = current.(Object)
	if c.Object() == nil {
		return
	}
	for _, key := range l.expectations.observe(state, c.Object(), c.New == nil) {
		l.queue.Add(key)
	}
	for _, key := range keys(c) {
		l.queue.Add(key)
	}
}

// process reconciles one key.
func (l *loop) process(ctx context.Context, key Key) {
	wait, late := l.expectations.wait(key, time.Now())
	if wait > 0 {
		l.queue.AddAfter(key, wait)
		return
	}
	if late {
		l.env.Logger.Info("informers never showed a write, going on with what they hold", "key", key)
	}
	plan, err := l.controller.Reconcile(ctx, key)
	if err == nil {
		err = l.apply(ctx, key, plan)
	}
	if err == nil {
		l.queue.Forget(key)
		if plan.After > 0 {
			l.queue.AddAfter(key, plan.After)
		}
		return
	}
	if ctx.Err() != nil {
		return
	}
	if apierrors.IsConflict(err) || errors.Is(err, errOwnerGone) {
		l.env.Logger.V(1).Info("lost a race, trying again", "key", key, "cause", err.Error())
	} else {
		l.env.Logger.Error(err, "reconcile failed, trying again", "key", key, "failures", l.queue.Failures(key)+1)
	}
	l.queue.AddRateLimited(key)
}

// Package eventrecorder writes the Events that components tell users about
// their objects.
//
// It takes the place of client-go's event broadcasters, which start goroutines
// that nothing can wait for. A [Recorder] has one owner: its Run writes until
// the context ends and joins everything it started. Counting, aggregation and
// the limit for chatty sources are those of client-go's EventCorrelator.
//
// There are two forms of Event, and users meet both. [Recorder.Eventf] writes
// the older one (source, count, first and last timestamp), as the kubelet and
// the controllers do; [Recorder.Action] the newer one (eventTime, action,
// series), as the scheduler does. Both are stored as core/v1 Events.
package eventrecorder

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/record"
	recordutil "k8s.io/client-go/tools/record/util"
	"k8s.io/client-go/tools/reference"
)

// Config of a [Recorder].
type Config struct {
	// Client writes the events. Required.
	Client kubernetes.Interface
	// Component is the name shown as the source: "kubelet",
	// "deployment-controller", "default-scheduler". Required.
	Component string
	// Host is the machine the component runs on; empty for components that are
	// not of one machine.
	Host string
	// Logger receives what could not be written. The zero Logger is silent.
	Logger logr.Logger
	// Queue is how many events may wait per writer before new ones are dropped;
	// 4096 by default. Recording never blocks the caller.
	Queue int
	// Writers write at the same time; events of one object keep their order.
	// 2 by default; raise it for a component that speaks of many objects.
	Writers int
}

const (
	defaultQueue   = 4096
	defaultWriters = 2
)

// Recorder records events. Its recording methods are safe for concurrent use,
// never block, and may be called before Run; what does not fit in the queue is
// dropped and counted. It implements client-go's record.EventRecorder.
type Recorder struct {
	client    kubernetes.Interface
	component string
	host      string
	log       logr.Logger
	seed      maphash.Seed
	queues    []chan *corev1.Event
	mark      int64        // the low bits of this recorder's stamps
	lastStamp atomic.Int64 // the newest stamp in an event's name
	dropped   atomic.Int64
}

var _ record.EventRecorder = (*Recorder)(nil)

// New returns a recorder with the default queue. It starts nothing: see Run.
func New(client kubernetes.Interface, component, host string) *Recorder {
	r, err := NewFromConfig(Config{Client: client, Component: component, Host: host})
	if err != nil {
		panic(err) // a nil client or no component name is the programmer's mistake
	}
	return r
}

// NewFromConfig returns a recorder. It starts nothing: see Run.
func NewFromConfig(c Config) (*Recorder, error) {
	if c.Client == nil {
		return nil, errors.New("eventrecorder: a client is required")
	}
	if c.Component == "" {
		return nil, errors.New("eventrecorder: a component name is required")
	}
	if c.Queue <= 0 {
		c.Queue = defaultQueue
	}
	if c.Writers <= 0 {
		c.Writers = defaultWriters
	}
	r := &Recorder{client: c.Client, component: c.Component, host: c.Host, log: c.Logger, seed: maphash.MakeSeed()}
	h := fnv.New64a()
	h.Write([]byte(c.Component + "/" + c.Host))
	r.mark = int64(h.Sum64() % stampStep)
	for range c.Writers {
		r.queues = append(r.queues, make(chan *corev1.Event, c.Queue))
	}
	return r, nil
}

// Run writes events until ctx ends, and returns when every writer has stopped.
// Events that still wait then are dropped. It always returns nil.
func (r *Recorder) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, q := range r.queues {
		w := newWriter(r.client, r.log)
		wg.Go(func() { w.run(ctx, q) })
	}
	wg.Wait()
	return nil
}

// Dropped is how many events found the queue full.
func (r *Recorder) Dropped() int64 { return r.dropped.Load() }

// Event records an event about object, which is any API object or an
// ObjectReference. eventtype is "Normal" or "Warning", reason a short
// CamelCase word, message is for people.
func (r *Recorder) Event(object runtime.Object, eventtype, reason, message string) {
	r.AnnotatedEventf(object, nil, eventtype, reason, "%s", message)
}

// Eventf is Event with a format.
func (r *Recorder) Eventf(object runtime.Object, eventtype, reason, messageFmt string, args ...any) {
	r.AnnotatedEventf(object, nil, eventtype, reason, messageFmt, args...)
}

// AnnotatedEventf is Eventf with annotations on the Event.
func (r *Recorder) AnnotatedEventf(object runtime.Object, annotations map[string]string, eventtype, reason, messageFmt string, args ...any) {
	now := time.Now()
	e := r.event(object, now, eventtype, reason, fmt.Sprintf(messageFmt, args...))
	if e == nil {
		return
	}
	e.Annotations = annotations
	e.Source = corev1.EventSource{Component: r.component, Host: r.host}
	e.ReportingInstance = r.host
	e.FirstTimestamp = metav1.NewTime(now)
	e.LastTimestamp = e.FirstTimestamp
	e.Count = 1
	r.enqueue(e)
}

// Action records an event in the newer form: what the component was doing
// (action) for regarding, and the other object it concerns, which may be nil.
// Repetitions of the same event become its series.
func (r *Recorder) Action(regarding, related runtime.Object, eventtype, reason, action, note string) {
	now := time.Now()
	e := r.event(regarding, now, eventtype, reason, note)
	if e == nil {
		return
	}
	if related != nil {
		if ref, err := reference.GetReference(scheme.Scheme, related); err == nil {
			e.Related = ref
		}
	}
	e.Action = action
	e.EventTime = metav1.NewMicroTime(now)
	e.ReportingInstance = r.component
	if r.host != "" {
		e.ReportingInstance += "-" + r.host
	}
	r.enqueue(e)
}

// event is what both forms share, or nil where object or eventtype is not valid.
func (r *Recorder) event(object runtime.Object, now time.Time, eventtype, reason, message string) *corev1.Event {
	ref, err := reference.GetReference(scheme.Scheme, object)
	if err != nil {
		r.log.Error(err, "Event about an object that cannot be referred to", "reason", reason, "message", message)
		return nil
	}
	if !recordutil.ValidateEventType(eventtype) {
		r.log.Error(nil, "Event of unknown type", "type", eventtype, "reason", reason, "message", message)
		return nil
	}
	namespace := ref.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{
			Name:      recordutil.GenerateEventName(ref.Name, r.stamp(now)),
			Namespace: namespace,
		},
		InvolvedObject:      *ref,
		Type:                eventtype,
		Reason:              reason,
		Message:             message,
		ReportingController: r.component,
	}
}

// stampStep is the distance between the stamps of one recorder, in nanoseconds.
const stampStep = 1 << 16

// stamp is about now in nanoseconds, and makes an event's name unique even where
// the clock stands still: the recorder's next one is greater, and those of other
// components, which speak of the same object, have other low bits.
func (r *Recorder) stamp(now time.Time) int64 {
	for {
		last := r.lastStamp.Load()
		next := max(now.UnixNano()/stampStep*stampStep+r.mark, last+stampStep)
		if r.lastStamp.CompareAndSwap(last, next) {
			return next
		}
	}
}

func (r *Recorder) enqueue(e *corev1.Event) {
	o := &e.InvolvedObject
	h := maphash.String(r.seed, o.Namespace+"/"+o.Name)
	select {
	case r.queues[h%uint64(len(r.queues))] <- e:
	default:
		// Every power of two, so that an overload does not also flood the log.
		if n := r.dropped.Add(1); n&(n-1) == 0 {
			r.log.Info("Events are dropped: the queue is full", "dropped", n, "component", r.component)
		}
	}
}

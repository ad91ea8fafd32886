// Package fairness is API priority and fairness (KEP-1040): it says which of the
// requests to the API server are served now, which wait and which are refused, so
// that no client can take the server away from the others, and those that keep the
// cluster alive come first.
//
// Flow schemas sort requests into priority levels ([Controller.Classify]). The
// server's seats are divided up among the levels, and those that a level does not use
// are lent to others. Within a level, requests wait in queues; each flow (a user's, or
// a namespace's) is dealt a few of them, and the queues get seats in turn.
//
// The decisions are plain values without clock or lock: what rules match (rules.go),
// who gets how many seats (limits.go), who is next (queues.go), what a request takes
// (work.go). [Controller] feeds them.
//
// It differs from upstream so: queues are made when they are needed, so that a level
// with many of them costs nothing; a level's usual need is measured in periods that a
// change of the configuration does not cut short; and series of metrics go with the
// objects that they are about.
package fairness

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/strake-io/strake/apiserver/request"
)

// DefaultSeats is how many requests of one seat are served at a time, upstream's: 400
// that read and 200 that write.
const DefaultSeats = 600

// adjustEvery is the time between two lendings of seats.
const adjustEvery = 10 * time.Second

// Config of a controller. The zero value of every field is its default.
type Config struct {
	// Seats that are divided up among the priority levels. Default [DefaultSeats].
	Seats int
	// Seed of the hash that deals queues to flows. Make it one that clients do not
	// know. Default 0.
	Seed uint64
	// Logger of what is wrong with objects. Default: none.
	Logger logr.Logger
	// Registerer takes the metrics. Default: nobody does.
	Registerer prometheus.Registerer
}

// Controller is priority and fairness of one server. All methods are safe for
// concurrent use.
type Controller struct {
	config  Config
	metrics *metrics
	// classes is what requests are classified by; it is replaced as a whole.
	classes atomic.Pointer[classes]

	mu sync.Mutex // guards what follows
	// schemas and objects are those of the last Apply.
	schemas []*flowcontrolv1.FlowSchema
	objects []*flowcontrolv1.PriorityLevelConfiguration
	levels  map[string]*state
	flows   map[flowKey]*flow
}

// state is what the controller knows of a level.
type state struct {
	level    *level
	share    share
	limits   limits
	exempt   bool
	leaving  bool // no object has it any more; it goes when it is idle
	uid      string
	queuing  queuing
	hand     int
	measured measured
	smoothed float64
	seats    int
}

type flowKey struct{ level, schema string }

// New makes a controller that knows no objects but those that every cluster has: all
// but administrators share one level. It starts nothing.
func New(config Config) (*Controller, error) {
	if config.Seats < 0 {
		return nil, errors.New("fairness: Config.Seats is negative")
	}
	if config.Seats == 0 {
		config.Seats = DefaultSeats
	}
	if config.Logger.GetSink() == nil {
		config.Logger = logr.Discard()
	}
	if config.Registerer == nil {
		config.Registerer = prometheus.NewRegistry()
	}
	m, err := newMetrics(config.Registerer)
	if err != nil {
		return nil, fmt.Errorf("fairness: %w", err)
	}
	c := &Controller{config: config, metrics: m, levels: map[string]*state{}, flows: map[flowKey]*flow{}}
	c.Apply(nil, nil)
	return c, nil
}

// Run lends seats anew from time to time until ctx ends. Requests are served without
// it, with the seats that levels had last.
func (c *Controller) Run(ctx context.Context) {
	ticker := time.NewTicker(adjustEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
			c.adjust()
		}
	}
}

// classes is what requests are classified by. It does not change.
type classes struct {
	all []class
	// rest takes what no schema matches.
	rest *flow
}

type class struct {
	rules []rule
	flow  *flow
}

// flow is a schema at its level: how what it matches is served.
type flow struct {
	schema        string
	level         *level
	distinguisher distinguisher
	// queued says that its requests wait in queues: only then flows are told apart.
	queued  bool
	seed    uint64
	widest  int
	metrics flowMetrics
	// The values of the headers that tell clients of the objects' UIDs.
	schemaUID, levelUID []string
}

// Class is where a request belongs.
type Class struct {
	flow *flow
	info *request.Info
	who  user.Info
}

// Classify finds the flow schema that a request comes under, and with it its priority
// level. It takes no lock and does not allocate. It keeps info and who as long as the
// request is there; they are not written to.
func (c *Controller) Classify(info *request.Info, who user.Info) Class {
	classes := c.classes.Load()
	for i := range classes.all {
		candidate := &classes.all[i]
		for j := range candidate.rules {
			if candidate.rules[j].matches(info, who) {
				return Class{candidate.flow, info, who}
			}
		}
	}
	return Class{classes.rest, info, who}
}

// The headers of every answer to a request that was classified, in their canonical
// form.
var (
	headerSchema = http.CanonicalHeaderKey(flowcontrolv1.ResponseHeaderMatchedFlowSchemaUID)
	headerLevel  = http.CanonicalHeaderKey(flowcontrolv1.ResponseHeaderMatchedPriorityLevelConfigurationUID)
)

// SetHeaders tells the client where its request belongs. UIDs do not give the
// names away.
func (c Class) SetHeaders(h http.Header) {
	h[headerSchema], h[headerLevel] = c.flow.schemaUID, c.flow.levelUID
}

// Schema and Level are the names of where the request belongs.
func (c Class) Schema() string { return c.flow.schema }

// Level: see Schema.
func (c Class) Level() string { return c.flow.level.name }

// Widest is how many seats the request may be thought to take; 0: there is no bound.
func (c Class) Widest() int { return c.flow.widest }

// Watched takes note of how many watchers would be told of what the request writes.
func (c Class) Watched(n int) { c.flow.metrics.watchers.Observe(float64(n)) }

// Begin waits until the request may be served, for so long at most, and no longer than
// ctx. Where the error is nil, the caller serves the request and ends the turn;
// otherwise it is a [Refusal].
func (c Class) Begin(ctx context.Context, work Work, wait time.Duration) (*Turn, error) {
	f := c.flow
	f.metrics.seats.Observe(float64(work.most()))
	t := &Turn{flow: f, work: work, info: c.info, who: c.who, watch: c.info.Verb == "watch"}
	var hash uint64
	if f.queued {
		t.distinguisher = f.distinguisher.of(c.info, c.who)
		hash = flowHash(f.seed, f.schema, t.distinguisher)
	}
	if err := f.level.begin(ctx, t, hash, wait); err != nil {
		return nil, err
	}
	return t, nil
}

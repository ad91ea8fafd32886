package probes

import (
	"container/heap"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
)

// Config configures a [Manager].
type Config struct {
	// Handler makes the probes: a [NetworkHandler] for real pods. Required.
	Handler Handler
	// OnResult is called, one call at a time, when a container's result
	// changed. It must not block for long. Nil: results are only asked for.
	OnResult func(Update)
	// OnEvent is called, one call at a time, when there is something to tell in
	// an event of the pod. It must not block for long.
	OnEvent func(Event)
	// Parallelism bounds the probes that run at once. Default 256.
	Parallelism int
	// Rand spreads the first probes of containers that already ran when the
	// manager started; nil is a source of its own.
	Rand *rand.Rand
	// Registerer takes the metric prober_probe_total; nil is none.
	Registerer prometheus.Registerer
	// Logger; the zero value is silent.
	Logger logr.Logger
}

// Update says that the result of a probe for a container is another one.
type Update struct {
	Pod         *corev1.Pod
	Container   string
	ContainerID string
	Kind        Kind
	Result      Result
	// Message of the probe that decided it.
	Message string
}

// Event is what to tell about a probe: reason Unhealthy or ProbeWarning, both of
// type Warning, on the container of the pod.
type Event struct {
	Pod             *corev1.Pod
	Container       string
	Reason, Message string
}

// Observation is what the kubelet sees of a pod.
type Observation struct {
	// PodIP is the address to probe; the machine's with hostNetwork.
	PodIP      string
	Containers []ObservedContainer
}

// ObservedContainer is the latest container of a name.
type ObservedContainer struct {
	Name, ID  string
	Running   bool
	StartedAt time.Time
	// Started and Ready are what the pod's status said last of this very
	// container. They only matter when it was already running as the manager
	// began, so that a restart of the kubelet takes no pod out of service.
	Started, Ready bool
}

// Manager runs probes. Safe for concurrent use.
type Manager struct {
	cfg   Config
	wake  chan struct{}
	total *prometheus.CounterVec

	mu      sync.Mutex // guards all below
	pods    map[types.UID]*podEntry
	results map[string]*[kinds]containerResult // by container ID
	due     dueHeap
	busy    int // probes that run
	updates []Update
	events  []Event
	began   time.Time
}

type podEntry struct {
	pod     *corev1.Pod
	ip      string
	probers []*prober
}

type containerResult struct {
	known   bool
	result  Result
	message string
	grace   *int64
}

// prober is one probe of one container name of a pod.
type prober struct {
	entry       *podEntry
	container   *corev1.Container
	kind        Kind
	probe       *corev1.Probe
	containerID string
	startedAt   time.Time
	running     bool // the container
	adopted     bool // it ran before the manager did
	state       State
	probing     bool // a probe is being made
	removed     bool
	at          time.Time // when it is due
	index       int       // in the heap; -1: not there
}

// New validates the configuration.
func New(cfg Config) (*Manager, error) {
	if cfg.Handler == nil {
		return nil, errors.New("probes: Config.Handler is required")
	}
	if cfg.Parallelism == 0 {
		cfg.Parallelism = 256
	}
	if cfg.Parallelism < 0 {
		return nil, fmt.Errorf("probes: Config.Parallelism must be positive, not %d", cfg.Parallelism)
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	m := &Manager{
		cfg:     cfg,
		wake:    make(chan struct{}, 1),
		pods:    map[types.UID]*podEntry{},
		results: map[string]*[kinds]containerResult{},
	}
	if cfg.Registerer != nil {
		m.total = prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "prober_probe_total",
			Help: "Probes of containers, by type and result.",
		}, []string{"probe_type", "result", "container", "pod", "namespace", "pod_uid"})
		if err := cfg.Registerer.Register(m.total); err != nil {
			return nil, fmt.Errorf("probes: %w", err)
		}
	}
	return m, nil
}

// Add begins to probe a pod, or takes a new version of it: one that is being
// deleted is probed for readiness only.
func (m *Manager) Add(pod *corev1.Pod) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.pods[pod.UID]
	if entry != nil {
		entry.pod = pod
		if pod.DeletionTimestamp != nil {
			for _, p := range entry.probers {
				if p.kind != Readiness && !p.state.OnHold {
					m.hold(p)
				}
			}
		}
		return
	}
	entry = &podEntry{pod: pod}
	add := func(c *corev1.Container) {
		for kind := range kinds {
			if probe := probeOf(c, kind); probe != nil {
				entry.probers = append(entry.probers, &prober{entry: entry, container: c, kind: kind, probe: probe, index: -1})
			}
		}
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			add(c)
		}
	}
	for i := range pod.Spec.Containers {
		add(&pod.Spec.Containers[i])
	}
	m.pods[pod.UID] = entry
}

// Remove ends the probes of a pod and forgets their results.
func (m *Manager) Remove(uid types.UID) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.pods[uid]
	if entry == nil {
		return
	}
	for _, p := range entry.probers {
		p.removed = true
		m.unschedule(p)
		delete(m.results, p.containerID)
		m.forgetMetrics(p)
	}
	delete(m.pods, uid)
}

// Observe takes what the kubelet sees of a pod that was added; others are
// ignored. Call it whenever that changed, before asking for results.
func (m *Manager) Observe(uid types.UID, seen Observation) {
	m.mu.Lock()
	defer m.mu.Unlock()
	entry := m.pods[uid]
	if entry == nil {
		return
	}
	entry.ip = seen.PodIP
	now := time.Now()
	for i := range seen.Containers {
		c := &seen.Containers[i]
		for _, p := range entry.probers {
			if p.container.Name == c.Name {
				m.observe(p, c, now)
			}
		}
	}
	m.signal()
}

func (m *Manager) observe(p *prober, c *ObservedContainer, now time.Time) {
	if c.ID != p.containerID && c.ID != "" {
		delete(m.results, p.containerID)
		p.containerID, p.startedAt, p.running = c.ID, c.StartedAt, false
		p.adopted = !m.began.IsZero() && c.StartedAt.Before(m.began)
		p.state = State{Result: p.kind.Initial()}
		if p.kind == Startup && c.Started {
			p.state = State{Result: Success, OnHold: true}
		}
		if p.kind == Readiness && c.Ready {
			p.state.Result = Success
		}
		m.store(p, "")
		m.unschedule(p)
	}
	if c.ID != p.containerID || c.Running == p.running {
		return
	}
	p.running = c.Running
	p.startedAt = c.StartedAt
	if !p.running {
		m.unschedule(p)
		if p.kind == Readiness && p.state.Result != Failure {
			p.state = State{Result: Failure}
			m.store(p, "")
			m.tell(p, "")
		}
		return
	}
	if p.entry.pod.DeletionTimestamp != nil && p.kind != Readiness {
		m.hold(p)
		return
	}
	m.begin(p, now)
}

// begin schedules the first probe of a running container, unless its startup
// has to be awaited.
func (m *Manager) begin(p *prober, now time.Time) {
	if p.removed || !p.running || p.state.OnHold || p.probing || p.index >= 0 {
		return
	}
	if p.kind != Startup && !m.started(p.container, p.containerID) {
		return
	}
	at := p.startedAt.Add(time.Duration(p.probe.InitialDelaySeconds) * time.Second)
	if at.Before(now) {
		at = now
		if p.adopted {
			// All containers of a node are adopted at once.
			at = now.Add(time.Duration(m.cfg.Rand.Int64N(int64(period(p.probe)))))
		}
	}
	m.schedule(p, at)
}

func period(probe *corev1.Probe) time.Duration {
	return time.Duration(max(probe.PeriodSeconds, 1)) * time.Second
}

// hold ends liveness and startup probes of a pod that is being deleted.
func (m *Manager) hold(p *prober) {
	m.unschedule(p)
	p.state = State{Result: Success, OnHold: true}
	if p.containerID != "" {
		m.store(p, "")
	}
}

func (m *Manager) schedule(p *prober, at time.Time) {
	m.unschedule(p)
	p.at = at
	heap.Push(&m.due, p)
	m.signal()
}

func (m *Manager) unschedule(p *prober) {
	if p.index >= 0 {
		heap.Remove(&m.due, p.index)
	}
}

func (m *Manager) signal() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// store keeps the result to be asked for.
func (m *Manager) store(p *prober, message string) {
	if p.removed {
		return
	}
	r := m.results[p.containerID]
	if r == nil {
		r = new([kinds]containerResult)
		m.results[p.containerID] = r
	}
	r[p.kind] = containerResult{known: true, result: p.state.Result, message: message, grace: p.probe.TerminationGracePeriodSeconds}
}

// tell queues the result for OnResult.
func (m *Manager) tell(p *prober, message string) {
	if m.cfg.OnResult == nil {
		return
	}
	m.updates = append(m.updates, Update{
		Pod: p.entry.pod, Container: p.container.Name, ContainerID: p.containerID,
		Kind: p.kind, Result: p.state.Result, Message: message,
	})
	m.signal()
}

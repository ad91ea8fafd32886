package scheduler

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/strake-io/strake/scheduler/framework"
)

// metrics has upstream's names and labels. A nil *metrics takes no notice.
type metrics struct {
	profile         string
	attempts        *prometheus.CounterVec
	attemptSeconds  *prometheus.HistogramVec
	algorithmSecs   prometheus.Histogram
	pending         *prometheus.GaugeVec
	incomingPods    *prometheus.CounterVec
	podAttempts     prometheus.Histogram
	slaSeconds      *prometheus.HistogramVec
	cacheSize       *prometheus.GaugeVec
	pendingByPlace  [4]prometheus.Gauge
	nodes, pods, as prometheus.Gauge
}

func newMetrics(r prometheus.Registerer, profile string) (*metrics, error) {
	if r == nil {
		return nil, nil
	}
	const sub = "scheduler"
	m := &metrics{
		profile: profile,
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{Subsystem: sub, Name: "schedule_attempts_total",
			Help: "Attempts to schedule pods, by result: scheduled, unschedulable (no node fits) or error."}, []string{"profile", "result"}),
		attemptSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Subsystem: sub, Name: "scheduling_attempt_duration_seconds",
			Help: "Time of an attempt, binding included.", Buckets: prometheus.ExponentialBuckets(0.0001, 2, 18)}, []string{"profile", "result"}),
		algorithmSecs: prometheus.NewHistogram(prometheus.HistogramOpts{Subsystem: sub, Name: "scheduling_algorithm_duration_seconds",
			Help: "Time to choose a node.", Buckets: prometheus.ExponentialBuckets(0.00001, 2, 18)}),
		pending: prometheus.NewGaugeVec(prometheus.GaugeOpts{Subsystem: sub, Name: "pending_pods",
			Help: "Pods without a node, by queue: active, backoff, unschedulable, gated."}, []string{"queue"}),
		incomingPods: prometheus.NewCounterVec(prometheus.CounterOpts{Subsystem: sub, Name: "queue_incoming_pods_total",
			Help: "Pods put in a queue, by event and queue."}, []string{"event", "queue"}),
		podAttempts: prometheus.NewHistogram(prometheus.HistogramOpts{Subsystem: sub, Name: "pod_scheduling_attempts",
			Help: "Attempts that a pod took to be scheduled.", Buckets: prometheus.ExponentialBuckets(1, 2, 5)}),
		slaSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{Subsystem: sub, Name: "pod_scheduling_sli_duration_seconds",
			Help: "Time from a pod's first attempt until it is bound.", Buckets: prometheus.ExponentialBuckets(0.01, 2, 20)}, []string{"attempts"}),
		cacheSize: prometheus.NewGaugeVec(prometheus.GaugeOpts{Subsystem: sub, Name: "cache_size",
			Help: "Nodes, pods and assumed pods that the scheduler knows."}, []string{"type"}),
	}
	for _, c := range []prometheus.Collector{m.attempts, m.attemptSeconds, m.algorithmSecs, m.pending, m.incomingPods, m.podAttempts, m.slaSeconds, m.cacheSize} {
		if err := r.Register(c); err != nil {
			return nil, err
		}
	}
	for i, q := range []string{"active", "backoff", "unschedulable", "gated"} {
		m.pendingByPlace[i] = m.pending.WithLabelValues(q)
	}
	m.nodes, m.pods, m.as = m.cacheSize.WithLabelValues("nodes"), m.cacheSize.WithLabelValues("pods"), m.cacheSize.WithLabelValues("assumed_pods")
	return m, nil
}

func (m *metrics) attempted(result string, d time.Duration) {
	if m != nil {
		m.attempts.WithLabelValues(m.profile, result).Inc()
		m.attemptSeconds.WithLabelValues(m.profile, result).Observe(d.Seconds())
	}
}

func (m *metrics) algorithm(d time.Duration) {
	if m != nil {
		m.algorithmSecs.Observe(d.Seconds())
	}
}

func (m *metrics) incoming(event string) {
	if m != nil {
		m.incomingPods.WithLabelValues(event, "active").Inc()
	}
}

func (m *metrics) scheduled(e *entry, now time.Time) {
	if m == nil {
		return
	}
	m.podAttempts.Observe(float64(e.Attempts))
	label := "15+"
	if e.Attempts < 15 {
		label = strconv.Itoa(e.Attempts)
	}
	m.slaSeconds.WithLabelValues(label).Observe(now.Sub(e.FirstAttempt).Seconds())
}

// observe reads the sizes of things; the loop calls it when it has nothing to do.
func (m *metrics) observe(q *queue, s *framework.Snapshot, assumed int) {
	if m == nil {
		return
	}
	m.pendingByPlace[0].Set(float64(len(q.active.list)))
	m.pendingByPlace[1].Set(float64(len(q.backoff.list)))
	m.pendingByPlace[2].Set(float64(len(q.waiting)))
	m.pendingByPlace[3].Set(float64(q.gated))
	m.nodes.Set(float64(len(s.Nodes())))
	m.pods.Set(float64(s.PodCount()))
	m.as.Set(float64(assumed))
}

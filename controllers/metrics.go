package controllers

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// queueMetrics are the counters and histograms of one queue.
type queueMetrics struct {
	adds, retries     prometheus.Counter
	latency, duration prometheus.Observer
}

// metrics are the work-queue metrics under the names that dashboards know.
type metrics struct {
	adds, retries     *prometheus.CounterVec
	latency, duration *prometheus.HistogramVec
	depth             *prometheus.Desc
	unfinished        *prometheus.Desc
	longest           *prometheus.Desc
	queues            map[string]*queue // filled before registration, read-only afterwards
}

func newMetrics() *metrics {
	name := []string{"name"}
	buckets := prometheus.ExponentialBuckets(1e-8, 10, 12)
	return &metrics{
		adds: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "workqueue_adds_total", Help: "Keys added to the queue."}, name),
		retries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "workqueue_retries_total", Help: "Keys put back after a failure."}, name),
		latency: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "workqueue_queue_duration_seconds", Help: "Seconds a key waited in line.", Buckets: buckets}, name),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "workqueue_work_duration_seconds", Help: "Seconds a reconcile took.", Buckets: buckets}, name),
		depth:      prometheus.NewDesc("workqueue_depth", "Keys in line.", name, nil),
		unfinished: prometheus.NewDesc("workqueue_unfinished_work_seconds", "Seconds of work in progress, summed over the running reconciles.", name, nil),
		longest:    prometheus.NewDesc("workqueue_longest_running_processor_seconds", "Seconds that the longest running reconcile has taken so far.", name, nil),
		queues:     map[string]*queue{},
	}
}

func (m *metrics) forQueue(name string) queueMetrics {
	return queueMetrics{
		adds: m.adds.WithLabelValues(name), retries: m.retries.WithLabelValues(name),
		latency: m.latency.WithLabelValues(name), duration: m.duration.WithLabelValues(name),
	}
}

// register registers everything with r, which may be nil.
func (m *metrics) register(r prometheus.Registerer) error {
	if r == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{m.adds, m.retries, m.latency, m.duration, gauges{m}} {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// unregister undoes register, so that a runner can be made again on the same registerer.
func (m *metrics) unregister(r prometheus.Registerer) {
	if r == nil {
		return
	}
	for _, c := range []prometheus.Collector{m.adds, m.retries, m.latency, m.duration, gauges{m}} {
		r.Unregister(c)
	}
}

// gauges reads the queues when somebody scrapes: nothing ticks in between.
type gauges struct{ m *metrics }

func (g gauges) Describe(ch chan<- *prometheus.Desc) {
	ch <- g.m.depth
	ch <- g.m.unfinished
	ch <- g.m.longest
}

func (g gauges) Collect(ch chan<- prometheus.Metric) {
	now := time.Now()
	for name, q := range g.m.queues {
		depth, unfinished, longest := q.gauges(now)
		ch <- prometheus.MustNewConstMetric(g.m.depth, prometheus.GaugeValue, float64(depth), name)
		ch <- prometheus.MustNewConstMetric(g.m.unfinished, prometheus.GaugeValue, unfinished, name)
		ch <- prometheus.MustNewConstMetric(g.m.longest, prometheus.GaugeValue, longest, name)
	}
}

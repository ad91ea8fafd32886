package fairness

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of upstream's that dashboards read, by the same names.
type metrics struct {
	rejected, dispatched, unaccommodated                         *prometheus.CounterVec
	inQueueRequests, inQueueSeats, executing, executingSeats     *prometheus.GaugeVec
	queueLength, waitSeconds, serviceSeconds, seats, watchCounts *prometheus.HistogramVec

	nominal, lower, upper, current           *prometheus.GaugeVec
	peak, average, deviation, smooth, target *prometheus.GaugeVec
	fraction                                 prometheus.Gauge
}

const (
	labelLevel  = "priority_level"
	labelSchema = "flow_schema"
)

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	var all []prometheus.Collector
	opts := func(name, help string) prometheus.Opts {
		return prometheus.Opts{Namespace: "apiserver", Subsystem: "flowcontrol", Name: name, Help: help}
	}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		v := prometheus.NewCounterVec(prometheus.CounterOpts(opts(name, help)), append([]string{labelLevel, labelSchema}, labels...))
		all = append(all, v)
		return v
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		v := prometheus.NewGaugeVec(prometheus.GaugeOpts(opts(name, help)), append([]string{labelLevel}, labels...))
		all = append(all, v)
		return v
	}
	histogram := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		o := opts(name, help)
		v := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Namespace: o.Namespace, Subsystem: o.Subsystem, Name: o.Name, Help: o.Help, Buckets: buckets,
		}, append([]string{labelLevel, labelSchema}, labels...))
		all = append(all, v)
		return v
	}
	seconds := []float64{0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30}
	m := &metrics{
		rejected:       counter("rejected_requests_total", "Requests that were refused.", "reason"),
		dispatched:     counter("dispatched_requests_total", "Requests that were served."),
		unaccommodated: counter("request_dispatch_no_accommodation_total", "Times that the next request to serve had to wait for more seats than were free."),

		inQueueRequests: gauge("current_inqueue_requests", "Requests that wait in queues.", labelSchema),
		inQueueSeats:    gauge("current_inqueue_seats", "Seats that the requests in queues wait for.", labelSchema),
		executing:       gauge("current_executing_requests", "Requests that are being served; of watches, those that are beginning.", labelSchema),
		executingSeats:  gauge("current_executing_seats", "Seats that are taken.", labelSchema),

		queueLength:    histogram("request_queue_length_after_enqueue", "Length of its queue when a request came into it, itself included.", []float64{0, 10, 25, 50, 100, 250, 500, 1000}),
		waitSeconds:    histogram("request_wait_duration_seconds", "Time that a request spent in its queue.", seconds, "execute"),
		serviceSeconds: histogram("request_execution_seconds", "Time that a request took to be served; of a watch, to begin.", seconds, "type"),
		seats:          histogram("work_estimated_seats", "Seats that a request was thought to take at most.", []float64{1, 2, 4, 8, 16, 32, 64, 100}),
		watchCounts:    histogram("watch_count_samples", "Watchers that would be told of a write.", []float64{0, 1, 10, 100, 1000, 10000}),

		nominal: gauge("nominal_limit_seats", "Seats of each priority level by its configuration."),
		lower:   gauge("lower_limit_seats", "Seats that each priority level does not lend."),
		upper:   gauge("upper_limit_seats", "Seats that each priority level may have with those it borrows."),
		current: gauge("current_limit_seats", "Seats of each priority level for now."),

		peak:      gauge("demand_seats_high_watermark", "Most seats that each priority level could use in the last period."),
		average:   gauge("demand_seats_average", "Seats that each priority level could use in the last period, on average over time."),
		deviation: gauge("demand_seats_stdev", "Standard deviation of that."),
		smooth:    gauge("demand_seats_smoothed", "Seats that each priority level usually needs."),
		target:    gauge("target_seats", "Seats that each priority level should have by its need."),
		fraction: prometheus.NewGauge(prometheus.GaugeOpts(
			opts("seat_fair_frac", "Part of what it needs that every priority level gets, within its bounds."))),
	}
	for _, c := range append(all, m.fraction) {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// levelMetrics are one level's.
type levelMetrics struct {
	nominal, lower, upper, current           prometheus.Gauge
	peak, average, deviation, smooth, target prometheus.Gauge
}

func (m *metrics) ofLevel(level string) *levelMetrics {
	return &levelMetrics{
		nominal: m.nominal.WithLabelValues(level), lower: m.lower.WithLabelValues(level),
		upper: m.upper.WithLabelValues(level), current: m.current.WithLabelValues(level),
		peak: m.peak.WithLabelValues(level), average: m.average.WithLabelValues(level), deviation: m.deviation.WithLabelValues(level),
		smooth: m.smooth.WithLabelValues(level), target: m.target.WithLabelValues(level),
	}
}

func (m *levelMetrics) configured(l limits) {
	m.nominal.Set(float64(l.nominal))
	m.lower.Set(float64(l.min))
	m.upper.Set(float64(l.max))
}

func (m *levelMetrics) measured(of measured) {
	m.peak.Set(float64(of.peak))
	m.average.Set(of.average)
	m.deviation.Set(of.deviation)
}

// flowMetrics are those of one schema at one level, looked up once. Only inQueue,
// begin and what ends it go down again; they are of this value, even after the series
// have been forgotten.
type flowMetrics struct {
	dispatched, unaccommodated                                   prometheus.Counter
	queueFull, concurrencyLimit, timeOut                         prometheus.Counter
	inQueueRequests, inQueueSeats, executing, executingSeats     prometheus.Gauge
	queueLength, waitedServed, waitedRefused, regular, watchTime prometheus.Observer
	seats, watchers                                              prometheus.Observer
}

func (m *metrics) ofFlow(level, schema string) flowMetrics {
	return flowMetrics{
		dispatched: m.dispatched.WithLabelValues(level, schema), unaccommodated: m.unaccommodated.WithLabelValues(level, schema),
		queueFull:        m.rejected.WithLabelValues(level, schema, "queue-full"),
		concurrencyLimit: m.rejected.WithLabelValues(level, schema, "concurrency-limit"),
		timeOut:          m.rejected.WithLabelValues(level, schema, "time-out"),
		inQueueRequests:  m.inQueueRequests.WithLabelValues(level, schema), inQueueSeats: m.inQueueSeats.WithLabelValues(level, schema),
		executing: m.executing.WithLabelValues(level, schema), executingSeats: m.executingSeats.WithLabelValues(level, schema),
		queueLength:  m.queueLength.WithLabelValues(level, schema),
		waitedServed: m.waitSeconds.WithLabelValues(level, schema, "true"), waitedRefused: m.waitSeconds.WithLabelValues(level, schema, "false"),
		regular: m.serviceSeconds.WithLabelValues(level, schema, "regular"), watchTime: m.serviceSeconds.WithLabelValues(level, schema, "watch"),
		seats: m.seats.WithLabelValues(level, schema), watchers: m.watchCounts.WithLabelValues(level, schema),
	}
}

// forget drops the series of what is gone, so that they do not pile up. No schema
// means the whole level.
func (m *metrics) forget(level, schema string) {
	of := prometheus.Labels{labelLevel: level}
	if schema != "" {
		of[labelSchema] = schema
	}
	for _, v := range []interface {
		DeletePartialMatch(prometheus.Labels) int
	}{
		m.rejected, m.dispatched, m.unaccommodated, m.inQueueRequests, m.inQueueSeats, m.executing, m.executingSeats,
		m.queueLength, m.waitSeconds, m.serviceSeconds, m.seats, m.watchCounts,
		m.nominal, m.lower, m.upper, m.current, m.peak, m.average, m.deviation, m.smooth, m.target,
	} {
		v.DeletePartialMatch(of)
	}
}

func (m *flowMetrics) queued(length int) { m.queueLength.Observe(float64(length)) }

func (m *flowMetrics) inQueue(requests, seats int) {
	m.inQueueRequests.Add(float64(requests))
	m.inQueueSeats.Add(float64(seats))
}

func (m *flowMetrics) waited(d time.Duration) { m.waitedServed.Observe(d.Seconds()) }

func (m *flowMetrics) refuse(reason string, waited time.Duration) {
	switch reason {
	case "queue-full":
		m.queueFull.Inc()
	case "concurrency-limit":
		m.concurrencyLimit.Inc()
	default:
		m.timeOut.Inc()
	}
	m.waitedRefused.Observe(waited.Seconds())
}

func (m *flowMetrics) begin(seats int) {
	m.dispatched.Inc()
	m.executing.Inc()
	m.executingSeats.Add(float64(seats))
}

func (m *flowMetrics) end(served time.Duration, watch bool) {
	m.executing.Dec()
	if watch {
		m.watchTime.Observe(served.Seconds())
	} else {
		m.regular.Observe(served.Seconds())
	}
}

func (m *flowMetrics) release(seats int) { m.executingSeats.Sub(float64(seats)) }

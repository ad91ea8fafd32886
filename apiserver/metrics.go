package apiserver

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are those of upstream's that dashboards read, by the same names.
type metrics struct {
	registerer  prometheus.Registerer
	gatherer    prometheus.Gatherer
	requests    *prometheus.CounterVec
	durations   *prometheus.HistogramVec
	sizes       *prometheus.HistogramVec
	inFlight    *prometheus.GaugeVec
	longRunning *prometheus.GaugeVec
	watchEvents *prometheus.CounterVec
	slis        *slis
}

func newMetrics(registerer prometheus.Registerer) (*metrics, error) {
	if registerer == nil {
		registerer = prometheus.NewRegistry()
	}
	gatherer, ok := registerer.(prometheus.Gatherer)
	if !ok {
		gatherer = prometheus.NewRegistry()
	}
	where := []string{"verb", "group", "version", "resource", "subresource", "scope", "component"}
	m := &metrics{
		registerer: registerer,
		gatherer:   gatherer,
		slis:       newSLIs(),
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_request_total", Help: "Requests served, by their kind and outcome.",
		}, append(where[:7:7], "dry_run", "code")),
		durations: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apiserver_request_duration_seconds", Help: "Time from a request's first byte to its answer's last.",
			Buckets: []float64{0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60},
		}, append(where[:7:7], "dry_run")),
		sizes: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "apiserver_response_sizes", Help: "Size of answers, in bytes.",
			Buckets: prometheus.ExponentialBuckets(1000, 10, 7),
		}, where),
		inFlight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "apiserver_current_inflight_requests", Help: "Requests that are being served.",
		}, []string{"request_kind"}),
		longRunning: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "apiserver_longrunning_requests", Help: "Watches and connections that are open.",
		}, where),
		watchEvents: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_watch_events_total", Help: "Events sent to watches.",
		}, []string{"group", "version", "resource"}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.durations, m.sizes, m.inFlight, m.longRunning, m.watchEvents} {
		if err := registerer.Register(c); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// begin counts a request in; what it returns counts it out.
func (m *metrics) begin(x *exchange) func(took time.Duration) {
	labels := labelsOf(x)
	long := x.longRunning()
	var open prometheus.Gauge
	if long {
		open = m.longRunning.With(labels)
	} else {
		kind := "mutating"
		if x.r.Method == http.MethodGet || x.r.Method == http.MethodHead {
			kind = "readOnly"
		}
		open = m.inFlight.WithLabelValues(kind)
	}
	open.Inc()
	dryRun := ""
	if d := x.query["dryRun"]; len(d) == 1 && d[0] == "All" {
		dryRun = "All"
	}
	return func(took time.Duration) {
		open.Dec()
		labels["dry_run"] = dryRun
		if !long {
			m.durations.With(labels).Observe(took.Seconds())
		}
		code := x.w.status
		if code == 0 {
			code = http.StatusOK
		}
		labels["code"] = strconv.Itoa(code)
		m.requests.With(labels).Inc()
		if v := labels["verb"]; v == "GET" || v == "LIST" {
			delete(labels, "code")
			delete(labels, "dry_run")
			m.sizes.With(labels).Observe(float64(x.w.size))
		}
	}
}

// labelsOf a request. What no client may choose freely becomes a label: paths and
// resources that are not served have none, so that the number of series is bounded.
func labelsOf(x *exchange) prometheus.Labels {
	labels := prometheus.Labels{
		"verb": "other", "group": "", "version": "", "resource": "", "subresource": "", "scope": "", "component": "apiserver",
	}
	switch x.r.Method {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
		labels["verb"] = x.r.Method
	}
	if x.registry == nil || x.info.Subresource != "" && x.sub == nil {
		return labels
	}
	switch x.info.Verb {
	case "list", "watch", "deletecollection":
		labels["verb"] = strings.ToUpper(x.info.Verb)
	case "create":
		labels["verb"] = "POST"
	case "update":
		labels["verb"] = "PUT"
	case "patch":
		if strings.HasPrefix(x.r.Header.Get("Content-Type"), "application/apply-patch") {
			labels["verb"] = "APPLY"
		}
	}
	if x.sub != nil && x.sub.Connect != nil {
		labels["verb"] = "CONNECT"
	}
	labels["group"], labels["version"], labels["resource"] = x.info.Group, x.info.Version, x.info.Resource
	labels["subresource"], labels["scope"] = x.info.Subresource, x.info.Scope()
	return labels
}

func (m *metrics) watchEvent(x *exchange) {
	m.watchEvents.WithLabelValues(x.info.Group, x.info.Version, x.info.Resource).Inc()
}

package apiserver

import (
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// slis are the component's service level indicators (KEP-3466): how its health checks
// came out, last and over time, on a path of their own that can be scraped more often.
type slis struct {
	registry *prometheus.Registry
	last     *prometheus.GaugeVec
	total    *prometheus.CounterVec
}

func newSLIs() *slis {
	s := &slis{
		registry: prometheus.NewRegistry(),
		last: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "kubernetes_healthcheck", Help: "The last result of a health check: 1 is healthy.",
		}, []string{"name", "type"}),
		total: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "kubernetes_healthchecks_total", Help: "Results of health checks.",
		}, []string{"name", "status", "type"}),
	}
	s.registry.MustRegister(s.last, s.total)
	return s
}

// observe keeps the outcome of a check of "healthz", "livez" or "readyz".
func (s *slis) observe(kind, name string, err error) {
	healthy, status := 1.0, "success"
	if err != nil {
		healthy, status = 0, "error"
	}
	s.last.WithLabelValues(name, kind).Set(healthy)
	s.total.WithLabelValues(name, status, kind).Inc()
}

// metricsHandler answers /metrics and /metrics/slis.
func (s *Server) metricsHandler() http.Handler {
	all := promhttp.HandlerFor(s.metrics.gatherer, promhttp.HandlerOpts{})
	health := promhttp.HandlerFor(s.metrics.slis.registry, promhttp.HandlerOpts{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch strings.TrimSuffix(r.URL.Path, "/") {
		case "/metrics":
			all.ServeHTTP(w, r)
		case "/metrics/slis":
			health.ServeHTTP(w, r)
		default:
			http.NotFound(w, r)
		}
	})
}

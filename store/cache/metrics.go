package cache

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	events       *prometheus.CounterVec
	decodeErrors *prometheus.CounterVec
	expired      *prometheus.CounterVec
	resyncs      prometheus.Counter
	encodings    prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	vec := func(name, help string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "strake", Subsystem: "cache", Name: name, Help: help}, []string{"prefix"})
	}
	m := &metrics{
		events:       vec("events_total", "Writes that the cache has published, by resource prefix."),
		decodeErrors: vec("decode_errors_total", "Stored objects that did not decode and are kept out."),
		expired:      vec("expired_watchers_total", "Watchers ended because they fell behind."),
		resyncs: prometheus.NewCounter(prometheus.CounterOpts{Namespace: "strake", Subsystem: "cache", Name: "resyncs_total",
			Help: "Full loads of the cache from the store, the first one included."}),
		encodings: prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "strake", Subsystem: "cache", Name: "encoding_bytes",
			Help: "What the encodings of present objects take together."}),
	}
	if reg == nil {
		return m, nil
	}
	return m, errors.Join(reg.Register(m.events), reg.Register(m.decodeErrors), reg.Register(m.expired), reg.Register(m.resyncs), reg.Register(m.encodings))
}

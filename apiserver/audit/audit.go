// Package audit keeps a record of who asked the API server for what and how it was
// answered, in the format of Kubernetes (audit.k8s.io/v1, the documentation page
// "Auditing"): a policy says how much is kept of a request, and each stage of it
// becomes an event for the sinks.
//
// It stands beside the path of a request in package apiserver, which tells a [Record]
// what it learns. A request that the policy leaves out costs the look at its rules.
package audit

import (
	"errors"
	"fmt"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// Sink takes events. Write is called by many requests at once, in the order of each
// request's stages, and delays the request for as long as it takes. An event is not
// changed after it was given to a sink, and a sink does not change it.
type Sink interface {
	Write(event *auditv1.Event) error
}

// Config of an [Auditor]. Without a policy or without sinks nothing is kept.
type Config struct {
	// Policy that decides; see [ParsePolicy].
	Policy *auditv1.Policy
	// Sinks by the name that metrics call them: "log", "webhook".
	Sinks map[string]Sink
}

// Auditor makes records of requests. A nil Auditor makes none. It is safe for
// concurrent use.
type Auditor struct {
	policy policy
	sinks  map[string]Sink
	log    logr.Logger
	levels *prometheus.CounterVec
	events prometheus.Counter
	errors *prometheus.CounterVec
}

// New checks the policy. The result is nil where nothing is to be kept.
func New(config Config, registerer prometheus.Registerer, log logr.Logger) (*Auditor, error) {
	if config.Policy == nil || len(config.Sinks) == 0 {
		return nil, nil
	}
	if errs := validate(config.Policy); len(errs) > 0 {
		return nil, fmt.Errorf("audit policy: %w", errs.ToAggregate())
	}
	for name, sink := range config.Sinks {
		if sink == nil {
			return nil, fmt.Errorf("audit: the sink %q is nil", name)
		}
	}
	a := &Auditor{
		policy: compile(config.Policy), sinks: config.Sinks, log: log,
		levels: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_audit_level_total", Help: "Requests by the level that they are audited at.",
		}, []string{"level"}),
		events: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "apiserver_audit_event_total", Help: "Audit events made.",
		}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "apiserver_audit_error_total", Help: "Audit events that a sink did not take.",
		}, []string{"plugin"}),
	}
	var err error
	for _, c := range []prometheus.Collector{a.levels, a.events, a.errors} {
		err = errors.Join(err, registerer.Register(c))
	}
	return a, err
}

// write gives an event to all sinks.
func (a *Auditor) write(event *auditv1.Event) {
	a.events.Inc()
	for name, sink := range a.sinks {
		if err := sink.Write(event); err != nil {
			a.errors.WithLabelValues(name).Inc()
			a.log.Error(err, "An audit event was lost", "sink", name, "auditID", event.AuditID)
		}
	}
}

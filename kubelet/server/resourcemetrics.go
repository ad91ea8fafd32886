package server

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"
)

// Metrics of /metrics/resource, which metrics-server reads.
var (
	nodeCPU          = prometheus.NewDesc("node_cpu_usage_seconds_total", "Cumulative cpu time consumed by the node in core-seconds", nil, nil)
	nodeMemory       = prometheus.NewDesc("node_memory_working_set_bytes", "Current working set of the node in bytes", nil, nil)
	podLabels        = []string{"namespace", "pod"}
	podCPU           = prometheus.NewDesc("pod_cpu_usage_seconds_total", "Cumulative cpu time consumed by the pod in core-seconds", podLabels, nil)
	podMemory        = prometheus.NewDesc("pod_memory_working_set_bytes", "Current working set of the pod in bytes", podLabels, nil)
	containerLabels  = []string{"container", "namespace", "pod"}
	containerCPU     = prometheus.NewDesc("container_cpu_usage_seconds_total", "Cumulative cpu time consumed by the container in core-seconds", containerLabels, nil)
	containerMemory  = prometheus.NewDesc("container_memory_working_set_bytes", "Current working set of the container in bytes", containerLabels, nil)
	containerStarted = prometheus.NewDesc("container_start_time_seconds", "Start time of the container since unix epoch in seconds", containerLabels, nil)
	scrapeError      = prometheus.NewDesc("resource_scrape_error", "1 if there was an error while getting container metrics, 0 otherwise", nil, nil)
)

// summaryCollector shows one summary as metrics.
type summaryCollector struct {
	summary *statsv1alpha1.Summary // nil: there was an error
}

// Describe implements [prometheus.Collector].
func (c summaryCollector) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{nodeCPU, nodeMemory, podCPU, podMemory, containerCPU, containerMemory, containerStarted, scrapeError} {
		out <- d
	}
}

// Collect implements [prometheus.Collector].
func (c summaryCollector) Collect(out chan<- prometheus.Metric) {
	failed := 0.0
	if c.summary == nil {
		failed = 1
	}
	out <- prometheus.MustNewConstMetric(scrapeError, prometheus.GaugeValue, failed)
	if c.summary == nil {
		return
	}
	cpu := func(d *prometheus.Desc, s *statsv1alpha1.CPUStats, labels ...string) {
		if s != nil && s.UsageCoreNanoSeconds != nil {
			out <- stamped(s.Time.Time, prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(*s.UsageCoreNanoSeconds)/1e9, labels...))
		}
	}
	memory := func(d *prometheus.Desc, s *statsv1alpha1.MemoryStats, labels ...string) {
		if s != nil && s.WorkingSetBytes != nil {
			out <- stamped(s.Time.Time, prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(*s.WorkingSetBytes), labels...))
		}
	}
	cpu(nodeCPU, c.summary.Node.CPU)
	memory(nodeMemory, c.summary.Node.Memory)
	for i := range c.summary.Pods {
		p := &c.summary.Pods[i]
		cpu(podCPU, p.CPU, p.PodRef.Namespace, p.PodRef.Name)
		memory(podMemory, p.Memory, p.PodRef.Namespace, p.PodRef.Name)
		for j := range p.Containers {
			k := &p.Containers[j]
			cpu(containerCPU, k.CPU, k.Name, p.PodRef.Namespace, p.PodRef.Name)
			memory(containerMemory, k.Memory, k.Name, p.PodRef.Namespace, p.PodRef.Name)
			out <- prometheus.MustNewConstMetric(containerStarted, prometheus.GaugeValue,
				float64(k.StartTime.UnixNano())/1e9, k.Name, p.PodRef.Namespace, p.PodRef.Name)
		}
	}
}

func stamped(at time.Time, m prometheus.Metric) prometheus.Metric {
	if at.IsZero() {
		return m
	}
	return prometheus.NewMetricWithTimestamp(at, m)
}

func (s *Server) resourceMetrics(w http.ResponseWriter, req *http.Request) {
	if s.cfg.Stats == nil {
		http.Error(w, "this node's runtime does not measure", http.StatusNotImplemented)
		return
	}
	summary, err := s.cfg.Stats.Summary(req.Context())
	if err != nil {
		s.cfg.Logger.Error(err, "could not measure")
		summary = nil
	}
	registry := prometheus.NewRegistry()
	if err := registry.Register(summaryCollector{summary}); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(w, req)
}

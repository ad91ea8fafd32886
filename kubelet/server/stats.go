package server

import (
	"context"
	"errors"
	"net/http"
	"sort"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	statsv1alpha1 "k8s.io/kubelet/pkg/apis/stats/v1alpha1"

	"github.com/go-logr/logr"

	"github.com/strake-io/strake/runtime"
)

// StatsConfig configures [Stats].
type StatsConfig struct {
	NodeName string
	// Sandboxes and Containers list what runs. Required; a runtime.Runtime is both.
	Sandboxes  runtime.Sandboxes
	Containers runtime.Containers
	// Provider measures. Required.
	Provider runtime.StatsProvider
	// Node measures the whole machine; nil leaves its figures out.
	Node func(ctx context.Context) (*runtime.Stats, error)
	// Started is when the node came up.
	Started time.Time
	// Logger; the zero value is silent.
	Logger logr.Logger
}

// Stats is a [StatsSource] over a runtime. Safe for concurrent use.
type Stats struct {
	cfg StatsConfig

	mu   sync.Mutex // guards last
	last map[string]cpuSample
}

// cpuSample is the CPU time at the latest sample, and the rate up to it.
type cpuSample struct {
	at    time.Time
	nanos uint64
	rate  *uint64 // nanocores
}

// NewStats validates the configuration.
func NewStats(cfg StatsConfig) (*Stats, error) {
	if cfg.Sandboxes == nil || cfg.Containers == nil || cfg.Provider == nil {
		return nil, errors.New("server: StatsConfig needs Sandboxes, Containers and Provider")
	}
	return &Stats{cfg: cfg, last: map[string]cpuSample{}}, nil
}

// Summary implements [StatsSource]. A pod that cannot be measured, as one that
// ends at this moment, is left out.
func (s *Stats) Summary(ctx context.Context) (*statsv1alpha1.Summary, error) {
	sandboxes, err := s.cfg.Sandboxes.ListSandboxes(ctx)
	if err != nil {
		return nil, err
	}
	containers, err := s.cfg.Containers.ListContainers(ctx)
	if err != nil {
		return nil, err
	}
	of := map[string][]*runtime.Container{}
	for i := range containers {
		if c := &containers[i]; c.State == runtime.ContainerRunning {
			of[c.SandboxID] = append(of[c.SandboxID], c)
		}
	}
	seen := map[string]bool{}
	summary := &statsv1alpha1.Summary{Pods: []statsv1alpha1.PodStats{}}
	for i := range sandboxes {
		sandbox := &sandboxes[i]
		if sandbox.State != runtime.SandboxReady {
			continue
		}
		pod := statsv1alpha1.PodStats{
			PodRef:     statsv1alpha1.PodReference{Name: sandbox.Pod.Name, Namespace: sandbox.Pod.Namespace, UID: sandbox.Pod.UID},
			StartTime:  metav1.NewTime(sandbox.CreatedAt),
			Containers: []statsv1alpha1.ContainerStats{},
		}
		if stats, err := s.cfg.Provider.SandboxStats(ctx, sandbox.ID); err == nil {
			seen[sandbox.ID] = true
			pod.CPU, pod.Memory = s.cpu(sandbox.ID, stats), memory(stats)
			pod.Network = &statsv1alpha1.NetworkStats{
				Time:           metav1.NewTime(stats.Time),
				InterfaceStats: statsv1alpha1.InterfaceStats{Name: "eth0", RxBytes: &stats.RxBytes, TxBytes: &stats.TxBytes},
			}
		} else if !s.skippable(ctx, err) {
			return nil, err
		}
		for _, c := range of[sandbox.ID] {
			stats, err := s.cfg.Provider.ContainerStats(ctx, c.ID)
			if err != nil {
				if !s.skippable(ctx, err) {
					return nil, err
				}
				continue
			}
			seen[c.ID] = true
			pod.Containers = append(pod.Containers, statsv1alpha1.ContainerStats{
				Name: c.Name, StartTime: metav1.NewTime(c.StartedAt),
				CPU: s.cpu(c.ID, stats), Memory: memory(stats),
				Rootfs: &statsv1alpha1.FsStats{Time: metav1.NewTime(stats.Time), UsedBytes: &stats.WritableBytes},
			})
		}
		sort.Slice(pod.Containers, func(i, j int) bool { return pod.Containers[i].Name < pod.Containers[j].Name })
		summary.Pods = append(summary.Pods, pod)
	}
	sort.Slice(summary.Pods, func(i, j int) bool {
		a, b := summary.Pods[i].PodRef, summary.Pods[j].PodRef
		if a.Namespace != b.Namespace {
			return a.Namespace < b.Namespace
		}
		return a.Name < b.Name
	})
	summary.Node = statsv1alpha1.NodeStats{NodeName: s.cfg.NodeName, StartTime: metav1.NewTime(s.cfg.Started)}
	if s.cfg.Node != nil {
		stats, err := s.cfg.Node(ctx)
		if err != nil {
			return nil, err
		}
		seen[""] = true
		summary.Node.CPU, summary.Node.Memory = s.cpu("", stats), memory(stats)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.last {
		if !seen[id] {
			delete(s.last, id)
		}
	}
	return summary, nil
}

// skippable errors concern one pod only.
func (s *Stats) skippable(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, runtime.ErrUnavailable) {
		return false
	}
	if !errors.Is(err, runtime.ErrNotFound) {
		s.cfg.Logger.V(1).Info("could not measure", "err", err)
	}
	return true
}

// leastInterval between two samples that a rate is computed from.
const leastInterval = 500 * time.Millisecond

func (s *Stats) cpu(id string, stats *runtime.Stats) *statsv1alpha1.CPUStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, ok := s.last[id]
	now := cpuSample{at: stats.Time, nanos: stats.CPUNanos, rate: before.rate}
	if ok {
		now.rate = cpuRate(before, now)
	}
	if !ok || now.at.Sub(before.at) >= leastInterval {
		s.last[id] = now
	}
	nanos := stats.CPUNanos
	return &statsv1alpha1.CPUStats{Time: metav1.NewTime(stats.Time), UsageCoreNanoSeconds: &nanos, UsageNanoCores: now.rate}
}

// cpuRate is the CPU use between two samples, in billionths of a core; the rate
// known before where they are too close.
func cpuRate(before, now cpuSample) *uint64 {
	interval := now.at.Sub(before.at)
	if interval < leastInterval || now.nanos < before.nanos {
		return before.rate
	}
	rate := uint64(float64(now.nanos-before.nanos) / interval.Seconds())
	return &rate
}

func memory(stats *runtime.Stats) *statsv1alpha1.MemoryStats {
	usage, working := stats.MemoryBytes, stats.WorkingSetBytes
	return &statsv1alpha1.MemoryStats{Time: metav1.NewTime(stats.Time), UsageBytes: &usage, WorkingSetBytes: &working}
}

// summary asks for statistics, or answers why there are none.
func (s *Server) summary(w http.ResponseWriter, req *http.Request) (*statsv1alpha1.Summary, bool) {
	if s.cfg.Stats == nil {
		http.Error(w, "this node's runtime does not measure", http.StatusNotImplemented)
		return nil, false
	}
	summary, err := s.cfg.Stats.Summary(req.Context())
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return nil, false
	}
	return summary, true
}

func (s *Server) statsSummary(w http.ResponseWriter, req *http.Request) {
	if summary, ok := s.summary(w, req); ok {
		s.writeJSON(w, summary)
	}
}

package containerd

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/containerd/cgroups/v3"
	"github.com/vishvananda/netlink"

	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/network"
)

// ContainerStats implements [runtime.StatsProvider].
func (r *Runtime) ContainerStats(ctx context.Context, id string) (*runtime.Stats, error) {
	ctx, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	c, err := r.find(id, runtime.ContainerRunning)
	if err != nil {
		return nil, err
	}
	stats := groupStats(c.record.CgroupPath)
	if usage, err := r.client.SnapshotService(r.snapshotter).Usage(ctx, id); err == nil {
		stats.WritableBytes = uint64(usage.Size)
	}
	return stats, nil
}

// SandboxStats implements [runtime.StatsProvider]: the sum of its running
// containers, and the network's counters.
func (r *Runtime) SandboxStats(ctx context.Context, id string) (*runtime.Stats, error) {
	if _, err := r.begin(ctx); err != nil {
		return nil, err
	}
	r.mu.Lock()
	s := r.sandboxes[id]
	var groups []string
	hasNet := false
	if s != nil {
		for _, c := range s.containers {
			if c.state == runtime.ContainerRunning {
				groups = append(groups, c.record.CgroupPath)
			}
		}
		hasNet = s.ready && s.record.Config.Namespaces.Network != runtime.NamespaceNode
	}
	r.mu.Unlock()
	if s == nil {
		return nil, fmt.Errorf("sandbox %q: %w", id, runtime.ErrNotFound)
	}
	sum := &runtime.Stats{Time: time.Now()}
	for _, g := range groups {
		one := groupStats(g)
		sum.CPUNanos += one.CPUNanos
		sum.MemoryBytes += one.MemoryBytes
		sum.WorkingSetBytes += one.WorkingSetBytes
	}
	if hasNet {
		err := network.Within(filepath.Join(r.sandboxDir(id), "net"), func() error {
			link, err := netlink.LinkByName("eth0")
			if err != nil {
				return nil // a network with other names has no counters here
			}
			if counters := link.Attrs().Statistics; counters != nil {
				sum.RxBytes, sum.TxBytes = counters.RxBytes, counters.TxBytes
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("sandbox %s: %w", id, err)
		}
	}
	return sum, nil
}

// groupStats reads a control group; what can't be read is 0.
func groupStats(group string) *runtime.Stats {
	s := &runtime.Stats{Time: time.Now()}
	var inactive uint64
	if cgroups.Mode() == cgroups.Unified {
		usec, _ := keyed(cgroupFile("", group, "cpu.stat"), "usage_usec")
		s.CPUNanos = usec * 1000
		s.MemoryBytes = single(cgroupFile("", group, "memory.current"))
		inactive, _ = keyed(cgroupFile("", group, "memory.stat"), "inactive_file")
	} else {
		s.CPUNanos = single(cgroupFile("cpuacct", group, "cpuacct.usage"))
		s.MemoryBytes = single(cgroupFile("memory", group, "memory.usage_in_bytes"))
		inactive, _ = keyed(cgroupFile("memory", group, "memory.stat"), "total_inactive_file")
	}
	s.WorkingSetBytes = s.MemoryBytes - min(inactive, s.MemoryBytes)
	return s
}

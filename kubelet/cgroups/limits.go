package cgroups

import (
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/strake-io/strake/kubelet/qos"
	"github.com/strake-io/strake/runtime"
)

// ensure makes a group and writes its limits.
func (m *Manager) ensure(group string, r runtime.Resources, pids int64) error {
	if m.version == V2 {
		dir, err := m.makeV2(group)
		if err != nil {
			return err
		}
		return writeFiles(dir, limitsV2(r, pids))
	}
	for _, controller := range m.v1 {
		dir := filepath.Join(m.mount, controller, group)
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("cgroups: %w", err)
		}
		if err := writeFiles(dir, limitsV1(controller, r, pids)); err != nil {
			return err
		}
	}
	return nil
}

// makeV2 makes a group and hands the controllers down to it. A controller that
// the parent lacks is left out.
func (m *Manager) makeV2(group string) (string, error) {
	dir := m.mount
	for _, part := range strings.Split(strings.Trim(group, "/"), "/") {
		have, err := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("cgroups: %w", err)
		}
		enabled, _ := os.ReadFile(filepath.Join(dir, "cgroup.subtree_control"))
		for _, want := range []string{"cpu", "memory", "pids", "cpuset"} {
			if !contains(string(have), want) || contains(string(enabled), want) {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte("+"+want), 0o644); err != nil {
				return "", fmt.Errorf("cgroups: enable %s below %s: %w", want, dir, err)
			}
		}
		dir = filepath.Join(dir, part)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("cgroups: %w", err)
		}
	}
	return dir, nil
}

func contains(list, word string) bool {
	for _, w := range strings.Fields(list) {
		if w == word {
			return true
		}
	}
	return false
}

type setting struct{ file, value string }

// writeFiles skips files that the kernel does not offer.
func writeFiles(dir string, settings []setting) error {
	for _, s := range settings {
		name := filepath.Join(dir, s.file)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_TRUNC, 0)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return fmt.Errorf("cgroups: %w", err)
		}
		_, err = f.WriteString(s.value)
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("cgroups: write %q to %s: %w", s.value, name, err)
		}
	}
	return nil
}

func limitsV1(controller string, r runtime.Resources, pids int64) []setting {
	var out []setting
	add := func(file string, v int64) { out = append(out, setting{file, strconv.FormatInt(v, 10)}) }
	switch controller {
	case "cpu":
		if r.CPUShares > 0 {
			add("cpu.shares", r.CPUShares)
		}
		if r.CPUQuota > 0 {
			add("cpu.cfs_period_us", r.CPUPeriod)
			add("cpu.cfs_quota_us", r.CPUQuota)
		}
	case "memory":
		if r.MemoryLimitBytes > 0 {
			add("memory.limit_in_bytes", r.MemoryLimitBytes)
		}
	case "pids":
		if pids > 0 {
			add("pids.max", pids)
		}
	}
	return out
}

func limitsV2(r runtime.Resources, pids int64) []setting {
	var out []setting
	if r.CPUShares > 0 {
		out = append(out, setting{"cpu.weight", strconv.FormatInt(Weight(r.CPUShares), 10)})
	}
	if r.CPUQuota > 0 {
		out = append(out, setting{"cpu.max", fmt.Sprintf("%d %d", r.CPUQuota, max(r.CPUPeriod, qos.Period/100))})
	}
	if r.MemoryLimitBytes > 0 {
		out = append(out, setting{"memory.max", strconv.FormatInt(r.MemoryLimitBytes, 10)})
	}
	if pids > 0 {
		out = append(out, setting{"pids.max", strconv.FormatInt(pids, 10)})
	}
	return out
}

// Weight of version 2 (1 to 10000) for shares of version 1 (2 to 262144). The
// curve goes through (2, 1), (1024, 100) and (262144, 10000), as runc has it
// since 1.3.2 (https://kubernetes.io/blog/2026/01/30/new-cgroup-v1-to-v2-cpu-conversion-formula/).
func Weight(shares int64) int64 {
	if shares <= 0 {
		return 0
	}
	l := math.Log2(float64(min(max(shares, 2), 262144)))
	return int64(math.Ceil(math.Pow(10, (l*l+125*l)/612-7.0/34)))
}

package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"
)

// result is what one kind of work came to.
type result struct {
	took      time.Duration
	latencies []time.Duration
	bytes     int64
	events    int64
	errors    int64
	first     error // the first of them
}

// quantile of the latencies, which are sorted.
func quantile(sorted []time.Duration, q float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(q*float64(len(sorted))))]
}

// line of the table.
func (r result) line(name string, before, after process) string {
	slices.Sort(r.latencies)
	seconds := r.took.Seconds()
	rate := func(n float64) string {
		if n == 0 || seconds == 0 {
			return ""
		}
		return strconv.FormatFloat(n/seconds, 'f', 0, 64)
	}
	errs := ""
	if r.errors > 0 {
		errs = fmt.Sprintf("%d (%v)", r.errors, r.first)
	}
	cpu, memory, peak := "", "", ""
	if after.known {
		cpu = strconv.FormatFloat((after.cpu - before.cpu).Seconds(), 'f', 1, 64)
		memory, peak = strconv.FormatInt(after.memory>>20, 10), strconv.FormatInt(after.peak>>20, 10)
	}
	return fmt.Sprintf("| %s | %d | %s | %s | %s | %s | %s | %s | %s | %s | %s |", name, len(r.latencies), rate(float64(len(r.latencies))),
		shown(quantile(r.latencies, 0.5)), shown(quantile(r.latencies, 0.99)), rate(float64(r.bytes)/1e6), rate(float64(r.events)), errs, cpu, memory, peak)
}

func shown(d time.Duration) string {
	if d >= 100*time.Millisecond {
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}

// process is what processes have used so far, together.
type process struct {
	known        bool
	cpu          time.Duration
	memory, peak int64 // bytes, resident
}

// clockTicks is what Linux counts CPU time in, for every program.
const clockTicks = 100

// usage reads what processes have used. One that cannot be read counts as nothing.
func usage(pids []int) process {
	var sum process
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		// The second field is the name, in brackets, with whatever in it.
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) < 13 {
			continue
		}
		for _, field := range fields[11:13] { // utime, stime
			ticks, _ := strconv.ParseInt(string(field), 10, 64) // no number is no time
			sum.cpu += time.Duration(ticks) * time.Second / clockTicks
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue
		}
		sum.memory += kilobytes(status, "VmRSS:") << 10
		sum.peak += kilobytes(status, "VmHWM:") << 10
		sum.known = true
	}
	return sum
}

func kilobytes(status []byte, name string) int64 {
	_, rest, _ := bytes.Cut(status, []byte(name))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	n, _ := strconv.ParseInt(string(fields[0]), 10, 64) // no number is no memory
	return n
}

package logs

import (
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Options say what to show of a log.
type Options struct {
	// Follow goes on until the container has ended.
	Follow bool
	// Timestamps puts the time of each line before it.
	Timestamps bool
	// Tail is how many of the last lines to show; nil is all.
	Tail *int64
	// Since leaves out lines before it; the zero time none.
	Since time.Time
	// LimitBytes ends the output; nil does not.
	LimitBytes *int64
	// Stream shows only one; empty both.
	Stream Stream
}

// FromPodLogOptions translates what the API says. Previous and Container choose
// the file and are the caller's.
func FromPodLogOptions(o *corev1.PodLogOptions, now time.Time) Options {
	out := Options{Follow: o.Follow, Timestamps: o.Timestamps, LimitBytes: o.LimitBytes}
	if o.TailLines != nil && *o.TailLines >= 0 {
		out.Tail = o.TailLines
	}
	switch {
	case o.SinceTime != nil:
		out.Since = o.SinceTime.Time
	case o.SinceSeconds != nil:
		out.Since = now.Add(-time.Duration(*o.SinceSeconds) * time.Second)
	}
	if o.Stream != nil {
		switch *o.Stream {
		case corev1.LogStreamStdout:
			out.Stream = Stdout
		case corev1.LogStreamStderr:
			out.Stream = Stderr
		}
	}
	return out
}

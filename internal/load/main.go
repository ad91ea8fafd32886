// Command load puts a Kubernetes API server under load over HTTPS and says what it did:
// throughput, latencies, and, given the server's process, its CPU time and memory. It
// knows no server of a kind, so that several can be measured side by side:
//
//	go run ./internal/load --kubeconfig data/kubeconfig --pid $(pgrep -x master)
//
// It makes and deletes pods in a namespace of its own. They name a scheduler that does
// not exist, so that nothing but the API is at work. Bodies are encoded before the clock
// starts and answers are read and thrown away: what is measured is the server, and this
// program where both share a machine.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/pflag"
)

// options say how much load there is.
type options struct {
	kubeconfig  string
	namespace   string
	pods        int
	writers     int
	readers     int
	watchers    int
	connections int
	lists       int
	duration    time.Duration
	protobuf    bool
	only        []string
	pids        []int
	keep        bool
}

func main() {
	var o options
	fs := pflag.NewFlagSet("load", pflag.ContinueOnError)
	fs.StringVar(&o.kubeconfig, "kubeconfig", os.Getenv("KUBECONFIG"), "whose current context is loaded (default: $KUBECONFIG)")
	fs.StringVar(&o.namespace, "namespace", "load", "namespace to make, and to delete at the end")
	fs.IntVar(&o.pods, "pods", 10_000, "how many pods there are")
	fs.IntVar(&o.writers, "writers", 32, "how many write at once")
	fs.IntVar(&o.readers, "readers", 32, "how many get at once")
	fs.IntVar(&o.watchers, "watchers", 500, "how many watch the collection while it is patched")
	fs.IntVar(&o.connections, "connections", 8, "how many connections they share")
	fs.IntVar(&o.lists, "lists", 8, "how many list at once, where several do")
	fs.DurationVar(&o.duration, "duration", 5*time.Second, "how long each kind of work but create and delete is done")
	fs.BoolVar(&o.protobuf, "protobuf", true, "write in protobuf, not in JSON")
	fs.StringSliceVar(&o.only, "only", nil, "do this work alone, by the names of the table; create is always done")
	fs.IntSliceVar(&o.pids, "pid", nil, "processes of the server on this machine, whose CPU time and memory are told")
	fs.BoolVar(&o.keep, "keep", false, "leave the namespace and its pods")
	if err := fs.Parse(os.Args[1:]); err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

// run does all work in order, prints a line for each and cleans up.
func run(ctx context.Context, o options) (err error) {
	if o.pods < 1 || o.writers < 1 || o.readers < 1 || o.connections < 1 || o.lists < 1 || o.watchers < 0 || o.duration <= 0 {
		return fmt.Errorf("all counts must be positive")
	}
	s, err := connect(o)
	if err != nil {
		return err
	}
	if err := s.prepare(ctx); err != nil {
		return err
	}
	if !o.keep {
		defer func() {
			// The context may be what ended the work.
			if gone := s.cleanUp(context.WithoutCancel(ctx)); gone != nil && err == nil {
				err = gone
			}
		}()
	}
	fmt.Println(header)
	for _, w := range s.works() {
		if w.name != "create" && len(o.only) > 0 && !slices.Contains(o.only, w.name) {
			continue
		}
		before := usage(o.pids)
		r, err := w.do(ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		fmt.Println(r.line(w.name, before, usage(o.pids)))
	}
	return nil
}

// work is one kind of load.
type work struct {
	name string
	do   func(context.Context) (result, error)
}

// works are all kinds, in the order in which they are done.
func (s *server) works() []work {
	all := []work{{"create", s.create}}
	for _, l := range s.listings() {
		all = append(all, work{"list " + l.name, func(ctx context.Context) (result, error) { return s.repeat(ctx, 1, s.list(l)) }})
	}
	for _, l := range s.listings()[:2] {
		name := fmt.Sprintf("list %s ×%d", l.name, s.options.lists)
		all = append(all, work{name, func(ctx context.Context) (result, error) { return s.repeat(ctx, s.options.lists, s.list(l)) }})
	}
	return append(all,
		work{"get", func(ctx context.Context) (result, error) { return s.repeat(ctx, s.options.readers, s.get) }},
		work{"patch", func(ctx context.Context) (result, error) { return s.repeat(ctx, s.options.writers, s.patch) }},
		work{"patch watched", s.patchWatched},
		work{"delete", s.delete},
	)
}

// header of the table.
var header = strings.Join([]string{
	"| work | operations | per second | p50 | p99 | MB/s | events/s | errors | CPU s | memory MB | peak MB |",
	"|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
}, "\n")

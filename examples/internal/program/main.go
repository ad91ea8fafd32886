package program

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/spf13/pflag"
)

// impatience is how long after a signal to stop another one means: at once. Some
// senders, timeout(1) for one, send each signal twice.
const impatience = time.Second

// Main parses the flags, runs run until SIGINT or SIGTERM, and returns the exit
// status. A second signal ends the process at once.
func Main(name, about string, flags func(*Flags, *pflag.FlagSet), run func(context.Context, *Flags, logr.Logger) error) int {
	var f Flags
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	fs.Usage = func() { fmt.Fprintf(os.Stderr, "%s\n\nUsage: %s [flags]\n\n%s", about, name, fs.FlagUsages()) }
	f.AddCommon(fs)
	flags(&f, fs)
	if err := fs.Parse(os.Args[1:]); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			return 0
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 2
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "%s: unexpected argument %q\n", name, fs.Arg(0))
		return 2
	}
	if err := f.complete(); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 2
	}

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, func() { time.AfterFunc(impatience, stop) }) // then a signal does what it always does
	unlock, err := lock(f.DataDir)
	if err == nil {
		defer unlock()
		err = run(ctx, &f, newLogger(f.Verbosity))
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		return 1
	}
	return 0
}

// Say prints one of the few plain lines that tell the user what happens.
func Say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// newLogger writes to standard error: errors always, the rest up to the verbosity.
func newLogger(verbosity int) logr.Logger {
	write := func(prefix, args string) {
		if prefix != "" {
			args = prefix + ": " + args
		}
		fmt.Fprintln(os.Stderr, args)
	}
	log := funcr.New(write, funcr.Options{LogTimestamp: true, Verbosity: verbosity - 1})
	if verbosity <= 0 {
		return log.WithSink(problems{log.GetSink()})
	}
	return log
}

// problems passes errors only.
type problems struct{ logr.LogSink }

func (problems) Enabled(int) bool { return false }

func (p problems) WithName(name string) logr.LogSink { return problems{p.LogSink.WithName(name)} }
func (p problems) WithValues(kv ...any) logr.LogSink { return problems{p.LogSink.WithValues(kv...)} }

// lock makes the data directory and takes it for this process, so that two never
// write to it at once. The lock goes with the process, however that ends.
func lock(dir string) (unlock func(), err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("--data-dir: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		f.Close()
		return nil, fmt.Errorf("--data-dir %s is in use by another process", dir)
	}
	return func() { f.Close() }, nil
}

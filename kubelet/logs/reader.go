package logs

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/go-logr/logr"
)

// Config configures a [Reader].
type Config struct {
	// Watch tells of changes of a file; nil is [WatchFile], the kernel's
	// notifications. Where it fails, and beside it, the file is looked at each
	// Poll.
	Watch func(path string) (changes <-chan struct{}, stop func(), err error)
	// Poll is how often a followed file is looked at and its container asked
	// for, besides notifications. Default 1 s.
	Poll time.Duration
	// Logger; the zero value is silent.
	Logger logr.Logger
}

// Reader reads log files. Safe for concurrent use.
type Reader struct{ cfg Config }

// New validates the configuration.
func New(cfg Config) (*Reader, error) {
	if cfg.Watch == nil {
		cfg.Watch = WatchFile
	}
	if cfg.Poll == 0 {
		cfg.Poll = time.Second
	}
	if cfg.Poll < 0 {
		return nil, fmt.Errorf("logs: Config.Poll must not be negative: %v", cfg.Poll)
	}
	return &Reader{cfg: cfg}, nil
}

// Read writes a log to stdout and stderr, which may be the same. With Follow it
// blocks until ctx ends or the container has ended and everything is read;
// running, which may be nil for a container that has ended, says whether it
// runs. A file that is rotated meanwhile is followed to its successor. A file
// that does not exist is an error of os.Open.
func (r *Reader) Read(ctx context.Context, path string, opts Options, running func(context.Context) (bool, error), stdout, stderr io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { f.Close() }()

	var changes <-chan struct{}
	if opts.Follow {
		var stop func()
		// Watched before it is read, so that nothing is missed in between.
		changes, stop, err = r.cfg.Watch(path)
		if err != nil {
			r.cfg.Logger.V(1).Info("following a log by looking at it now and then", "path", path, "err", err)
		} else {
			defer stop()
		}
	}
	if opts.Tail != nil {
		info, err := f.Stat()
		if err != nil {
			return err
		}
		at, err := tailOffset(f, info.Size(), *opts.Tail, opts.Stream)
		if err != nil {
			return err
		}
		if _, err := f.Seek(at, io.SeekStart); err != nil {
			return err
		}
	}
	out := newPrinter(opts, stdout, stderr)
	in := records{r: bufio.NewReaderSize(f, 64<<10)}

	ended := !opts.Follow || running == nil
	for {
		// To the end of what is there.
		for {
			if err := ctx.Err(); err != nil {
				return contextEnd(err)
			}
			raw, err := in.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return err
			}
			if err := out.record(raw); err != nil {
				return limitEnd(err)
			}
		}
		if next, err := successor(f, path); err != nil {
			return err
		} else if next != nil {
			// The old file may have grown between its end and its renaming.
			if err := drain(&in, out); err != nil {
				next.Close()
				return limitEnd(err)
			}
			f.Close()
			f = next
			in = records{r: bufio.NewReaderSize(f, 64<<10)}
			continue
		}
		if ended {
			return limitEnd(in.rest(out))
		}
		alive, err := running(ctx)
		if err != nil {
			return contextEnd(err)
		}
		if !alive {
			// What it wrote last may have come after our last read.
			ended = true
			continue
		}
		timer := time.NewTimer(r.cfg.Poll)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-changes:
			timer.Stop()
		case <-timer.C:
		}
	}
}

// successor opens the file that has taken path from f; nil where none has. A
// file that was cut is read from its beginning again.
func successor(f *os.File, path string) (*os.File, error) {
	now, err := os.Stat(path)
	if os.IsNotExist(err) {
		return nil, nil // being rotated, or removed with its container
	}
	if err != nil {
		return nil, err
	}
	held, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !os.SameFile(now, held) {
		next, err := os.Open(path)
		if os.IsNotExist(err) {
			return nil, nil
		}
		return next, err
	}
	at, err := f.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, err
	}
	if held.Size() < at {
		return os.Open(path)
	}
	return nil, nil
}

func drain(in *records, out *printer) error {
	for {
		raw, err := in.next()
		if errors.Is(err, io.EOF) {
			return in.rest(out)
		}
		if err != nil {
			return err
		}
		if err := out.record(raw); err != nil {
			return err
		}
	}
}

func contextEnd(err error) error {
	if errors.Is(err, context.Canceled) {
		return nil // the reader went away
	}
	return err
}

// records splits a file that still grows into records.
type records struct {
	r       *bufio.Reader
	partial []byte
}

// maxRecord bounds one record; runtimes split lines at 16 KiB.
const maxRecord = 1 << 20

// next returns a whole record; io.EOF where there is none yet. The result is
// valid until the next call.
func (s *records) next() ([]byte, error) {
	for {
		b, err := s.r.ReadSlice('\n')
		if err == nil {
			if len(s.partial) == 0 {
				return b, nil
			}
			whole := append(s.partial, b...)
			s.partial = s.partial[len(s.partial):]
			return whole, nil
		}
		s.partial = append(s.partial, b...)
		if errors.Is(err, bufio.ErrBufferFull) && len(s.partial) < maxRecord {
			continue
		}
		if errors.Is(err, bufio.ErrBufferFull) {
			whole := s.partial
			s.partial = nil
			return whole, nil
		}
		return nil, err
	}
}

// rest prints a last record that has no line feed.
func (s *records) rest(out *printer) error {
	if len(s.partial) == 0 {
		return nil
	}
	raw := s.partial
	s.partial = nil
	return out.record(raw)
}

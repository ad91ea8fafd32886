package containerd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/strake-io/strake/runtime"
)

// pipeSize is how much output waits for a reader, in bytes.
const pipeSize = 256 << 10

// streams are the FIFOs of one process, opened at our side. The shim has the other
// side, and keeps both ends of each open while the process lives, so that ours may
// come and go.
type streams struct {
	dir            string
	tty            bool
	stdin          *os.File // nil: the process has none
	stdout, stderr *os.File
	closeStdin     sync.Once
}

// openStreams makes the FIFOs that are not there yet and opens our sides.
func openStreams(dir string, stdin, tty bool) (_ *streams, err error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &streams{dir: dir, tty: tty}
	defer func() {
		if err != nil {
			s.close()
		}
	}()
	open := func(name string, flag int) (*os.File, error) {
		path := filepath.Join(dir, name)
		if err := unix.Mkfifo(path, 0o600); err != nil && !errors.Is(err, unix.EEXIST) {
			return nil, fmt.Errorf("fifo %s: %w", path, err)
		}
		f, err := os.OpenFile(path, flag|unix.O_NONBLOCK, 0)
		if err != nil {
			return nil, err
		}
		// Room for what is printed while nobody reads; a refusal leaves the
		// kernel's 64 KiB.
		if raw, err := f.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { _, _ = unix.FcntlInt(fd, unix.F_SETPIPE_SZ, pipeSize) })
		}
		return f, nil
	}
	if stdin {
		// For both directions, so that opening doesn't wait for the shim.
		if s.stdin, err = open("stdin", os.O_RDWR); err != nil {
			return nil, err
		}
	}
	// For reading alone: the end comes when the shim has closed its side. Nobody
	// must read before the shim has opened it.
	if s.stdout, err = open("stdout", os.O_RDONLY); err != nil {
		return nil, err
	}
	if !tty {
		if s.stderr, err = open("stderr", os.O_RDONLY); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// path of a stream for the shim; empty where there is none.
func (s *streams) path(name string) string {
	if name == "stdin" && s.stdin == nil || name == "stderr" && s.tty {
		return ""
	}
	return filepath.Join(s.dir, name)
}

// close closes our sides, which ends all reads and writes.
func (s *streams) close() {
	s.endStdin()
	for _, f := range []*os.File{s.stdout, s.stderr} {
		if f != nil {
			_ = f.Close()
		}
	}
}

func (s *streams) endStdin() {
	s.closeStdin.Do(func() {
		if s.stdin != nil {
			_ = s.stdin.Close()
		}
	})
}

// remove deletes the FIFOs. The shim has them no more, or will not miss them.
func (s *streams) remove() { _ = os.RemoveAll(s.dir) }

// attachment is a client that sees a process's output.
type attachment struct {
	chunks chan chunk    // closed by the hub when the output is over
	gone   chan struct{} // closed by the client when it leaves
	turns  atomic.Uint64 // counts the beginnings and the ends of writes to the client
}

type chunk struct {
	stderr bool
	data   []byte
}

// hub carries a container's output to its log and to whoever is attached. A client
// that does not read holds up the container, as a terminal would, until it leaves.
type hub struct {
	streams *streams
	log     *logFile

	mu       sync.Mutex // guards the two below
	attached map[*attachment]struct{}
	over     bool
}

func newHub(s *streams, log *logFile) *hub {
	return &hub{streams: s, log: log, attached: map[*attachment]struct{}{}}
}

// copy carries until both streams have ended or are closed. From the end of ctx on
// it waits for no client.
func (h *hub) copy(ctx context.Context) {
	var both sync.WaitGroup
	both.Go(func() { h.carry(ctx, h.streams.stdout, false) })
	if h.streams.stderr != nil {
		both.Go(func() { h.carry(ctx, h.streams.stderr, true) })
	}
	both.Wait()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.over = true
	for a := range h.attached {
		close(a.chunks)
	}
	clear(h.attached)
}

func (h *hub) carry(ctx context.Context, from *os.File, stderr bool) {
	split := lines{stream: "stdout"}
	if stderr {
		split.stream = "stderr"
	}
	buf := make([]byte, 8<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if out := split.add(time.Now(), buf[:n]); len(out) > 0 {
				h.log.write(out)
			}
			h.spread(ctx, stderr, buf[:n])
		}
		if err != nil {
			// Closed by us: the next process to come goes on from here, and the
			// line's beginning is better in the log than lost.
			if out := split.end(time.Now()); len(out) > 0 {
				h.log.write(out)
			}
			return
		}
	}
}

func (h *hub) spread(ctx context.Context, stderr bool, data []byte) {
	h.mu.Lock()
	var to []*attachment
	for a := range h.attached {
		to = append(to, a)
	}
	h.mu.Unlock()
	if len(to) == 0 {
		return
	}
	c := chunk{stderr: stderr, data: append([]byte(nil), data...)}
	for _, a := range to {
		select {
		case a.chunks <- c:
		case <-a.gone:
		case <-ctx.Done():
		}
	}
}

// join connects a client; nil if the output is over. The client leaves by leave.
func (h *hub) join() *attachment {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.over {
		return nil
	}
	a := &attachment{chunks: make(chan chunk, 16), gone: make(chan struct{})}
	h.attached[a] = struct{}{}
	return a
}

func (h *hub) leave(a *attachment) {
	close(a.gone)
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.attached, a)
}

// attach connects a client until the output is over or ctx ends.
func (h *hub) attach(ctx context.Context, io runtime.StreamIO) error {
	a := h.join()
	if a == nil {
		return nil
	}
	defer h.leave(a)
	return a.deliver(ctx, io)
}

// deliver writes the output to the client until it is over or ctx ends.
func (a *attachment) deliver(ctx context.Context, io runtime.StreamIO) error {
	for {
		select {
		case c, ok := <-a.chunks:
			if !ok {
				return nil
			}
			to := io.Stdout
			if c.stderr {
				to = io.Stderr
			}
			if to == nil {
				continue
			}
			a.turns.Add(1)
			_, err := to.Write(c.data)
			a.turns.Add(1)
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// drain waits for the output of a command that has ended, which is over when
// delivered closes. A child that the command left behind may hold it for ever: it is
// given up when nothing came for a while. A slow client is waited for.
func (a *attachment) drain(ctx context.Context, delivered <-chan struct{}) {
	for seen := a.turns.Load(); ; {
		select {
		case <-delivered:
			return
		case <-ctx.Done():
			return
		case <-time.After(quiet):
		}
		now := a.turns.Load()
		if now == seen && now%2 == 0 {
			return
		}
		seen = now
	}
}

// feed copies a client's input to a process until it ends; then ended says so. The
// goroutine ends with the client's stream, which whoever gave it closes when the
// call has returned.
func (s *streams) feed(in io.Reader, ended func()) {
	if in == nil || s.stdin == nil {
		return
	}
	go func() {
		_, err := io.Copy(s.stdin, in)
		if err != nil && !errors.Is(err, fs.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			return // the client was cut off: the input may go on with another
		}
		if ended != nil {
			ended()
		}
	}()
}

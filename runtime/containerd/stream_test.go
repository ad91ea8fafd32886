package containerd

import (
	"context"
	"io"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/strake-io/strake/runtime"
)

// slow is a client that takes its time for each write.
type slow struct {
	each time.Duration
	text strings.Builder
}

func (s *slow) Write(p []byte) (int, error) {
	time.Sleep(s.each)
	return s.text.Write(p)
}

func TestTheEndOfACommandsOutputIsNotLost(t *testing.T) {
	for _, each := range []time.Duration{0, quiet / 2, 3 * quiet} {
		synctest.Test(t, func(t *testing.T) {
			a := &attachment{chunks: make(chan chunk, 16), gone: make(chan struct{})}
			for range cap(a.chunks) {
				a.chunks <- chunk{data: []byte("line\n")}
			}
			close(a.chunks)
			to, delivered := &slow{each: each}, make(chan struct{})
			go func() {
				defer close(delivered)
				_ = a.deliver(t.Context(), runtime.StreamIO{Stdout: to})
			}()
			a.drain(t.Context(), delivered)
			select {
			case <-delivered:
			default:
				t.Errorf("%v for each write: given up after %q", each, to.text.String())
			}
			<-delivered
		})
	}
}

func TestAChildThatHoldsTheOutputIsNotWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &attachment{chunks: make(chan chunk), gone: make(chan struct{})}
		begun := time.Now()
		a.drain(t.Context(), make(chan struct{}))
		if took := time.Since(begun); took != quiet {
			t.Errorf("waited for %v, want %v", took, quiet)
		}
	})
}

func TestAStuckClientKeepsNoEndBack(t *testing.T) {
	stdout, process, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	log, err := openLog(t.TempDir() + "/log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.close()
	h := newHub(&streams{stdout: stdout}, log)
	a := h.join() // and never reads
	defer h.leave(a)
	ctx, release := context.WithCancel(t.Context())
	defer release()
	copied := make(chan struct{})
	go func() {
		defer close(copied)
		h.copy(ctx)
	}()
	// More than the client's backlog holds, in any sizes of reads, but not more
	// than a pipe.
	if _, err := io.WriteString(process, strings.Repeat("a line\n", 5000)); err != nil {
		t.Fatal(err)
	}
	for range cap(a.chunks) {
		if _, err := io.WriteString(process, "more\n"); err != nil {
			t.Fatal(err)
		}
	}
	_ = process.Close()
	release()
	<-copied
	if text, err := os.ReadFile(log.path); err != nil || strings.Count(string(text), "\n") != 5000+cap(a.chunks) {
		t.Errorf("the log has %d lines, %v", strings.Count(string(text), "\n"), err)
	}
	_ = stdout.Close()
}

package nodeproxy

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A deadline that passes while a read is being served must not be felt after it
// was lifted: net/http does that whenever a connection is upgraded.
func TestLiftedDeadline(t *testing.T) {
	a, b := memoryPipe()
	defer a.Close()
	defer b.Close()
	buf := make([]byte, 1)
	for range 2000 {
		go b.Write([]byte("x"))
		a.SetReadDeadline(time.Unix(1, 0))
		a.SetReadDeadline(time.Time{})
		if _, err := a.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMemoryPipe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := memoryPipe()
		begin := time.Now()
		a.SetDeadline(begin.Add(time.Minute))
		_, err := a.Read(make([]byte, 1))
		var timeout net.Error
		if !errors.Is(err, os.ErrDeadlineExceeded) || !errors.As(err, &timeout) || !timeout.Timeout() || time.Since(begin) != time.Minute {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
		a.SetDeadline(time.Time{})
		if n, err := a.Write(make([]byte, pipeBuffer)); n != pipeBuffer || err != nil {
			t.Errorf("a full buffer: %d, %v", n, err)
		}
		a.SetWriteDeadline(time.Now().Add(time.Second))
		if n, err := a.Write([]byte("x")); n != 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("beyond the buffer: %d, %v", n, err)
		}
		a.Close()
		got := 0
		for buf := make([]byte, 1000); ; {
			n, err := b.Read(buf)
			got += n
			if err != nil {
				break
			}
		}
		if got != pipeBuffer {
			t.Errorf("closing lost what was on its way: %d bytes came", got)
		}
		if _, err := b.Write([]byte("x")); err == nil {
			t.Error("written to nobody")
		}
	})
}

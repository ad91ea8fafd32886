package containerd

import (
	"bytes"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// maxLogLine is where long lines are cut; the parts are tagged P, the last F.
const maxLogLine = 16 << 10

// logFile appends to a container's log in the CRI's format:
//
//	2026-01-02T15:04:05.999999999Z stdout F a whole line
//	2026-01-02T15:04:05.999999999Z stderr P the beginning of a long one
//
// It may be opened anew at any time, after a rotation.
type logFile struct {
	path string

	mu     sync.Mutex // guards the rest, and writes against each other
	file   *os.File
	closed bool // for good: a rotation that comes late opens nothing
}

func openLog(path string) (*logFile, error) {
	l := &logFile{path: path}
	if path == "" {
		return l, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	return l, l.reopen()
}

func (l *logFile) reopen() error {
	if l.path == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	if l.file != nil {
		_ = l.file.Close()
	}
	l.file = f
	return nil
}

func (l *logFile) write(b []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.file != nil {
		// A full disk must not stop the container: its output is lost, as
		// with every runtime.
		_, _ = l.file.Write(b)
	}
}

func (l *logFile) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.file != nil {
		_ = l.file.Close()
		l.file = nil
	}
}

// lines turns the bytes of one stream into log lines. It keeps what has no end of
// line yet.
type lines struct {
	stream  string // "stdout" or "stderr"
	partial []byte
}

// add takes what was read at a time and returns log lines to write.
func (s *lines) add(now time.Time, data []byte) []byte {
	var out []byte
	for len(data) > 0 {
		end := bytes.IndexByte(data, '\n')
		room := maxLogLine - len(s.partial)
		switch {
		case end >= 0 && end <= room:
			out = s.line(out, now, 'F', data[:end])
			data = data[end+1:]
		case len(data) >= room:
			out = s.line(out, now, 'P', data[:room])
			data = data[room:]
		default:
			s.partial = append(s.partial, data...)
			data = nil
		}
	}
	return out
}

// end returns what is left when the stream is over. It is no whole line.
func (s *lines) end(now time.Time) []byte {
	if len(s.partial) == 0 {
		return nil
	}
	return s.line(nil, now, 'P', nil)
}

func (s *lines) line(out []byte, now time.Time, tag byte, rest []byte) []byte {
	// Nanoseconds with all nine digits, so that times sort as text.
	out = now.UTC().AppendFormat(out, "2006-01-02T15:04:05.000000000Z07:00")
	out = append(out, ' ')
	out = append(out, s.stream...)
	out = append(out, ' ', tag, ' ')
	out = append(out, s.partial...)
	out = append(out, rest...)
	s.partial = s.partial[:0]
	return append(out, '\n')
}

package audit

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

	auditv1 "k8s.io/apiserver/pkg/apis/audit/v1"
)

// Log is a sink that writes each event as a line of JSON.
type Log struct {
	mu sync.Mutex
	to io.Writer
}

// NewLog writes to a file, or to whatever rotates files. One event is one Write.
func NewLog(to io.Writer) *Log { return &Log{to: to} }

// Write implements [Sink].
func (l *Log) Write(event *auditv1.Event) error {
	line, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("encode audit event: %w", err)
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, err := l.to.Write(append(line, '\n')); err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	return nil
}

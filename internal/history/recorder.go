package history

import (
	"sync"
	"time"
)

// Recorder collects the operations of all clients. It is safe for concurrent use.
type Recorder struct {
	begun time.Time
	mu    sync.Mutex // guards ops
	ops   []Operation
}

// NewRecorder starts the clock of a history.
func NewRecorder() *Recorder { return &Recorder{begun: time.Now()} }

// Clock is the time of the history, in nanoseconds.
func (r *Recorder) Clock() int64 { return int64(time.Since(r.begun)) }

// Do makes one operation of a client, and records it.
func (r *Recorder) Do(client int, in Input, call func() Output) Output {
	op := Operation{Client: client, Input: in, Call: r.Clock()}
	op.Output = call()
	op.Return = r.Clock()
	r.mu.Lock()
	r.ops = append(r.ops, op)
	r.mu.Unlock()
	return op.Output
}

// take returns what has been recorded since the last call.
func (r *Recorder) take() []Operation {
	r.mu.Lock()
	defer r.mu.Unlock()
	ops := r.ops
	r.ops = nil
	return ops
}

package history

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/anishathalye/porcupine"
)

// patience is how long porcupine may think about one round.
const patience = 2 * time.Minute

// Checker judges a history round by round. Between two rounds no client has an
// operation underway, but those of unknown outcome.
type Checker struct {
	*Recorder
	*Log
	// Dir is where drawings of what is wrong go. Default: the system's for
	// temporary files.
	Dir string

	base  *State
	open  []Operation
	stats Stats
}

// Stats count what has been judged.
type Stats struct {
	Rounds, Operations, Writes, Conflicts int
	// Unknown operations: those that turned out to have happened, and those of which
	// nobody saw anything.
	Happened, Vanished int
}

func (s Stats) String() string {
	return fmt.Sprintf("%d operations in %d rounds: %d writes, %d conflicts; of those of unknown outcome %d happened and %d were not seen",
		s.Operations, s.Rounds, s.Writes, s.Conflicts, s.Happened, s.Vanished)
}

// NewChecker begins a history at a state.
func NewChecker(start *State) *Checker {
	r := NewRecorder()
	return &Checker{Recorder: r, Log: NewLog(start, r.Clock), base: start}
}

// Stats so far.
func (c *Checker) Stats() Stats {
	s := c.stats
	s.Vanished = len(c.open)
	return s
}

// Round judges the operations since the last one. The log has reached upTo, and no write
// that was acknowledged has a greater revision; later writes belong to the next round.
func (c *Checker) Round(upTo int64) error {
	ops, writes := c.take(), c.between(c.base.Revision, upTo)
	c.stats.Rounds++
	c.stats.Operations += len(ops)
	c.stats.Writes += len(writes)
	unknown := len(c.open)
	for _, op := range ops {
		switch op.Output.Outcome {
		case Conflict:
			c.stats.Conflicts++
		case Unknown:
			if op.Input.Kind == Put || op.Input.Kind == Delete {
				unknown++
			}
		}
	}
	settled, open, err := settle(append(c.open, ops...), writes)
	if err != nil {
		return err
	}
	c.stats.Happened += unknown - len(open)
	c.open = open
	if err := linearizable(c.base, settled, c.Dir); err != nil {
		return err
	}
	c.base = &State{Revision: upTo, Keys: c.keysAt(upTo)}
	return nil
}

// keysAt is the map at a revision after that of the round before.
func (c *Checker) keysAt(revision int64) map[string]KV {
	s := c.base
	for _, w := range c.between(c.base.Revision, revision) {
		in := Input{Kind: Put, Key: w.Key, Value: w.Value, If: Any}
		if w.Deleted {
			in.Kind = Delete
		}
		_, s = Step(s, in, Output{Revision: w.Revision})
	}
	return s.Keys
}

// ErrUndecided says that porcupine did not come to an end.
var ErrUndecided = errors.New("whether the history is linearizable was not decided in time")

// linearizable lets porcupine judge.
func linearizable(start *State, ops []Operation, dir string) error {
	model := porcupine.Model{
		Init: func() any { return start },
		Step: func(state, in, out any) (bool, any) {
			ok, next := Step(state.(*State), in.(Input), out.(Output))
			return ok, next
		},
		Equal:             func(a, b any) bool { return a.(*State).equal(b.(*State)) },
		Hash:              func(s any) uint64 { return uint64(s.(*State).Revision) },
		DescribeOperation: func(in, out any) string { return describe(in.(Input), out.(Output)) },
		DescribeState:     func(s any) string { return s.(*State).String() },
	}
	history := make([]porcupine.Operation, len(ops))
	for i, op := range ops {
		history[i] = porcupine.Operation{ClientId: op.Client, Call: op.Call, Return: op.Return, Input: op.Input, Output: op.Output}
	}
	switch porcupine.CheckOperationsTimeout(model, history, patience) {
	case porcupine.Ok:
		return nil
	case porcupine.Unknown:
		return fmt.Errorf("%w: %d operations", ErrUndecided, len(ops))
	}
	_, info := porcupine.CheckOperationsVerbose(model, history, patience)
	file, err := draw(model, info, dir)
	return errors.Join(fmt.Errorf("the history is not linearizable: %d operations, drawn in %s", len(ops), file), err)
}

func draw(model porcupine.Model, info porcupine.LinearizationInfo, dir string) (string, error) {
	f, err := os.CreateTemp(dir, "history-*.html")
	if err != nil {
		return "", err
	}
	defer f.Close()
	file, err := filepath.Abs(f.Name())
	return file, errors.Join(err, porcupine.Visualize(model, info, f))
}

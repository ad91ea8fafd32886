package history

import (
	"fmt"
	"slices"
)

// settle brings operations and log together. Every write of the log is claimed by the
// operation that made it. The result are the operations that took effect or were
// answered, with their revisions, and those that may still take effect.
func settle(ops []Operation, writes []write) (settled, open []Operation, err error) {
	s := settling{byRevision: map[int64]int{}, byValue: map[string]int{}, claimed: make([]bool, len(writes)), writes: writes}
	for i, w := range writes {
		s.byRevision[w.Revision] = i
		if w.Deleted {
			continue
		}
		if twice, has := s.byValue[w.Value]; has {
			return nil, nil, fmt.Errorf("one put took effect twice: %+v and %+v", writes[twice].Event, w.Event)
		}
		s.byValue[w.Value] = i
	}
	for _, op := range ops {
		if err := s.known(op); err != nil {
			return nil, nil, err
		}
	}
	s.deletions()
	for i, w := range writes {
		if !s.claimed[i] {
			return nil, nil, fmt.Errorf("nobody made the write %+v", w.Event)
		}
	}
	for _, op := range s.settled {
		if op.Return < op.Call {
			return nil, nil, fmt.Errorf("it was seen before it was asked for: %s", describe(op.Input, op.Output))
		}
	}
	return s.settled, s.open, nil
}

type settling struct {
	writes        []write
	claimed       []bool
	byRevision    map[int64]int
	byValue       map[string]int
	settled, open []Operation
	uncertain     []Operation // deletions
}

// known settles all but deletions of which nobody knows whether they happened.
func (s *settling) known(op Operation) error {
	writes := op.Input.Kind == Put || op.Input.Kind == Delete
	switch {
	case !writes && (op.Output.Outcome == Unknown || op.Output.Outcome == Failed):
		return nil
	case !writes:
		s.settled = append(s.settled, op)
		return nil
	case op.Output.Outcome == OK:
		return s.acknowledged(op)
	case op.Input.Kind == Delete && op.Output.Outcome == Unknown:
		s.uncertain = append(s.uncertain, op)
		return nil
	case op.Input.Kind == Put:
		i, happened := s.byValue[op.Input.Value]
		if op.Output.Outcome != Unknown {
			if happened {
				return fmt.Errorf("it took effect at %d: %s", s.writes[i].Revision, describe(op.Input, op.Output))
			}
			break
		}
		if !happened {
			s.open = append(s.open, op)
			return nil
		}
		s.claim(op, i)
		return nil
	}
	if op.Output.Outcome == Conflict {
		s.settled = append(s.settled, op)
	}
	return nil
}

// acknowledged finds the write of an operation that was answered so.
func (s *settling) acknowledged(op Operation) error {
	i, found := s.byRevision[op.Output.Revision]
	if op.Output.Revision == 0 {
		i, found = s.of(op)
	}
	if !found {
		return fmt.Errorf("it was acknowledged and the witness has not seen it: %s", describe(op.Input, op.Output))
	}
	w := s.writes[i]
	if w.Key != op.Input.Key || w.Deleted != (op.Input.Kind == Delete) || !w.Deleted && w.Value != op.Input.Value || s.claimed[i] {
		return fmt.Errorf("it was acknowledged: %s, but the witness saw %+v there (claimed: %v)", describe(op.Input, op.Output), w.Event, s.claimed[i])
	}
	s.claimed[i] = true
	op.Output.Revision = w.Revision
	s.settled = append(s.settled, op)
	return nil
}

// of finds the write of an operation that was not told its revision.
func (s *settling) of(op Operation) (int, bool) {
	if op.Input.Kind == Put {
		i, found := s.byValue[op.Input.Value]
		return i, found
	}
	i := slices.IndexFunc(s.writes, func(w write) bool {
		return w.Deleted && w.Key == op.Input.Key && w.Identity == op.Output.Identity
	})
	return i, i >= 0
}

// deletions gives those writes that are left to the uncertain ones: a deletion under a
// revision can have made only one write, so those choose first; of the others that
// which was called first can have made any write that a later one can.
func (s *settling) deletions() {
	slices.SortStableFunc(s.uncertain, func(a, b Operation) int {
		if a.Input.If > 0 != (b.Input.If > 0) {
			if a.Input.If > 0 {
				return -1
			}
			return 1
		}
		return int(max(min(a.Call-b.Call, 1), -1))
	})
	for _, op := range s.uncertain {
		i := slices.IndexFunc(s.writes, func(w write) bool {
			return w.Deleted && w.Key == op.Input.Key && !s.claimed[s.byRevision[w.Revision]] && op.Call <= w.seen &&
				(op.Input.If < 0 || int64(op.Input.If) == w.before.Last)
		})
		if i < 0 {
			s.open = append(s.open, op)
			continue
		}
		s.claim(op, i)
	}
}

// claim says that an operation of unknown outcome made a write: before it was seen.
func (s *settling) claim(op Operation, i int) {
	s.claimed[i] = true
	op.Output = Output{Outcome: OK, Revision: s.writes[i].Revision}
	op.Return = s.writes[i].seen
	s.settled = append(s.settled, op)
}

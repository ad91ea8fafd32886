package history

import (
	"fmt"
	"maps"
)

// State is the map at a revision. It is never changed: [Step] makes others.
type State struct {
	Revision int64
	Keys     map[string]KV
}

func (s *State) equal(other *State) bool {
	return s.Revision == other.Revision && maps.Equal(s.Keys, other.Keys)
}

func (s *State) String() string { return fmt.Sprintf("%d %v", s.Revision, s.Keys) }

// Step says whether a state may answer an operation so, and the state after it. It
// takes no operation whose outcome is unknown.
func Step(s *State, in Input, out Output) (bool, *State) {
	switch in.Kind {
	case Put, Delete:
		return s.write(in, out)
	case Get:
		kv, exists := s.Keys[in.Key]
		if exists != (len(out.KVs) == 1) || exists && !kv.equal(out.KVs[0]) {
			return false, s
		}
	case List:
		if len(out.KVs) != len(s.Keys) {
			return false, s
		}
		for _, kv := range out.KVs {
			if held, exists := s.Keys[kv.Key]; !exists || !held.equal(kv) {
				return false, s
			}
		}
	}
	return s.at(out.Revision)
}

// at is the state found at a revision by a read: nothing has changed, but whatever
// comes later has a greater one.
func (s *State) at(revision int64) (bool, *State) {
	switch {
	case revision == 0 || revision == s.Revision:
		return true, s
	case revision < s.Revision:
		return false, s
	}
	return true, &State{Revision: revision, Keys: s.Keys}
}

func (s *State) write(in Input, out Output) (bool, *State) {
	kv, exists := s.Keys[in.Key]
	holds := in.If.holds(kv, exists) && (exists || in.Kind == Put)
	if out.Outcome == Conflict {
		told := len(out.KVs) == 1
		if holds || out.Told && (told != exists || told && !kv.equal(out.KVs[0])) {
			return false, s
		}
		return true, s
	}
	if !holds || out.Revision <= s.Revision {
		return false, s
	}
	next := &State{Revision: out.Revision, Keys: make(map[string]KV, len(s.Keys)+1)}
	maps.Copy(next.Keys, s.Keys)
	if in.Kind == Delete {
		delete(next.Keys, in.Key)
		return true, next
	}
	if !exists {
		kv.Created = out.Revision
	}
	next.Keys[in.Key] = KV{Key: in.Key, Value: in.Value, Created: kv.Created, Last: out.Revision}
	return true, next
}

func (c Condition) holds(kv KV, exists bool) bool {
	switch c {
	case Any:
		return true
	case Absent:
		return !exists
	case Present:
		return exists
	}
	return exists && kv.Last == int64(c)
}

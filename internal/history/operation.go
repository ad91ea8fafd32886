package history

import "fmt"

// Kind of an operation.
type Kind uint8

const (
	// Put writes Value to Key where the condition holds.
	Put Kind = iota
	// Delete removes Key where it exists and the condition holds.
	Delete
	// Get reads Key.
	Get
	// List reads all keys.
	List
	// Now reads the revision.
	Now
)

// Condition of a write: one of those below, or the revision of the key's last write.
type Condition int64

const (
	// Absent holds where the key does not exist.
	Absent Condition = 0
	// Any always holds.
	Any Condition = -1
	// Present holds where the key exists.
	Present Condition = -2
)

func (c Condition) String() string {
	switch c {
	case Absent:
		return "absent"
	case Any:
		return "any"
	case Present:
		return "present"
	}
	return fmt.Sprintf("at %d", int64(c))
}

// Input is what a client asked.
type Input struct {
	Kind  Kind
	Key   string
	Value string // no two puts of a history write the same
	If    Condition
}

// Outcome of an operation.
type Outcome uint8

const (
	// OK says that it was done.
	OK Outcome = iota
	// Conflict says that the condition did not hold.
	Conflict
	// Failed says that nothing was done, for a reason that is not judged.
	Failed
	// Unknown says that it may have been done, or may be later.
	Unknown
)

// KV is a key as it was read. A Created of 0 was not told.
type KV struct {
	Key, Value    string
	Created, Last int64
}

func (kv KV) equal(other KV) bool {
	if kv.Created == 0 || other.Created == 0 {
		kv.Created, other.Created = 0, 0
	}
	return kv == other
}

// Output is what a client was answered.
type Output struct {
	Outcome Outcome
	// Revision of a write, or at which a read was true; 0 where it was not told.
	Revision int64
	// KVs are what was read. For a conflict they are what the key held, where Told.
	KVs  []KV
	Told bool
	// Identity of what was deleted, where it was told: no other has it.
	Identity string
}

// Operation is an input with its output, and the times between which it took effect.
type Operation struct {
	Client       int
	Call, Return int64
	Input        Input
	Output       Output
}

// describe an operation for a drawing.
func describe(in Input, out Output) string {
	var what string
	switch in.Kind {
	case Put:
		what = fmt.Sprintf("put %s=%s if %v", in.Key, in.Value, in.If)
	case Delete:
		what = fmt.Sprintf("delete %s if %v", in.Key, in.If)
	case Get:
		what = "get " + in.Key
	case List:
		what = "list"
	case Now:
		what = "revision"
	}
	answer := fmt.Sprintf("at %d", out.Revision)
	switch {
	case out.Outcome == Conflict && out.Told:
		answer = fmt.Sprintf("conflict with %v", out.KVs)
	case out.Outcome == Conflict:
		answer = "conflict"
	case out.Outcome == Unknown:
		answer = "unknown"
	case out.Outcome == Failed:
		answer = "failed"
	case in.Kind == Get || in.Kind == List:
		answer = fmt.Sprintf("%v at %d", out.KVs, out.Revision)
	}
	return what + " -> " + answer
}

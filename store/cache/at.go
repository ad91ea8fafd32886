package cache

// At says how fresh a read must be. The zero value is [Latest].
type At struct {
	kind     atKind
	revision int64
}

type atKind uint8

const (
	atLatest atKind = iota
	atAny
	atNotOlderThan
	atExactly
)

var (
	// Latest is a consistent read: it sees every write that returned before
	// the call. It asks the store for its revision and waits until the cache
	// has reached it.
	Latest = At{}
	// Any takes whatever the cache holds, without waiting.
	Any = At{kind: atAny}
)

// NotOlderThan waits until the cache has reached the revision.
func NotOlderThan(revision int64) At { return At{atNotOlderThan, revision} }

// Exactly reads the state as of the revision, waiting for it where it has not
// been reached; where it lies before the kept history the read fails with
// [ErrTooOld].
func Exactly(revision int64) At { return At{atExactly, revision} }

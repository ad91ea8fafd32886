package cache

import "sync/atomic"

// EventType says what happened to an object.
type EventType uint8

const (
	// Added is a creation.
	Added EventType = iota
	// Modified is a change.
	Modified
	// Deleted is a deletion.
	Deleted
)

func (t EventType) String() string {
	switch t {
	case Added:
		return "ADDED"
	case Modified:
		return "MODIFIED"
	default:
		return "DELETED"
	}
}

// Event is one write to one object. Like entries, events are shared.
type Event struct {
	Type EventType
	// Entry is the object after the write; of a deletion, the last state with
	// the revision of the deletion.
	Entry *Entry
	// Old is the object before the write; nil for Added. With it a selector
	// can tell whether the object enters or leaves what it selects.
	Old *Entry
	// Revision of the write.
	Revision int64

	resource *Resource
	left     *atomic.Pointer[Entry]
}

// Left is the last state with the revision of this event: what a watcher is told
// with a DELETED event when the object goes, or when it leaves what the watcher
// selects. It is made once and shared, its encodings too. It is nil for Added.
func (e *Event) Left() *Entry {
	switch {
	case e.Type == Deleted:
		return e.Entry
	case e.Old == nil:
		return nil
	}
	if left := e.left.Load(); left != nil {
		return left
	}
	e.left.CompareAndSwap(nil, e.resource.at(e.Old, e.Revision))
	return e.left.Load()
}

// Batch is the next piece of a watch.
type Batch struct {
	// Events of one or more whole revisions, in order. The slice is shared and
	// read-only; it is empty in a progress mark.
	Events []Event
	// Revision up to which everything of interest has been delivered with this
	// batch: that of a bookmark sent after it.
	Revision int64
}

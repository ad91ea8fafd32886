package controllers

import (
	"context"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
)

// Object is an API object of a built-in kind.
type Object interface {
	runtime.Object
	metav1.Object
}

// Key names what one reconcile is about, usually an object.
type Key = types.NamespacedName

// KeyOf is the key of an object.
func KeyOf(o metav1.Object) Key { return Key{Namespace: o.GetNamespace(), Name: o.GetName()} }

// Plan is what a reconcile wants done: its whole output.
type Plan struct {
	// Steps run in order. A step that fails ends the plan; Then still runs.
	Steps []Step
	// Then, when set, is a pure continuation: it sees how the steps ended and
	// returns the last writes, usually the status. They run even after a
	// failed step, one after another.
	Then func(Outcome) []Write
	// Events are recorded without any write.
	Events []Event
	// After asks for another reconcile of the key after this long, even if
	// nothing changes; 0 asks for none.
	After time.Duration
}

// Step is a group of writes.
type Step struct {
	Writes []Write
	// Mode says in which order the writes go out.
	Mode Mode
}

// Mode is the way in which a step's writes are sent.
type Mode int

const (
	// InOrder sends one after another and stops at the first error.
	InOrder Mode = iota
	// Together sends all at once, in parallel; every one is tried.
	Together
	// SlowStart sends 1, then 2, 4, 8, ... in parallel and stops after the
	// first batch with an error, so that a thousand doomed creates (a quota, a
	// bad template) cost one request.
	SlowStart
)

// Outcome is how a plan's steps ended.
type Outcome struct {
	// Err is the first error as the API gave it, nil if all went well.
	Err error
	// Results are the objects the API returned, in no particular order.
	Results []Object
}

// Verb is what a write does.
type Verb string

// The verbs of a Write.
const (
	Create       Verb = "create"
	Update       Verb = "update"
	UpdateStatus Verb = "update-status"
	Patch        Verb = "patch"
	Delete       Verb = "delete"
	Finalize     Verb = "finalize" // namespaces only
	// DeleteCollection deletes all objects of Write.Resource in the namespace
	// of Write.Object.
	DeleteCollection Verb = "delete-collection"
)

// Write is one request to the API.
type Write struct {
	Verb Verb
	// Object is what to create or the changed copy to update; for a patch or a
	// delete, the object it is about. Delete carries its UID as precondition.
	// Never a changed object of an informer's cache: change a copy.
	Object Object

	// Resource says what kind of object a *metav1.PartialObjectMetadata stands
	// for: with it, objects of any kind can be patched and deleted.
	Resource schema.GroupVersionResource

	// PatchType, PatchData and Subresource describe a patch.
	PatchType   types.PatchType
	PatchData   []byte
	Subresource string

	// DeleteOptions are the options of a delete. Preconditions need not be set.
	DeleteOptions metav1.DeleteOptions

	// First, when set, is sent before this write, which is dropped if it fails:
	// two writes of which the second must not stand alone, among others that
	// have nothing to do with them.
	First *Write

	// OnlyIfLive, when set, is an object that must still exist with the same
	// UID, and not be on its way out, when it is read from the API, not from a
	// cache, just before the step begins. Adoption needs that.
	OnlyIfLive Object

	// Done and Failed are the events to record after success and after
	// failure. A "%s" in the message becomes the name of the object that was
	// written, or the error.
	Done, Failed *Event

	// Call, when set, sends the request in place of the runner: for kinds that
	// client-go has no typed client for. It returns what the API returned, nil
	// after a delete. Object and Verb still say what it is about.
	Call func(context.Context) (Object, error)

	// Ignore names errors that count as success.
	Ignore func(error) bool
}

// Event is an event to record about an object.
type Event struct {
	About   runtime.Object
	Type    string // corev1.EventTypeNormal or EventTypeWarning
	Reason  string
	Message string
}

// Do is a plan of writes that go out in order.
func Do(writes ...Write) Plan {
	if len(writes) == 0 {
		return Plan{}
	}
	return Plan{Steps: []Step{{Writes: writes}}}
}

// Sooner is the shorter of two waits, where 0 means none is wanted.
func Sooner(a, b time.Duration) time.Duration {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

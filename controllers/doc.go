// Package controllers runs the reconcile loops that turn the objects people
// write (a Deployment, a Service, a Namespace being deleted) into the objects
// the rest of the system acts on.
//
// A controller is two things. The first is a pure function from what it sees to
// a [Plan], the writes it wants; each controller has a folder of its own, with
// that function in reconcile.go. The second is a [Registration]: which informers
// wake it, and how an event maps to keys. Everything else belongs to the
// [Runner]: one queue per controller with serial execution per key, back-off,
// expectations (a key waits until the informers have shown its own last writes,
// so that it never acts twice on a stale cache), events, leader election,
// metrics and a clean stop.
//
// The package and its sub-packages need nothing but client-go, so they run
// against any Kubernetes API server, and Kubernetes' own controller manager
// runs against Strake's.
//
// The sub-package defaults lists the registrations of a whole cluster.
package controllers

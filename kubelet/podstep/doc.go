// Package podstep decides what a node does next for one pod.
//
// It is the pure core of the kubelet: [Next] takes a [Snapshot] (what the API
// wants, what the runtime reports, what probes found, what failed before) and
// the time, and returns the legal steps that may be taken now, or the time to
// ask again. It has no clock, lock or I/O; package kubelet takes the steps and
// asks anew. [Phase] and the predicates beside it are shared with package
// podstatus, so that what is done and what is reported never disagree.
//
// The life of a pod on a node:
//
//	cgroup → volumes → sandbox → init containers in order (sidecars stay)
//	  → containers → … → all ended, deleted or failed
//	  → stop containers → stop sidecars in reverse → stop sandbox
//	  → unmount → remove cgroup → report → (if deleted) remove what is left
package podstep

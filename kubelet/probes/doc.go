// Package probes runs the liveness, readiness and startup probes of a node's
// pods.
//
// The kubelet tells a [Manager] which pods there are ([Manager.Add],
// [Manager.Remove]) and what it sees of their containers ([Manager.Observe]);
// the manager tells the kubelet, through callbacks, when a container's result
// changes and when a probe fails. One goroutine keeps the times of all probes
// in a heap, and a bounded number of others run those that are due, so an idle
// probe costs no more than its entry.
//
// What a probe's outcome means is decided by [State.Next], a pure function; how
// a probe is made is a [Handler], which a node that simulates its pods replaces.
package probes

// Package kubelet is the node agent: it registers its machine as a Node, runs
// the pods that are bound to it, and reports what became of them.
//
// It needs a client of a Kubernetes API and a [runtime.Runtime]. What to do next
// for a pod is decided by package podstep, what its status is by podstatus; this
// package takes the steps. A pod has no goroutine of its own while nothing
// happens: a change (of the API's object, in the runtime, of a probe, or time)
// starts its worker, which takes one legal step after the other until none is
// left. So one process can hold thousands of kubelets.
//
// All state that matters is in the API and in the runtime. A kubelet that starts
// anew finds its pods by the labels of their sandboxes, adopts what runs and ends
// what the API no longer has. It never touches what it did not make.
//
// Beside it: volumes, probes, server and logs (each its own job), containerspec
// (what the runtime is asked to make), cgroups, qos, machine, credentials,
// lifecycle and admission.
package kubelet

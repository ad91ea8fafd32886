// Package podstatus makes the status of a pod from what is known on its node.
//
// [Generate] is a pure function: the same snapshot that package podstep decides
// from, in; the complete PodStatus, out. What the node does not own (conditions
// of others, resize, claims, the nominated node) is kept as it was.
package podstatus

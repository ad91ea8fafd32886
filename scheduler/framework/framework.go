// Package framework is the contract between the scheduler's loop and its
// plugins: the extension points of the Kubernetes scheduling framework
// (https://kubernetes.io/docs/concepts/scheduling-eviction/scheduling-framework),
// with upstream's names, and the view of the cluster that plugins read.
//
// # The life of a pod
//
//	PreEnqueue → (QueueSort) → PreFilter → Filter on each node → PreScore →
//	Score on each node that is left → NormalizeScore → Reserve
//	    → Permit → PreBind → Bind → PostBind
//	no node left: PostFilter
//	anything after Reserve fails: Unreserve
//
// The first line runs in the scheduler's own goroutine, one pod at a time: what
// it calls must not block and needs no locks. The second line runs in other
// goroutines, beside the next pods' first lines, and may block until its ctx
// ends. A plugin implements [Plugin] and whichever extension points it wants.
//
// # What plugins see
//
// A [Cycle] is one attempt for one pod; a [Snapshot] is the cluster at its
// start, with the pods that earlier attempts placed already on their nodes. Both
// are read-only for plugins. What a plugin finds out in PreFilter or PreScore it
// keeps in the cycle ([Cycle.SetState]).
//
// # Pods alike
//
// Thousands of pods made from one template get the same answers from the same
// nodes. Where every filter and score plugin of a profile is a [Signer], the
// scheduler asks once and then only about nodes that changed. A plugin that is
// no Signer works too: it is asked about every node for every pod.
package framework

import (
	"context"

	corev1 "k8s.io/api/core/v1"
)

// MaxNodeScore is the best score of a node, after normalisation; 0 is the worst.
const MaxNodeScore int64 = 100

// Plugin is the least that every plugin is.
type Plugin interface {
	// Name is unique in a profile. Upstream's plugins keep upstream's names.
	Name() string
}

// PreEnqueuePlugin may keep a pod out of the queue until the pod changes.
type PreEnqueuePlugin interface {
	Plugin
	// PreEnqueue rejects a pod that must not be tried yet. It is asked again when
	// the pod is updated.
	PreEnqueue(pod *corev1.Pod) *Status
}

// QueueSortPlugin orders the pods that wait to be tried. A profile has one.
type QueueSortPlugin interface {
	Plugin
	// Less says whether a goes before b. It must be a strict weak order.
	Less(a, b *QueuedPod) bool
}

// PreFilterPlugin looks at the pod once, before any node.
type PreFilterPlugin interface {
	Plugin
	// PreFilter prepares state for Filter. It may narrow the nodes to look at
	// (a nil result means all), reject the pod for every node, or return Skip
	// when its Filter has nothing to say about this pod.
	PreFilter(c *Cycle) (*PreFilterResult, *Status)
}

// PreFilterResult narrows an attempt to some nodes.
type PreFilterResult struct {
	// NodeNames are the only nodes worth looking at; nil means all.
	NodeNames map[string]struct{}
}

// FilterPlugin says which nodes a pod can run on.
type FilterPlugin interface {
	Plugin
	// Filter returns nil where the pod can run on the node, Unschedulable where
	// the removal of pods from the node might change that, and
	// UnschedulableAndUnresolvable where it cannot. The first filter that rejects
	// a node ends the question for that node.
	Filter(c *Cycle, node *NodeInfo) *Status
}

// PostFilterPlugin is asked when no node is left.
type PostFilterPlugin interface {
	Plugin
	// PostFilter may make room, in which case it returns success and the node on
	// which the pod should fit next time. The reasons of what it returns otherwise
	// are shown to the user. It may call the API server, and should be quick.
	PostFilter(ctx context.Context, c *Cycle, failed Failures) (*PostFilterResult, *Status)
}

// PostFilterResult is where room was made.
type PostFilterResult struct {
	// NominatedNodeName is written to the pod's status.
	NominatedNodeName string
}

// Failures is why each node was rejected.
type Failures interface {
	// Each calls f for every node that was looked at, in a fixed order.
	Each(f func(node *NodeInfo, plugin string, status *Status))
}

// PreScorePlugin looks once at the nodes that are left.
type PreScorePlugin interface {
	Plugin
	// PreScore prepares state for Score. It returns Skip when its Score has
	// nothing to say about this pod.
	PreScore(c *Cycle, nodes []*NodeInfo) *Status
}

// ScorePlugin says how good each node is that passed the filters.
type ScorePlugin interface {
	Plugin
	// Score returns 0 to [MaxNodeScore], higher is better; a plugin that is also
	// a [NormalizeScorePlugin] may return anything, and brings it into that range
	// there. The scheduler adds the scores up, each times its plugin's weight.
	Score(c *Cycle, node *NodeInfo) (int64, *Status)
}

// NormalizeScorePlugin is a ScorePlugin whose scores are relative to each other.
type NormalizeScorePlugin interface {
	ScorePlugin
	// NormalizeScore changes the scores in place to 0 to [MaxNodeScore].
	NormalizeScore(c *Cycle, scores []NodeScore) *Status
}

// NodeScore is the score of one node.
type NodeScore struct {
	Node  *NodeInfo
	Score int64
}

// ReservePlugin keeps books of its own about what pods take.
type ReservePlugin interface {
	Plugin
	// Reserve is called when the node is chosen, before anything is written.
	Reserve(c *Cycle, node string) *Status
	// Unreserve takes it back when a later step failed; also after a Reserve that
	// failed, and also for plugins whose Reserve was not reached. It must not fail.
	Unreserve(c *Cycle, node string)
}

// PermitPlugin may hold a pod back after its node is chosen.
type PermitPlugin interface {
	Plugin
	// Permit returns when the pod may be bound, or with the reason why not. It may
	// wait: the pod keeps its place on the node meanwhile, and other pods are
	// scheduled. Where upstream returns a time-out, this uses a timer.
	Permit(ctx context.Context, c *Cycle, node string) *Status
}

// PreBindPlugin does what must be done before the pod is bound.
type PreBindPlugin interface {
	Plugin
	PreBind(ctx context.Context, c *Cycle, node string) *Status
}

// BindPlugin binds the pod to the node.
type BindPlugin interface {
	Plugin
	// Bind returns Skip to leave the pod to the next bind plugin. Errors of the
	// API server are wrapped (see [AsStatus]): the scheduler tells a conflict
	// from an answer that was lost.
	Bind(ctx context.Context, c *Cycle, node string) *Status
}

// BatchBindPlugin is a BindPlugin that can bind many pods with less work.
type BatchBindPlugin interface {
	BindPlugin
	// BindBatch binds all and returns one status for each, in order.
	BindBatch(ctx context.Context, placements []Placement) []*Status
}

// Placement is a pod and the node chosen for it.
type Placement struct {
	Cycle *Cycle
	Node  string
}

// PostBindPlugin is told about pods that were bound.
type PostBindPlugin interface {
	Plugin
	PostBind(ctx context.Context, c *Cycle, node string)
}

// Signer is a filter or score plugin whose answers for a node follow from the
// pod's signature and that node alone. PreFilter and PreScore of a Signer
// depend on the pod and on the nodes' objects, never on which pods run where.
type Signer interface {
	Plugin
	// Sign writes everything of the pod that the plugin looks at, and returns
	// false where this pod has no signature.
	Sign(pod *PodInfo, s *Signature) bool
}

// EnqueueExtensions is a plugin that knows which events may help a pod that it
// rejected. A pod rejected by a plugin without it is tried after any event.
type EnqueueExtensions interface {
	Plugin
	// EventsToRegister is called once.
	EventsToRegister() []EventHint
}

// Weighted is a plugin of a profile. Weight multiplies its scores; 0 means 1.
type Weighted struct {
	Plugin Plugin
	Weight int64
}

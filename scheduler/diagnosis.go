package scheduler

import (
	"fmt"
	"slices"
	"strings"

	"github.com/strake-io/strake/scheduler/framework"
)

// noNodes is what users read where the cluster has no node at all.
const noNodes = "no nodes available to schedule pods"

// maxNote is how long the text of an event may be.
const maxNote = 1024

// diagnosis is why a pod fits nowhere.
type diagnosis struct {
	// message is for people: how many nodes, and for each reason how many.
	message string
	// rejectedBy names the plugins that rejected a node, sorted.
	rejectedBy []string
}

// diagnose sums up an evaluation without feasible nodes, of allNodes in all.
func (e *evaluation) diagnose(allNodes int) *diagnosis {
	if e.diagnosis != nil {
		return e.diagnosis
	}
	d := &diagnosis{}
	e.diagnosis = d
	head := fmt.Sprintf("0/%d nodes are available:", allNodes)
	if s := e.rejectedAll.status; s != nil {
		d.message = head + " " + s.Message() + "."
		d.rejectedBy = []string{e.rejectedAll.plugin}
		return d
	}
	reasons := make(map[string]int)
	by := make(map[string]bool)
	// Most nodes are rejected with one of a few statuses.
	counts := make(map[rejection]int)
	for _, r := range e.rejected {
		counts[r]++
	}
	for r, n := range counts {
		by[r.plugin] = true
		for _, reason := range r.status.Reasons {
			reasons[reason] += n
		}
	}
	if rest := allNodes - len(e.nodes); rest > 0 && e.narrowedBy != nil {
		names := slices.Clone(e.narrowedBy)
		slices.Sort(names)
		reasons[fmt.Sprintf("node(s) didn't satisfy plugin(s) [%s]", strings.Join(names, " "))] += rest
		for _, n := range names {
			by[n] = true
		}
	}
	d.message = head + histogram(reasons)
	for name := range by {
		d.rejectedBy = append(d.rejectedBy, name)
	}
	slices.Sort(d.rejectedBy)
	return d
}

// histogram is " 2 reason, 3 another." in the order of the strings, as upstream.
func histogram(reasons map[string]int) string {
	if len(reasons) == 0 {
		return ""
	}
	parts := make([]string, 0, len(reasons))
	for reason, n := range reasons {
		parts = append(parts, fmt.Sprintf("%d %s", n, reason))
	}
	slices.Sort(parts)
	return " " + strings.Join(parts, ", ") + "."
}

// truncate shortens a message to what an event can hold.
func truncate(message string) string {
	if len(message) <= maxNote {
		return message
	}
	const suffix = " ..."
	return strings.ToValidUTF8(message[:maxNote-len(suffix)], "") + suffix
}

var _ framework.Failures = (*evaluation)(nil)

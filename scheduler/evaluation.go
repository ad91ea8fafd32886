package scheduler

import (
	"fmt"

	"github.com/strake-io/strake/scheduler/framework"
)

// evaluation is what the filter and score plugins say of one pod, or of all pods
// alike, for every node. It is pure: it knows the profile and the snapshot, and
// refresh brings it up to date by asking only about nodes that changed.
type evaluation struct {
	profile *profile
	cycle   *framework.Cycle
	nodes   []*framework.NodeInfo
	// rejectedAll is set where PreFilter rejected the pod for every node.
	rejectedAll rejection
	// narrowedBy names the plugins that left only some nodes to look at.
	narrowedBy []string

	filters  []framework.FilterPlugin
	scorers  []scorer
	rejected []rejection // by node; no status means feasible
	feasible int

	scored bool      // PreScore was run, and scorers, raw and fixed hold
	raw    [][]int64 // by scorer, by node; before normalisation
	fixed  []int64   // by node; the weighted sum of the normalised scores
	rank   ranking

	// objects and position are how far the snapshot was read.
	objects, position uint64
	stamp             []uint32
	epoch             uint32
	scratch           []framework.NodeScore
	diagnosis         *diagnosis // of the present rejections; nil until asked for
}

type rejection struct {
	plugin string
	status *framework.Status
}

// evaluate asks about a pod from scratch. The error is a plugin's failure.
func evaluate(p *profile, snapshot *framework.Snapshot, pod *framework.PodInfo) (*evaluation, error) {
	e := &evaluation{
		profile:  p,
		cycle:    &framework.Cycle{Pod: pod, Snapshot: snapshot},
		nodes:    snapshot.Nodes(),
		objects:  snapshot.Objects(),
		position: snapshot.Position(),
	}
	skipped, err := e.preFilter()
	if err != nil || e.rejectedAll.status != nil {
		return e, err
	}
	for _, f := range p.filter {
		if !skipped[f.Name()] {
			e.filters = append(e.filters, f)
		}
	}
	e.rejected = make([]rejection, len(e.nodes))
	e.stamp = make([]uint32, len(e.nodes))
	for i := range e.nodes {
		if e.rejected[i], err = e.filter(i); err != nil {
			return e, err
		}
		if e.rejected[i].status == nil {
			e.feasible++
		}
	}
	if e.feasible > 0 {
		err = e.score()
	}
	return e, err
}

func (e *evaluation) preFilter() (skipped map[string]bool, err error) {
	var only map[string]struct{}
	for _, x := range e.profile.preFilter {
		result, status := x.PreFilter(e.cycle)
		switch {
		case status.IsSkip():
			if skipped == nil {
				skipped = make(map[string]bool)
			}
			skipped[x.Name()] = true
		case status.IsRejected():
			e.rejectedAll = rejection{x.Name(), status}
			return nil, nil
		case !status.IsSuccess():
			return nil, fmt.Errorf("running PreFilter plugin %q: %w", x.Name(), status.AsError())
		}
		if result == nil || result.NodeNames == nil {
			continue
		}
		e.narrowedBy = append(e.narrowedBy, x.Name())
		if only == nil {
			only = result.NodeNames
			continue
		}
		both := make(map[string]struct{})
		for n := range result.NodeNames {
			if _, ok := only[n]; ok {
				both[n] = struct{}{}
			}
		}
		only = both
	}
	if only != nil {
		// In the order of the snapshot, so that a fixed seed repeats; few of many
		// are looked up by name and put in order, not searched for.
		e.nodes = e.cycle.Snapshot.Select(only)
	}
	return skipped, nil
}

func (e *evaluation) filter(i int) (rejection, error) {
	for _, f := range e.filters {
		s := f.Filter(e.cycle, e.nodes[i])
		if s.IsSuccess() {
			continue
		}
		if !s.IsRejected() {
			return rejection{}, fmt.Errorf("running %q filter plugin: %w", f.Name(), s.AsError())
		}
		return rejection{f.Name(), s}, nil
	}
	return rejection{}, nil
}

// score runs PreScore and scores every feasible node.
func (e *evaluation) score() error {
	left := make([]*framework.NodeInfo, 0, e.feasible)
	for i, n := range e.nodes {
		if e.rejected[i].status == nil {
			left = append(left, n)
		}
	}
	var skipped map[string]bool
	for _, x := range e.profile.preScore {
		s := x.PreScore(e.cycle, left)
		switch {
		case s.IsSkip():
			if skipped == nil {
				skipped = make(map[string]bool)
			}
			skipped[x.Name()] = true
		case !s.IsSuccess():
			return fmt.Errorf("running PreScore plugin %q: %w", x.Name(), s.AsError())
		}
	}
	e.scorers, e.raw = nil, nil
	for _, x := range e.profile.score {
		if !skipped[x.Name()] {
			e.scorers = append(e.scorers, x)
			e.raw = append(e.raw, make([]int64, len(e.nodes)))
		}
	}
	e.fixed = make([]int64, len(e.nodes))
	for i := range e.nodes {
		if e.rejected[i].status != nil {
			continue
		}
		if _, err := e.scoreNode(i); err != nil {
			return err
		}
	}
	e.scored = true
	return e.normalize()
}

// scoreNode takes the raw scores of one node, and says whether one that others
// are relative to has changed.
func (e *evaluation) scoreNode(i int) (relative bool, err error) {
	for j := range e.scorers {
		x := &e.scorers[j]
		score, s := x.Score(e.cycle, e.nodes[i])
		if !s.IsSuccess() {
			return false, fmt.Errorf("running Score plugin %q: %w", x.Name(), s.AsError())
		}
		if x.normalize == nil {
			if err := inRange(x, score); err != nil {
				return false, err
			}
		} else if e.raw[j][i] != score {
			relative = true
		}
		e.raw[j][i] = score
	}
	return relative, nil
}

func inRange(x *scorer, score int64) error {
	if score < 0 || score > framework.MaxNodeScore {
		return fmt.Errorf("plugin %q returns an invalid score %d, it should in the range of [0, %d] after normalizing", x.Name(), score, framework.MaxNodeScore)
	}
	return nil
}

// normalize works out all totals and ranks every feasible node.
func (e *evaluation) normalize() error {
	clear(e.fixed)
	for j := range e.scorers {
		x := &e.scorers[j]
		if x.normalize == nil {
			continue
		}
		e.scratch = e.scratch[:0]
		for i, n := range e.nodes {
			if e.rejected[i].status == nil {
				e.scratch = append(e.scratch, framework.NodeScore{Node: n, Score: e.raw[j][i]})
			}
		}
		if s := x.normalize.NormalizeScore(e.cycle, e.scratch); !s.IsSuccess() {
			return fmt.Errorf("running Normalize on plugin %q: %w", x.Name(), s.AsError())
		}
		k := 0
		for i := range e.nodes {
			if e.rejected[i].status != nil {
				continue
			}
			if err := inRange(x, e.scratch[k].Score); err != nil {
				return err
			}
			e.fixed[i] += x.weight * e.scratch[k].Score
			k++
		}
	}
	e.rank.reset(len(e.nodes))
	for i := range e.nodes {
		if e.rejected[i].status == nil {
			e.rank.set(int32(i), e.total(i))
		}
	}
	return nil
}

// total is the weighted sum of a node's scores.
func (e *evaluation) total(i int) int64 {
	sum := e.fixed[i]
	for j := range e.scorers {
		if e.scorers[j].normalize == nil {
			sum += e.scorers[j].weight * e.raw[j][i]
		}
	}
	return sum
}

// Each implements framework.Failures.
func (e *evaluation) Each(f func(node *framework.NodeInfo, plugin string, status *framework.Status)) {
	if e.rejectedAll.status != nil {
		for _, n := range e.nodes {
			f(n, e.rejectedAll.plugin, e.rejectedAll.status)
		}
		return
	}
	for i, n := range e.nodes {
		if r := e.rejected[i]; r.status != nil {
			f(n, r.plugin, r.status)
		}
	}
}

package scheduler

import "github.com/strake-io/strake/scheduler/framework"

// refresh brings the evaluation up to date, and returns false where it must be
// made anew.
func (e *evaluation) refresh(snapshot *framework.Snapshot) (bool, error) {
	if e.objects != snapshot.Objects() || e.narrowedBy != nil || e.rejectedAll.status != nil {
		return false, nil
	}
	changed, ok := snapshot.ChangedSince(e.position)
	if !ok || len(changed) > len(e.nodes) {
		return false, nil
	}
	if len(changed) == 0 {
		return true, nil
	}
	e.position = snapshot.Position()
	e.epoch++
	relative := false // scores that others are relative to have changed
	for _, i := range changed {
		if e.stamp[i] == e.epoch {
			continue
		}
		e.stamp[i] = e.epoch
		r, err := e.again(int(i))
		if err != nil {
			return false, err
		}
		relative = relative || r
	}
	switch {
	case !e.scored && e.feasible > 0:
		return true, e.score()
	case relative:
		return true, e.normalize()
	}
	return true, nil
}

// again asks about one node again.
func (e *evaluation) again(i int) (relative bool, err error) {
	before := e.rejected[i]
	now, err := e.filter(i)
	if err != nil {
		return false, err
	}
	e.rejected[i] = now
	if before != now {
		e.diagnosis = nil
	}
	was, is := before.status == nil, now.status == nil
	if was != is {
		if is {
			e.feasible++
		} else {
			e.feasible--
		}
		relative = e.hasRelative()
	}
	if !e.scored {
		return false, nil
	}
	if !is {
		e.rank.remove(int32(i))
		return relative, nil
	}
	r, err := e.scoreNode(i)
	if err != nil {
		return false, err
	}
	e.rank.set(int32(i), e.total(i))
	return relative || r, nil
}

func (e *evaluation) hasRelative() bool {
	for j := range e.scorers {
		if e.scorers[j].normalize != nil {
			return true
		}
	}
	return false
}

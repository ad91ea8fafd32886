package scheduler

// ranking keeps nodes, by index, in buckets of equal score, so that one whose
// score changed moves in constant time and one of the best is drawn evenly.
type ranking struct {
	buckets map[int64]*bucket
	at      []position // by node index
	best    *bucket
}

type bucket struct {
	score   int64
	members []int32
}

type position struct {
	in *bucket // nil: not ranked
	i  int32
}

// reset forgets all, and makes room for n nodes.
func (r *ranking) reset(n int) {
	r.buckets = make(map[int64]*bucket)
	r.best = nil
	if cap(r.at) < n {
		r.at = make([]position, n)
		return
	}
	r.at = r.at[:n]
	clear(r.at)
}

// set ranks a node, or moves it to its new score.
func (r *ranking) set(node int32, score int64) {
	if b := r.at[node].in; b != nil {
		if b.score == score {
			return
		}
		r.remove(node)
	}
	b := r.buckets[score]
	if b == nil {
		b = &bucket{score: score}
		r.buckets[score] = b
	}
	r.at[node] = position{b, int32(len(b.members))}
	b.members = append(b.members, node)
	if r.best == nil || score > r.best.score {
		r.best = b
	}
}

// remove takes a node out.
func (r *ranking) remove(node int32) {
	p := r.at[node]
	if p.in == nil {
		return
	}
	last := len(p.in.members) - 1
	moved := p.in.members[last]
	p.in.members[p.i] = moved
	r.at[moved].i = p.i
	p.in.members = p.in.members[:last]
	r.at[node] = position{}
	if last > 0 {
		return
	}
	delete(r.buckets, p.in.score)
	if p.in == r.best {
		r.best = nil
		for _, b := range r.buckets {
			if r.best == nil || b.score > r.best.score {
				r.best = b
			}
		}
	}
}

// top is the nodes of the best score; valid until the next change.
func (r *ranking) top() []int32 {
	if r.best == nil {
		return nil
	}
	return r.best.members
}

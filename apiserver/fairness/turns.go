package fairness

// turns is a list of turns in the order in which they came. A turn is in one list
// at a time, and can leave from the middle.
type turns struct {
	first, last *Turn
	n           int
}

func (l *turns) push(t *Turn) {
	t.before, t.behind = l.last, nil
	if l.last == nil {
		l.first = t
	} else {
		l.last.behind = t
	}
	l.last = t
	l.n++
}

func (l *turns) remove(t *Turn) {
	if t.before == nil {
		l.first = t.behind
	} else {
		t.before.behind = t.behind
	}
	if t.behind == nil {
		l.last = t.before
	} else {
		t.behind.before = t.before
	}
	t.before, t.behind = nil, nil
	l.n--
}

// each calls fn with the turns in order.
func (l *turns) each(fn func(*Turn)) {
	for t := l.first; t != nil; t = t.behind {
		fn(t)
	}
}

package fairness

// maxRetryAfter bounds how long clients are told to stay away, in seconds.
const maxRetryAfter = 32

// retry decides how long the clients that are refused shall stay away: the more of
// them come back and are refused again, the longer. Like TCP it doubles, and comes
// down by one. It is not safe for concurrent use.
type retry struct {
	seconds int64 // 0 stands for 1
	changed int64 // when seconds was doubled
	current int64 // the second that is counted
	refused [maxRetryAfter + 1]refusals
}

type refusals struct{ second, n int64 }

// refuse counts a request that is refused in a second of Unix time and returns when
// to come back.
func (r *retry) refuse(second int64) int64 {
	r.seconds = max(1, r.seconds)
	slot := &r.refused[uint64(second)%uint64(len(r.refused))]
	if slot.second != second {
		*slot = refusals{second: second}
	}
	slot.n++
	if r.current != second {
		r.current = second
		r.adapt(second)
	}
	return r.seconds
}

func (r *retry) adapt(now int64) {
	dropped := int64(0)
	for _, past := range r.refused {
		if past.second < now && now-past.second <= r.seconds {
			dropped += past.n
		}
	}
	switch {
	case now-r.changed >= r.seconds && dropped >= 3*r.seconds:
		r.seconds, r.changed = min(2*r.seconds, maxRetryAfter), now
	case dropped < r.seconds && r.seconds > 1:
		r.seconds--
	}
}

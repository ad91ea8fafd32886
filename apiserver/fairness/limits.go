package fairness

import (
	"math"
	"slices"
)

// share is what a priority level asks of the server's seats.
type share struct {
	shares int32
	// lendable is the part of them, in percent, that others may use while the level
	// does not; borrowing how much it may use of theirs, in percent of its own, or
	// without bound where it is nil.
	lendable  int32
	borrowing *int32
}

// limits of a level, in seats. min and max bound what it has when seats are lent.
type limits struct{ nominal, min, max int }

// divide gives each level its part of total, rounded up.
func divide(total int, all []share) []limits {
	sum := 0.0
	for _, s := range all {
		sum += float64(s.shares)
	}
	out := make([]limits, len(all))
	for i, s := range all {
		nominal := 0
		if s.shares > 0 {
			nominal = int(math.Ceil(float64(total) * float64(s.shares) / sum))
		}
		out[i] = limits{nominal: nominal, min: nominal - percent(nominal, s.lendable), max: nominal + total}
		if s.borrowing != nil {
			out[i].max = nominal + percent(nominal, *s.borrowing)
		}
	}
	return out
}

func percent(of int, p int32) int { return int(math.Round(float64(of) * float64(p) / 100)) }

// widest is how many seats one request may be thought to take of a level whose flows
// have hand queues each: not so many that it has to wait for the whole level.
func (l limits) widest(hand int) int {
	return max(1, min(int(math.Ceil(float64(l.nominal)*0.15)), l.nominal/max(1, hand)))
}

// standing is where a level stands when seats are lent anew.
type standing struct {
	exempt bool
	limits limits
	// peak is the most seats that it could have used lately, smoothed its usual need.
	peak     int
	smoothed float64
}

// least is what the level keeps in any case: what it needs, so far as that is its
// own.
func (s standing) least() int {
	if s.exempt {
		return max(s.limits.min, s.peak)
	}
	return max(s.limits.min, min(s.limits.nominal, s.peak))
}

// target is what the level should have by its need.
func (s standing) target() float64 { return max(float64(s.least()), s.smoothed) }

// lend decides how many seats each level has for now: all get the same fraction of
// what they need, within their bounds. An exempt level takes what it takes. fraction
// is 0 where there is less than everybody's least.
func lend(all []standing) (seats []int, fraction float64) {
	total, minimal, least := 0, 0, 0
	left := 0
	var claims []claim
	for _, s := range all {
		total += s.limits.nominal
		if s.exempt {
			left -= s.least()
			continue
		}
		minimal += s.limits.min
		least += s.least()
		claims = append(claims, claim{low: float64(s.least()), high: float64(s.limits.max), target: s.target()})
	}
	left += total
	var fair []float64
	squeeze := 0.0
	switch {
	case left <= minimal:
	case left <= least:
		squeeze = float64(left-minimal) / float64(least-minimal)
	default:
		// As upstream, the exempt level's need does not lessen what is lent.
		fair, fraction = proportion(float64(total), claims)
	}
	seats = make([]int, len(all))
	for i, s := range all {
		switch {
		case s.exempt:
			seats[i] = s.least()
		case fair != nil:
			seats[i], fair = int(math.Round(fair[0])), fair[1:]
		default:
			seats[i] = s.limits.min + int(math.Round(float64(s.least()-s.limits.min)*squeeze))
		}
	}
	return seats, fraction
}

// claim is one part of a sum that is divided up.
type claim struct{ low, high, target float64 }

// minTarget is what counts for those who need nothing.
const minTarget = 0.001

func (c claim) at(fraction float64) float64 {
	return min(c.high, max(c.low, max(c.target, minTarget)*fraction))
}

// proportion finds the fraction of their targets at which the claims add up to sum,
// each within its bounds, and what each gets at it. Where the bounds allow no such
// fraction, all stand at their bounds.
func proportion(sum float64, claims []claim) (parts []float64, fraction float64) {
	at := func(fraction float64) (total float64) {
		for _, c := range claims {
			total += c.at(fraction)
		}
		return total
	}
	// The total grows with the fraction, in a straight line between the fractions
	// at which a claim meets one of its bounds.
	bends := make([]float64, 0, 2*len(claims))
	for _, c := range claims {
		target := max(c.target, minTarget)
		bends = append(bends, c.low/target, c.high/target)
	}
	slices.Sort(bends)
	after, _ := slices.BinarySearchFunc(bends, sum, func(bend, sum float64) int {
		if at(bend) < sum {
			return -1
		}
		return 1
	})
	switch {
	case len(bends) == 0:
	case after == len(bends):
		fraction = bends[after-1]
	case after == 0:
		fraction = bends[0]
	default:
		from, to := bends[after-1], bends[after]
		low, high := at(from), at(to)
		fraction = from + (to-from)*(sum-low)/(high-low)
	}
	parts = make([]float64, len(claims))
	for i, c := range claims {
		parts[i] = c.at(fraction)
	}
	return parts, fraction
}

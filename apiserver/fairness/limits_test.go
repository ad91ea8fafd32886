package fairness

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/utils/ptr"
)

var limitsAre = cmp.AllowUnexported(limits{})

// The limits of the built-in levels are those that upstream's documentation and
// metrics tell of a server with its defaults.
func TestBuiltInLimits(t *testing.T) {
	c := builtIn(t)
	got := map[string]limits{}
	for name, s := range c.levels {
		got[name] = s.limits
	}
	want := map[string]limits{
		"exempt": {0, 0, 600}, "catch-all": {13, 13, 613}, "system": {74, 50, 674}, "node-high": {98, 73, 698},
		"leader-election": {25, 25, 625}, "workload-high": {98, 49, 698}, "workload-low": {245, 24, 845}, "global-default": {49, 24, 649},
	}
	if diff := cmp.Diff(want, got, limitsAre); diff != "" {
		t.Error(diff)
	}
	if n := len(bootstrap.SuggestedPriorityLevelConfigurations) + len(bootstrap.MandatoryPriorityLevelConfigurations); n != len(got) {
		t.Errorf("%d levels of %d", len(got), n)
	}
}

func TestDivide(t *testing.T) {
	for name, test := range map[string]struct {
		total  int
		shares []share
		want   []limits
	}{
		"nobody":            {total: 10},
		"one":               {10, []share{{shares: 7}}, []limits{{10, 10, 20}}},
		"rounded up":        {10, []share{{shares: 1}, {shares: 2}}, []limits{{4, 4, 14}, {7, 7, 17}}},
		"no shares":         {10, []share{{shares: 0}, {shares: 0}}, []limits{{0, 0, 10}, {0, 0, 10}}},
		"lends":             {10, []share{{shares: 1, lendable: 50}}, []limits{{10, 5, 20}}},
		"lends all":         {10, []share{{shares: 1, lendable: 100}}, []limits{{10, 0, 20}}},
		"borrows a little":  {10, []share{{shares: 1, borrowing: ptr.To(int32(30))}}, []limits{{10, 10, 13}}},
		"borrows nothing":   {10, []share{{shares: 1, borrowing: ptr.To(int32(0))}}, []limits{{10, 10, 10}}},
		"borrows more than": {10, []share{{shares: 1, borrowing: ptr.To(int32(400))}}, []limits{{10, 10, 50}}},
	} {
		t.Run(name, func(t *testing.T) {
			got := divide(test.total, test.shares)
			if len(got) == 0 && len(test.want) == 0 {
				return
			}
			if diff := cmp.Diff(test.want, got, limitsAre); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWidest(t *testing.T) {
	for _, test := range []struct{ nominal, hand, want int }{
		{98, 6, 15}, {49, 6, 8}, {245, 6, 37}, {74, 6, 12}, {5, 6, 1}, {0, 6, 1}, {100, 1, 15}, {100, 50, 2},
	} {
		if got := (limits{nominal: test.nominal}).widest(test.hand); got != test.want {
			t.Errorf("of %d seats and hands of %d: %d, want %d", test.nominal, test.hand, got, test.want)
		}
	}
}

func TestLend(t *testing.T) {
	busy := standing{limits: limits{10, 5, 100}, peak: 80, smoothed: 60}
	calm := standing{limits: limits{20, 5, 100}}
	for name, test := range map[string]struct {
		all      []standing
		want     []int
		fraction float64
	}{
		"nobody": {},
		"all calm: by what each keeps": {
			[]standing{{limits: limits{10, 10, 100}}, {limits: limits{20, 5, 100}}}, []int{20, 10}, 2,
		},
		"the busy one gets what the others do not need": {
			[]standing{busy, calm}, []int{25, 5}, 25.0 / 60,
		},
		"each keeps what it needs of its own": {
			[]standing{busy, {limits: limits{20, 5, 100}, peak: 15, smoothed: 10}}, []int{15, 15}, 15.0 / 60,
		},
		"all busy: each has its own": {
			[]standing{busy, {limits: limits{20, 10, 100}, peak: 90, smoothed: 90}}, []int{10, 20}, 0,
		},
		"a borrower's bound": {
			[]standing{{limits: limits{10, 5, 12}, peak: 80, smoothed: 60}, calm}, []int{12, 18}, 18.0 / 5,
		},
		"nobody may borrow": {
			[]standing{{limits: limits{10, 5, 10}, peak: 80, smoothed: 60}, {exempt: true, limits: limits{30, 0, 60}}}, []int{10, 0}, 10.0 / 60,
		},
		"the exempt one takes more than is there": {
			[]standing{busy, calm, {exempt: true, limits: limits{0, 0, 30}, peak: 70}}, []int{5, 5, 70}, 0,
		},
		"the exempt one leaves little": {
			[]standing{busy, {limits: limits{20, 5, 100}, peak: 20, smoothed: 20}, {exempt: true, limits: limits{0, 0, 30}, peak: 10}}, []int{8, 13, 10}, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, fraction := lend(test.all)
			if len(got) != len(test.want) || len(got) > 0 && !cmp.Equal(got, test.want) {
				t.Errorf("%v, want %v", got, test.want)
			}
			if math.Abs(fraction-test.fraction) > 1e-9 {
				t.Errorf("fraction %v, want %v", fraction, test.fraction)
			}
		})
	}
}

// Whatever is claimed, the parts add up, nobody is beyond his bounds, and those who
// are within get the same fraction of what they need.
func TestProportion(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 5000 {
		claims := make([]claim, 1+random.IntN(6))
		low, high := 0.0, 0.0
		for i := range claims {
			c := &claims[i]
			c.low = float64(random.IntN(20))
			c.high = c.low + float64(random.IntN(50))
			c.target = c.low + float64(random.IntN(3)*random.IntN(40))
			low, high = low+c.low, high+c.high
		}
		sum := float64(random.IntN(200))
		parts, fraction := proportion(sum, claims)
		total := 0.0
		for i, c := range claims {
			total += parts[i]
			if parts[i] < c.low || parts[i] > c.high {
				t.Fatalf("part %v is out of bounds: %+v of %v", parts[i], claims, sum)
			}
			if free := parts[i] > c.low && parts[i] < c.high; free && math.Abs(parts[i]-fraction*max(c.target, minTarget)) > 1e-6 {
				t.Fatalf("part %v is not the fraction %v: %+v of %v", parts[i], fraction, claims, sum)
			}
		}
		if want := min(max(sum, low), high); math.Abs(total-want) > 1e-6 {
			t.Fatalf("parts add up to %v, want %v: %+v", total, want, claims)
		}
	}
}

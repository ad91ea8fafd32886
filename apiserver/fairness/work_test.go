package fairness

import (
	"math"
	"testing"
	"time"
)

func TestListWork(t *testing.T) {
	for name, test := range map[string]struct {
		from   Collection
		limit  int64
		widest int
		want   int
	}{
		"nothing":               {want: 1},
		"little":                {from: Collection{10, 9_000}, want: 1},
		"by its size":           {from: Collection{100, 250_000}, want: 3},
		"one page of much":      {from: Collection{1000, 1_000_000}, limit: 500, want: 5},
		"a page that holds all": {from: Collection{100, 250_000}, limit: 500, want: 3},
		"streamed":              {from: Collection{100_000, 1 << 40}, want: 10},
		"in a narrow level":     {from: Collection{100_000, 1 << 40}, widest: 3, want: 3},
		"in a wide level":       {from: Collection{100_000, 1 << 40}, widest: 37, want: 10},
		"a senseless limit":     {from: Collection{100, 250_000}, limit: -1, want: 3},
	} {
		if got := ListWork(test.from, test.limit, test.widest); got != (Work{Seats: test.want}) {
			t.Errorf("%s: %+v, want %d seats", name, got, test.want)
		}
	}
	if a, b := WidestList(0).Seats, WidestList(8).Seats; a != 100 || b != 8 {
		t.Errorf("a list of which nothing is known: %d, %d", a, b)
	}
}

// The numbers are those of upstream's own tests.
func TestChangeWork(t *testing.T) {
	for _, test := range []struct {
		watchers, widest int
		want             Work
	}{
		{0, 10, One},
		{5, 10, One},
		{29, 10, Work{1, 3, 5 * time.Millisecond}},
		{199, 10, Work{1, 10, 10 * time.Millisecond}},
		{100, 5, Work{1, 5, 10 * time.Millisecond}},
		{1000, 20, Work{1, 10, 50 * time.Millisecond}},
		{1000, 0, Work{1, 10, 50 * time.Millisecond}},
	} {
		if got := ChangeWork(test.watchers, test.widest); got != test.want {
			t.Errorf("%d watchers, at most %d seats: %+v, want %+v", test.watchers, test.widest, got, test.want)
		}
	}
}

func TestDemand(t *testing.T) {
	var d demand
	start := time.Unix(1000, 0)
	d.observe(start, 4)
	d.observe(start.Add(2*time.Second), 0)
	m := d.reset(start.Add(4 * time.Second))
	if m != (measured{peak: 4, average: 2, deviation: 2, of: true}) {
		t.Errorf("%+v", m)
	}
	if m := d.reset(start.Add(4 * time.Second)); m.of || m.peak != 0 {
		t.Errorf("in no time: %+v", m)
	}
	d.observe(start.Add(5*time.Second), 7)
	if m := d.reset(start.Add(5 * time.Second)); m.peak != 7 || m.average != 0 {
		t.Errorf("a peak without duration: %+v", m)
	}
	if m := d.reset(start.Add(6 * time.Second)); m.peak != 7 || m.average != 7 || m.deviation != 0 {
		t.Errorf("what is still there: %+v", m)
	}
}

// The usual need follows a rise at once, and half of a fall is forgotten after five
// minutes.
func TestSmooth(t *testing.T) {
	need := smooth(10, measured{average: 40, deviation: 10, of: true})
	if need != 50 {
		t.Fatalf("after a rise %v", need)
	}
	for range 30 {
		need = smooth(need, measured{of: true})
	}
	if math.Abs(need-25) > 0.2 {
		t.Errorf("five minutes later %v", need)
	}
	if again := smooth(need, measured{}); again != need {
		t.Errorf("nothing was measured: %v", again)
	}
}

func TestRetryAfter(t *testing.T) {
	var r retry
	refuse := func(second int64, n int) (after int64) {
		for range n {
			after = r.refuse(second)
		}
		return after
	}
	for i, want := range []int64{1, 2, 2, 4, 4, 4, 4, 8} {
		if got := refuse(1000+int64(i), 100); got != want {
			t.Errorf("second %d of a storm: %d, want %d", i, got, want)
		}
	}
	for second := int64(1010); second < 1200; second++ {
		if got := refuse(second, 100); got > maxRetryAfter {
			t.Fatalf("told to stay away for %d", got)
		}
	}
	if got := refuse(1200, 1); got != maxRetryAfter {
		t.Errorf("at the height of the storm %d", got)
	}
	for second := int64(1300); second < 1300+40*40; second += 40 {
		refuse(second, 1)
	}
	if got := refuse(9000, 1); got != 1 {
		t.Errorf("after the storm %d", got)
	}
	if got := new(retry).refuse(-5); got != 1 {
		t.Errorf("with a clock before 1970: %d", got)
	}
}

package allocator

import (
	"errors"
	"net/netip"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	networkingv1 "k8s.io/api/networking/v1"
)

func ranges(cidrs ...string) []Range {
	out := make([]Range, len(cidrs))
	for i, c := range cidrs {
		closed := c[0] == '-'
		if closed {
			c = c[1:]
		}
		out[i] = Range{CIDR: netip.MustParsePrefix(c), Open: !closed}
	}
	return out
}

func TestSpans(t *testing.T) {
	for cidr, want := range map[string]struct {
		first, last string
		size, band  uint64
	}{
		"10.0.0.77/24": {"10.0.0.1", "10.0.0.254", 254, 16},
		"10.0.0.0/28":  {"10.0.0.1", "10.0.0.14", 14, 0},
		"10.0.0.0/27":  {"10.0.0.1", "10.0.0.30", 30, 16},
		"10.0.0.0/20":  {"10.0.0.1", "10.0.15.254", 4094, 256},
		"10.0.0.0/30":  {"10.0.0.1", "10.0.0.2", 2, 0},
		"10.0.0.0/31":  {},
		"10.0.0.0/32":  {},
		"0.0.0.0/0":    {"0.0.0.1", "255.255.255.254", 1<<32 - 2, 256},
		"fd00::/108":   {"fd00::1", "fd00::f:ffff", 1<<20 - 1, 256},
		"fd00::/127":   {"fd00::1", "fd00::1", 1, 0},
		"fd00::/128":   {},
		"fd00::/64":    {"fd00::1", "fd00::ffff:ffff:ffff:ffff", 1<<63 - 1, 256},
		"fd00::/63":    {},
	} {
		s, err := spanOf(netip.MustParsePrefix(cidr))
		if (err != nil) != (want.size == 0) {
			t.Errorf("%s: %v", cidr, err)
			continue
		}
		if err == nil && (s.first.String() != want.first || s.last.String() != want.last || s.size != want.size || s.band != want.band) {
			t.Errorf("%s: %+v, want %+v", cidr, s, want)
		}
	}
}

func TestWantedAddressOfSeveralRanges(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	v4, v6 := newAddresses(t, s, "10.0.0.0/28"), newAddresses(t, s, "fd00::/108")
	all := ranges("10.0.0.0/28", "10.1.0.0/30", "10.1.0.0/24", "-10.2.0.0/24", "-10.3.0.0/16", "10.3.3.0/24", "10.4.0.0/32", "fd00::/108", "fd01::/64", "fd02::/48")
	v4.Use(all)
	v6.Use(all)
	for _, test := range []struct {
		pool *Addresses
		ip   string
		want error
	}{
		{v4, "10.0.0.3", nil},
		{v4, "10.1.0.3", nil}, // the last of one range, among those of another
		{v4, "10.1.0.0", ErrOtherNetwork},
		{v4, "10.1.0.255", ErrOtherNetwork},
		{v4, "10.2.0.1", ErrOtherNetwork},
		{v4, "10.3.0.1", ErrOtherNetwork},
		{v4, "10.3.3.1", nil},
		{v4, "10.4.0.0", ErrOtherNetwork},
		{v4, "fd00::2", ErrOtherNetwork},
		{v6, "fd00::2", nil},
		{v6, "fd01::ffff:0:0:1", nil},
		{v6, "fd02::2", ErrOtherNetwork},
		{v6, "10.0.0.4", ErrOtherNetwork},
	} {
		ip := netip.MustParseAddr(test.ip)
		if err := test.pool.Allocate(ctx, Owner{"default", "s"}, ip, false); !errors.Is(err, test.want) {
			t.Errorf("%s: %v, want %v", test.ip, err, test.want)
		}
	}
	// What a range gave is given back though the range has closed.
	ip := netip.MustParseAddr("10.3.3.1")
	v4.Use(ranges("10.0.0.0/28"))
	if err := v4.Release(ctx, Owner{"default", "s"}, ip); err != nil {
		t.Fatal(err)
	}
	v4.Use(ranges("10.3.3.0/24"))
	if err := v4.Allocate(ctx, Owner{"default", "s"}, ip, false); err != nil {
		t.Error(err)
	}
	v4.Use(nil)
	if _, err := v4.AllocateNext(ctx, Owner{"default", "s"}, false); !errors.Is(err, ErrFull) {
		t.Errorf("without any range: %v", err)
	}
}

func TestFullRangeFallsOver(t *testing.T) {
	for name, test := range map[string]struct {
		ranges []string
		want   int
	}{
		"one":                 {[]string{"10.0.0.0/29"}, 6},
		"two":                 {[]string{"10.0.0.0/29", "10.1.0.0/26"}, 68},
		"one inside another":  {[]string{"10.0.0.0/29", "10.0.0.0/26"}, 62},
		"twice the same":      {[]string{"10.0.0.0/29", "10.0.0.0/29"}, 6},
		"one closed":          {[]string{"10.0.0.0/29", "-10.1.0.0/26"}, 6},
		"more than guesses":   {[]string{"10.0.0.0/30", "10.0.1.0/30", "10.0.2.0/30", "10.0.3.0/30", "10.0.4.0/30", "10.0.5.0/30", "10.0.6.0/30", "10.0.7.0/30", "10.0.8.0/30", "10.0.9.0/30"}, 20},
		"only the other ones": {[]string{"-10.0.0.0/29", "10.2.0.0/30"}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			s, ctx := newStore(t), t.Context()
			masters := []*Addresses{newAddresses(t, s, "10.0.0.0/29"), newAddresses(t, s, "10.0.0.0/29")}
			for _, m := range masters {
				m.Use(ranges(test.ranges...))
			}
			var mu sync.Mutex // guards got
			got := map[netip.Addr]int{}
			var wg sync.WaitGroup
			for i := range test.want {
				wg.Go(func() {
					ip, err := masters[i%2].AllocateNext(ctx, Owner{"default", "s"}, false)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					defer mu.Unlock()
					got[ip]++
				})
			}
			wg.Wait()
			for ip, n := range got {
				if n > 1 || !holder(masters[0].ranges.Load().open, ip) {
					t.Errorf("%s was given %d times, or is outside", ip, n)
				}
			}
			if ip, err := masters[0].AllocateNext(ctx, Owner{"default", "s"}, false); !errors.Is(err, ErrFull) {
				t.Errorf("one more: %s, %v", ip, err)
			}
		})
	}
}

// Ranges come and go while addresses are given: none is given twice, none is lost.
func TestRangesChangeMeanwhile(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	a := newAddresses(t, s, "10.0.0.0/28")
	sets := [][]Range{ranges("10.0.0.0/28"), ranges("10.0.0.0/28", "10.1.0.0/24"), ranges("-10.0.0.0/28", "10.1.0.0/24")}
	var wg sync.WaitGroup
	done := make(chan struct{})
	wg.Go(func() {
		for i := 0; ; i++ {
			a.Use(sets[i%len(sets)])
			select {
			case <-done:
				return
			default:
			}
		}
	})
	var givers sync.WaitGroup
	var mu sync.Mutex // guards got
	var got []string
	for range 8 {
		givers.Go(func() {
			for range 40 {
				ip, err := a.AllocateNext(ctx, Owner{"default", "s"}, false)
				if err != nil && !errors.Is(err, ErrFull) {
					t.Error(err)
				}
				if err == nil {
					mu.Lock()
					got = append(got, ip.String())
					mu.Unlock()
				}
			}
		})
	}
	givers.Wait()
	close(done)
	wg.Wait()
	taken, err := a.taken(ctx)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(got)
	if len(slices.Compact(got)) != len(taken) {
		t.Errorf("%d different addresses were given, %d are taken", len(got), len(taken))
	}
}

func TestRepairKnowsAllRanges(t *testing.T) {
	s, ctx := newStore(t), t.Context()
	a := newAddresses(t, s, "10.0.0.0/28")
	a.Use(ranges("10.0.0.0/28", "10.1.0.0/24", "-10.2.0.0/24"))
	p, err := NewPorts(PortConfig{Store: s})
	if err != nil {
		t.Fatal(err)
	}
	for name, ip := range map[string]string{"open": "10.1.0.9", "closed": "10.2.0.9", "outside": "10.9.0.9"} {
		putService(t, s, name, ip)
	}
	done, err := NewRepairer(s, []*Addresses{a}, p).Repair(ctx)
	if diff := cmp.Diff(Repaired{AddressesTaken: 2}, done); err != nil || diff != "" {
		t.Errorf("%v, (-want +got):\n%s", err, diff)
	}
	kv, _, err := s.Get(ctx, addressPrefix+"10.2.0.9")
	if err != nil || kv == nil {
		t.Fatalf("%v, %v", kv, err)
	}
	var ip networkingv1.IPAddress
	if err := decode(kv.Value, &ip); err != nil {
		t.Fatal(err)
	}
	if ip.Generation != 0 || ownerOf(&ip) != (Owner{"default", "closed"}) || len(ip.ManagedFields) != 1 || ip.ManagedFields[0].Manager != "kube-apiserver" {
		t.Errorf("the object is %+v", ip)
	}
}

func BenchmarkAllocateOfSeveral(b *testing.B) {
	a, err := NewAddresses(AddressConfig{Store: newStore(b), CIDR: netip.MustParsePrefix("10.0.0.0/12")})
	if err != nil {
		b.Fatal(err)
	}
	a.Use(ranges("10.0.0.0/12", "11.0.0.0/12", "12.0.0.0/12"))
	b.ReportAllocs()
	for b.Loop() {
		ip, err := a.AllocateNext(b.Context(), Owner{"default", "s"}, true)
		if err != nil || !ip.IsValid() {
			b.Fatal(err)
		}
	}
}

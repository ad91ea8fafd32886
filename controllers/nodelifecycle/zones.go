package nodelifecycle

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/component-helpers/node/topology"
)

// The pace at which nodes of a zone are emptied. It slows down as more of a
// zone fails at once: then the network is the likelier cause.
const (
	evictEvery     = 10 * time.Second  // a healthy zone
	evictSlowly    = 100 * time.Second // a large zone, mostly failed
	largeZone      = 50                // nodes
	unhealthyShare = 0.55
)

// Zone says how a zone is doing.
type Zone struct{ Ready, NotReady int }

// Pace is the time between two nodes of the zone that are emptied; ok is false
// if none is to be.
func (z Zone) Pace() (every time.Duration, ok bool) {
	total := z.Ready + z.NotReady
	switch {
	case z.NotReady > 2 && z.Ready > 0 && float64(z.NotReady) >= unhealthyShare*float64(total):
		return evictSlowly, total > largeZone
	}
	return evictEvery, true
}

// Zones counts the nodes by zone. Cut is true if not one of them is ready.
func Zones(nodes []*corev1.Node) (zones map[string]Zone, cut bool) {
	zones = map[string]Zone{}
	cut = len(nodes) > 0
	for _, n := range nodes {
		key := topology.GetZoneKey(n)
		z := zones[key]
		if readiness(n) == corev1.ConditionTrue {
			z.Ready++
			cut = false
		} else {
			z.NotReady++
		}
		zones[key] = z
	}
	return zones, cut
}

// Package nodeipam gives every node a range of pod addresses out of the
// cluster's, for networks that route or bridge by node.
package nodeipam

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/netip"
	"slices"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers"
)

// Config configures the controller.
type Config struct {
	// ClusterCIDRs are the ranges that all pods' addresses come from: one, or
	// one of each family. Required.
	ClusterCIDRs []netip.Prefix
	// IPv4Mask and IPv6Mask are the sizes of a node's range; 24 and 64 if 0.
	IPv4Mask, IPv6Mask int
}

// New registers the controller.
func New(config Config) controllers.Registration {
	return controllers.Registration{Name: "node_ipam", Component: "cidrAllocator", Workers: 1, Setup: func(env *controllers.Env) (controllers.Controller, error) {
		ranges, err := config.ranges()
		if err != nil {
			return controllers.Controller{}, err
		}
		nodes := env.Informers.Core().V1().Nodes()
		lister := nodes.Lister()
		return controllers.Controller{
			// All nodes share one key: two of them must not be given the same range.
			Watches: []controllers.Watch{{Informer: nodes.Informer(), Object: &corev1.Node{}, Keys: func(c controllers.Change) []controllers.Key {
				if n, ok := c.New.(*corev1.Node); ok && n.Spec.PodCIDR != "" {
					return nil
				}
				// A node that is gone gives its range back: another may wait for it.
				return []controllers.Key{{Name: "nodes"}}
			}}},
			Reconcile: func(context.Context, controllers.Key) (controllers.Plan, error) {
				all, err := lister.List(labels.Everything())
				if err != nil {
					return controllers.Plan{}, err
				}
				return Reconcile(all, ranges), nil
			},
		}, nil
	}}
}

// Range is a range of the cluster with the size of each node's part.
type Range struct {
	Cluster netip.Prefix
	Mask    int
}

func (c Config) ranges() (out []Range, err error) {
	if len(c.ClusterCIDRs) == 0 {
		return nil, errors.New("no cluster CIDR")
	}
	for i, p := range c.ClusterCIDRs {
		if i > 1 || i == 1 && p.Addr().Is4() == c.ClusterCIDRs[0].Addr().Is4() {
			return nil, fmt.Errorf("cluster CIDRs %v: more than one of a family", c.ClusterCIDRs)
		}
		mask := cmp.Or(c.IPv4Mask, 24)
		if p.Addr().Is6() {
			mask = cmp.Or(c.IPv6Mask, 64)
		}
		if !p.IsValid() || mask < p.Bits() || mask > p.Addr().BitLen() {
			return nil, fmt.Errorf("cluster CIDR %s cannot be cut into ranges of /%d", p, mask)
		}
		out = append(out, Range{p.Masked(), mask})
	}
	return out, nil
}

// Reconcile gives each node that has no range the lowest one that is free.
func Reconcile(nodes []*corev1.Node, ranges []Range) controllers.Plan {
	nodes = slices.Clone(nodes)
	slices.SortFunc(nodes, func(a, b *corev1.Node) int {
		return cmp.Or(a.CreationTimestamp.Compare(b.CreationTimestamp.Time), cmp.Compare(a.Name, b.Name))
	})
	var used []netip.Prefix
	for _, n := range nodes {
		for _, cidr := range append([]string{n.Spec.PodCIDR}, n.Spec.PodCIDRs...) {
			if p, err := netip.ParsePrefix(cidr); err == nil {
				used = append(used, p.Masked())
			}
		}
	}
	taken := newTaken(used)
	var plan controllers.Plan
	var writes []controllers.Write
	for _, n := range nodes {
		if n.Spec.PodCIDR != "" || n.DeletionTimestamp != nil {
			continue
		}
		var cidrs []string
		for i, r := range ranges {
			p, ok := taken.next(i, r)
			if !ok {
				plan.Events = append(plan.Events, controllers.Event{
					About: n, Type: corev1.EventTypeNormal, Reason: "CIDRNotAvailable",
					Message: fmt.Sprintf("Node %s status is now: CIDRNotAvailable", n.Name),
				})
				cidrs = nil
				break
			}
			cidrs = append(cidrs, p.String())
		}
		if len(cidrs) > 0 {
			writes = append(writes, assign(n, cidrs))
		}
	}
	if len(writes) > 0 {
		plan.Steps = []controllers.Step{{Writes: writes, Mode: controllers.Together}}
	}
	return plan
}

func assign(n *corev1.Node, cidrs []string) controllers.Write {
	data, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"uid": n.UID},
		"spec":     map[string]any{"podCIDR": cidrs[0], "podCIDRs": cidrs},
	})
	if err != nil {
		panic(err) // strings always encode
	}
	return controllers.Write{Verb: controllers.Patch, Object: n, PatchType: types.StrategicMergePatchType, PatchData: data}
}

// taken remembers what is in use, and where the search for each range goes on.
type taken struct {
	used   []netip.Prefix
	exact  map[netip.Prefix]bool
	cursor map[int]netip.Prefix
}

func newTaken(used []netip.Prefix) *taken {
	t := &taken{used: used, exact: map[netip.Prefix]bool{}, cursor: map[int]netip.Prefix{}}
	for _, p := range used {
		t.exact[p] = true
	}
	return t
}

func (t *taken) next(i int, r Range) (netip.Prefix, bool) {
	p, ok := t.cursor[i]
	if !ok {
		p = netip.PrefixFrom(r.Cluster.Addr(), r.Mask)
	}
	for ; p.IsValid() && r.Cluster.Contains(p.Addr()); p = after(p) {
		if !t.exact[p] && !t.overlaps(p, r.Mask) {
			t.cursor[i] = after(p)
			return p, true
		}
	}
	t.cursor[i] = p
	return netip.Prefix{}, false
}

// overlaps looks for ranges of another size; those of the same size are in exact.
func (t *taken) overlaps(p netip.Prefix, mask int) bool {
	return slices.ContainsFunc(t.used, func(u netip.Prefix) bool { return u.Bits() != mask && u.Overlaps(p) })
}

// after is the next prefix of the same size; not valid at the end of the space.
func after(p netip.Prefix) netip.Prefix {
	n := new(big.Int).SetBytes(p.Addr().AsSlice())
	n.Add(n, new(big.Int).Lsh(big.NewInt(1), uint(p.Addr().BitLen()-p.Bits())))
	size := p.Addr().BitLen() / 8
	if n.BitLen() > size*8 {
		return netip.Prefix{}
	}
	a, _ := netip.AddrFromSlice(n.FillBytes(make([]byte, size)))
	return netip.PrefixFrom(a, p.Bits())
}

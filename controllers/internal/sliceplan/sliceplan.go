// Package sliceplan brings the EndpointSlices of a service up to date with as
// few writes as possible: slices that are right are left alone, slices that
// must change anyway take the new endpoints, and only what is left makes new ones.
package sliceplan

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/controllers"
)

// MaxEndpoints is how many endpoints a slice holds.
const MaxEndpoints = 100

// Group are the endpoints that are reached on the same ports.
type Group struct {
	Ports     []discoveryv1.EndpointPort
	Endpoints []discoveryv1.Endpoint
}

// Wanted is what the slices of one address type should say.
type Wanted struct {
	Type   discoveryv1.AddressType
	Groups []Group
	// Meta is the metadata of every slice: namespace, generateName, labels,
	// annotations, owner references.
	Meta metav1.ObjectMeta
	// Placeholder keeps one empty slice where there are no endpoints, which
	// says that there are none.
	Placeholder bool
	// Failed is the event of a write that fails, nil for none.
	Failed *controllers.Event
}

// Plan compares the slices with what is wanted. Existing are all slices under
// the same management; those of another type are left alone.
func Plan(w Wanted, existing []*discoveryv1.EndpointSlice) controllers.Plan {
	byPorts := map[string][]*discoveryv1.EndpointSlice{}
	total := 0
	for _, s := range existing {
		if s.AddressType == w.Type {
			key := PortsKey(s.Ports)
			byPorts[key] = append(byPorts[key], s)
			total++
		}
	}
	var p pending
	for _, g := range w.Groups {
		key := PortsKey(g.Ports)
		p.group(w, g, byPorts[key])
		delete(byPorts, key)
	}
	for _, rest := range byPorts {
		p.remove = append(p.remove, rest...)
	}
	slices.SortFunc(p.remove, func(a, b *discoveryv1.EndpointSlice) int { return cmp.Compare(a.Name, b.Name) })
	if w.Placeholder && len(p.remove) == total && len(p.create) == 0 {
		p.placeholder(w)
	}
	p.reuse()
	return p.plan(w)
}

// pending collects the writes.
type pending struct {
	create, update []*discoveryv1.EndpointSlice
	remove         []*discoveryv1.EndpointSlice
}

// group fits the endpoints of one group into the slices that have its ports.
func (p *pending) group(w Wanted, g Group, existing []*discoveryv1.EndpointSlice) {
	missing := map[string]*discoveryv1.Endpoint{}
	var order []string
	for i := range g.Endpoints {
		key := endpointKey(&g.Endpoints[i])
		if missing[key] == nil {
			missing[key] = &g.Endpoints[i]
			order = append(order, key)
		}
	}
	slices.SortFunc(existing, func(a, b *discoveryv1.EndpointSlice) int { return cmp.Compare(a.Name, b.Name) })
	var dirty, clean []*discoveryv1.EndpointSlice
	for _, s := range existing {
		kept := make([]discoveryv1.Endpoint, 0, len(s.Endpoints))
		changed := !sameMeta(w, s)
		for i := range s.Endpoints {
			key := endpointKey(&s.Endpoints[i])
			want := missing[key]
			if want == nil {
				changed = true
				continue
			}
			delete(missing, key)
			changed = changed || !apiequality.Semantic.DeepEqual(*want, s.Endpoints[i])
			kept = append(kept, *want)
		}
		switch {
		case len(kept) == 0:
			p.remove = append(p.remove, s)
		case changed:
			updated := s.DeepCopy()
			updated.Endpoints = kept
			applyMeta(w, updated)
			dirty = append(dirty, updated)
		default:
			clean = append(clean, s)
		}
	}
	var add []discoveryv1.Endpoint
	for _, key := range order {
		if e := missing[key]; e != nil {
			add = append(add, *e)
		}
	}
	// The fullest first, so that half-empty slices do not gather.
	slices.SortStableFunc(dirty, func(a, b *discoveryv1.EndpointSlice) int {
		return cmp.Compare(len(b.Endpoints), len(a.Endpoints))
	})
	for _, s := range dirty {
		n := min(MaxEndpoints-len(s.Endpoints), len(add))
		if n > 0 {
			s.Endpoints = append(s.Endpoints, add[:n]...)
			add = add[n:]
		}
	}
	p.update = append(p.update, dirty...)
	p.place(w, g, add, clean)
}

// place puts endpoints that no changed slice had room for into new slices, and
// the last few of them into a slice that was right already, if one has room.
func (p *pending) place(w Wanted, g Group, add []discoveryv1.Endpoint, clean []*discoveryv1.EndpointSlice) {
	for len(add) > 0 {
		if len(add) < MaxEndpoints {
			if fit := closest(clean, len(add)); fit != nil {
				updated := fit.DeepCopy()
				updated.Endpoints = append(updated.Endpoints, add...)
				p.update = append(p.update, updated)
				return
			}
		}
		n := min(MaxEndpoints, len(add))
		p.create = append(p.create, newSlice(w, g.Ports, add[:n]))
		add = add[n:]
	}
}

// closest is the slice that n more endpoints fill up best, nil if none has room.
func closest(list []*discoveryv1.EndpointSlice, n int) (best *discoveryv1.EndpointSlice) {
	for _, s := range list {
		if len(s.Endpoints)+n <= MaxEndpoints && (best == nil || len(s.Endpoints) > len(best.Endpoints)) {
			best = s
		}
	}
	return best
}

// placeholder keeps an empty slice.
func (p *pending) placeholder(w Wanted) {
	for i, s := range p.remove {
		if len(s.Endpoints) == 0 && len(s.Ports) == 0 {
			p.remove = slices.Delete(p.remove, i, i+1)
			if !sameMeta(w, s) {
				updated := s.DeepCopy()
				applyMeta(w, updated)
				p.update = append(p.update, updated)
			}
			return
		}
	}
	p.create = append(p.create, newSlice(w, []discoveryv1.EndpointPort{}, []discoveryv1.Endpoint{}))
}

// reuse turns pairs of a removal and a creation into updates: one write, and no
// moment without endpoints.
func (p *pending) reuse() {
	for len(p.create) > 0 && len(p.remove) > 0 {
		updated := p.create[0]
		old := p.remove[0]
		updated.GenerateName = old.GenerateName
		updated.Name, updated.UID, updated.ResourceVersion = old.Name, old.UID, old.ResourceVersion
		updated.CreationTimestamp = old.CreationTimestamp
		p.update = append(p.update, updated)
		p.create, p.remove = p.create[1:], p.remove[1:]
	}
}

func (p *pending) plan(w Wanted) controllers.Plan {
	var set, remove []controllers.Write
	for _, s := range p.update {
		set = append(set, controllers.Write{Verb: controllers.Update, Object: s, Failed: w.Failed})
	}
	for _, s := range p.create {
		set = append(set, controllers.Write{Verb: controllers.Create, Object: s, Failed: w.Failed})
	}
	for _, s := range p.remove {
		remove = append(remove, controllers.Write{Verb: controllers.Delete, Object: s, Failed: w.Failed})
	}
	var plan controllers.Plan
	for _, writes := range [][]controllers.Write{set, remove} {
		if len(writes) > 0 {
			plan.Steps = append(plan.Steps, controllers.Step{Writes: writes, Mode: controllers.Together})
		}
	}
	return plan
}

func newSlice(w Wanted, ports []discoveryv1.EndpointPort, endpoints []discoveryv1.Endpoint) *discoveryv1.EndpointSlice {
	return &discoveryv1.EndpointSlice{
		ObjectMeta: *w.Meta.DeepCopy(), AddressType: w.Type,
		Ports: slices.Clone(ports), Endpoints: slices.Clone(endpoints),
	}
}

func sameMeta(w Wanted, s *discoveryv1.EndpointSlice) bool {
	return apiequality.Semantic.DeepEqual(s.Labels, w.Meta.Labels) &&
		apiequality.Semantic.DeepEqual(s.OwnerReferences, w.Meta.OwnerReferences)
}

func applyMeta(w Wanted, s *discoveryv1.EndpointSlice) {
	m := w.Meta.DeepCopy()
	s.Labels, s.OwnerReferences = m.Labels, m.OwnerReferences
}

// endpointKey tells endpoints apart: what has the same key is the same endpoint
// in another state.
func endpointKey(e *discoveryv1.Endpoint) string {
	parts := slices.Clone(e.Addresses)
	if e.TargetRef != nil {
		parts = append(parts, string(e.TargetRef.UID), e.TargetRef.Namespace, e.TargetRef.Name)
	}
	if e.Hostname != nil {
		parts = append(parts, "host", *e.Hostname)
	}
	return strings.Join(parts, "\x00")
}

// PortsKey is the same for the same set of ports.
func PortsKey(ports []discoveryv1.EndpointPort) string {
	keys := make([]string, len(ports))
	for i, p := range ports {
		var b strings.Builder
		if p.Name != nil {
			b.WriteString(*p.Name)
		}
		b.WriteByte(0)
		if p.Protocol != nil && *p.Protocol != "" {
			b.WriteString(string(*p.Protocol))
		} else {
			b.WriteString(string(corev1.ProtocolTCP))
		}
		b.WriteByte(0)
		if p.Port != nil {
			b.WriteString(strconv.Itoa(int(*p.Port)))
		}
		b.WriteByte(0)
		if p.AppProtocol != nil {
			b.WriteString(*p.AppProtocol)
		}
		keys[i] = b.String()
	}
	slices.Sort(keys)
	return strings.Join(keys, "\x01")
}

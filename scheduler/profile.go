package scheduler

import (
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/scheduler/framework"
	"github.com/strake-io/strake/scheduler/plugins/prioritysort"
)

// profile is the plugins sorted into extension points. It is never changed.
type profile struct {
	name       string
	preEnqueue []framework.PreEnqueuePlugin
	sort       framework.QueueSortPlugin
	preFilter  []framework.PreFilterPlugin
	filter     []framework.FilterPlugin
	postFilter []framework.PostFilterPlugin
	preScore   []framework.PreScorePlugin
	score      []scorer
	reserve    []framework.ReservePlugin
	permit     []framework.PermitPlugin
	preBind    []framework.PreBindPlugin
	bind       []framework.BindPlugin
	postBind   []framework.PostBindPlugin

	// signers is nil where some filter or score plugin is no Signer: then no two
	// pods are known to be alike.
	signers []framework.Signer
	// hints are the events that may help what a plugin rejected; a plugin without
	// an entry may be helped by any.
	hints map[string][]framework.EventHint
	// hinting names the plugins with hints, in the order of the profile.
	hinting []string
	// wakes is the union of the events that may help any pod.
	wakes framework.Event
}

type scorer struct {
	framework.ScorePlugin
	weight    int64
	normalize framework.NormalizeScorePlugin // nil where scores are absolute
}

func newProfile(name string, list []framework.Weighted, binder framework.Plugin) (*profile, error) {
	p := &profile{name: name, hints: make(map[string][]framework.EventHint), wakes: framework.NodeAdd}
	seen := make(map[string]bool)
	unsigned := false
	add := func(w framework.Weighted) error {
		if w.Plugin == nil {
			return errors.New("a plugin of the profile is nil")
		}
		n := w.Plugin.Name()
		if seen[n] {
			return fmt.Errorf("plugin %q is twice in the profile", n)
		}
		seen[n] = true
		if w.Weight < 0 {
			return fmt.Errorf("plugin %q has the negative weight %d", n, w.Weight)
		}
		if w.Weight == 0 {
			w.Weight = 1
		}
		return p.add(w, &unsigned)
	}
	for _, w := range list {
		if err := add(w); err != nil {
			return nil, err
		}
	}
	if len(p.bind) == 0 {
		if err := add(framework.Weighted{Plugin: binder}); err != nil {
			return nil, err
		}
	}
	if p.sort == nil {
		p.sort = prioritysort.New()
	}
	if unsigned {
		p.signers = nil
	}
	return p, nil
}

func (p *profile) add(w framework.Weighted, unsigned *bool) error {
	known, decides, rejects := false, false, false
	if x, ok := w.Plugin.(framework.PreEnqueuePlugin); ok {
		p.preEnqueue, known = append(p.preEnqueue, x), true
	}
	if x, ok := w.Plugin.(framework.QueueSortPlugin); ok {
		if p.sort != nil {
			return fmt.Errorf("%q and %q both sort the queue", p.sort.Name(), x.Name())
		}
		p.sort, known = x, true
	}
	if x, ok := w.Plugin.(framework.PreFilterPlugin); ok {
		p.preFilter, known, decides, rejects = append(p.preFilter, x), true, true, true
	}
	if x, ok := w.Plugin.(framework.FilterPlugin); ok {
		p.filter, known, decides, rejects = append(p.filter, x), true, true, true
	}
	if x, ok := w.Plugin.(framework.PostFilterPlugin); ok {
		p.postFilter, known = append(p.postFilter, x), true
	}
	if x, ok := w.Plugin.(framework.PreScorePlugin); ok {
		p.preScore, known, decides = append(p.preScore, x), true, true
	}
	if x, ok := w.Plugin.(framework.ScorePlugin); ok {
		s := scorer{ScorePlugin: x, weight: w.Weight}
		s.normalize, _ = w.Plugin.(framework.NormalizeScorePlugin)
		p.score, known, decides = append(p.score, s), true, true
	}
	if x, ok := w.Plugin.(framework.ReservePlugin); ok {
		p.reserve, known, rejects = append(p.reserve, x), true, true
	}
	if x, ok := w.Plugin.(framework.PermitPlugin); ok {
		p.permit, known, rejects = append(p.permit, x), true, true
	}
	if x, ok := w.Plugin.(framework.PreBindPlugin); ok {
		p.preBind, known = append(p.preBind, x), true
	}
	if x, ok := w.Plugin.(framework.BindPlugin); ok {
		p.bind, known = append(p.bind, x), true
	}
	if x, ok := w.Plugin.(framework.PostBindPlugin); ok {
		p.postBind, known = append(p.postBind, x), true
	}
	if !known {
		return fmt.Errorf("plugin %q implements no extension point", w.Plugin.Name())
	}
	if decides {
		if x, ok := w.Plugin.(framework.Signer); ok {
			p.signers = append(p.signers, x)
		} else {
			*unsigned = true
		}
	}
	if x, ok := w.Plugin.(framework.EnqueueExtensions); ok {
		hints := x.EventsToRegister()
		p.hints[w.Plugin.Name()] = hints
		p.hinting = append(p.hinting, w.Plugin.Name())
		for _, h := range hints {
			p.wakes |= h.On
		}
	} else if rejects {
		p.wakes = framework.AllEvents
	}
	return nil
}

// sign writes the pod's signature, or returns false where the pod has none.
func (p *profile) sign(pod *framework.PodInfo, s *framework.Signature) bool {
	s.Reset()
	if len(p.signers) == 0 {
		return false
	}
	for _, x := range p.signers {
		if !x.Sign(pod, s) {
			return false
		}
	}
	return true
}

// gate is the plugin that keeps a pod out of the queue, and why; "" where none does.
func (p *profile) gate(pod *corev1.Pod) (string, *framework.Status) {
	for _, x := range p.preEnqueue {
		if s := x.PreEnqueue(pod); !s.IsSuccess() {
			return x.Name(), s
		}
	}
	return "", nil
}

// helps says whether an event may help a pod that these plugins rejected.
func (p *profile) helps(pod *framework.PodInfo, rejectedBy []string, e *framework.ClusterEvent) bool {
	if len(rejectedBy) == 0 {
		return e.Event&framework.NodeAdd != 0 // there was no node
	}
	for _, name := range rejectedBy {
		hints, ok := p.hints[name]
		if !ok {
			return true
		}
		for _, h := range hints {
			if h.On&e.Event != 0 && (h.Helps == nil || h.Helps(pod, e)) {
				return true
			}
		}
	}
	return false
}

// refuses names a plugin, whichever rejected the pod before, that says of the new
// node of e that the pod cannot run on it; "" where none does.
func (p *profile) refuses(pod *framework.PodInfo, e *framework.ClusterEvent) string {
	for _, name := range p.hinting {
		for _, h := range p.hints[name] {
			if h.On&e.Event != 0 && h.Helps != nil && !h.Helps(pod, e) {
				return name
			}
		}
	}
	return ""
}

package fairness

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	"k8s.io/apiserver/pkg/apis/flowcontrol/bootstrap"
	"k8s.io/apiserver/pkg/util/shufflesharding"
	"k8s.io/utils/ptr"
)

// Apply makes these the flow schemas and priority levels that hold for requests that
// come from now on. Mandatory ones that are not among them are there all the same. A
// level that is wrong is as one that is not there; a schema whose level is not there
// matches nothing. The objects are read-only from then on.
func (c *Controller) Apply(schemas []*flowcontrolv1.FlowSchema, levels []*flowcontrolv1.PriorityLevelConfiguration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.schemas, c.objects = schemas, levels
	c.rebuild()
}

// rebuild makes everything of the objects anew, and keeps what is in use. The caller
// holds mu.
func (c *Controller) rebuild() {
	there := c.takeLevels()
	c.divideSeats()
	c.lendSeats()
	c.takeSchemas(there)
}

// takeLevels makes the levels those of the objects, and returns the names of these.
// Others stay as long as they have requests.
func (c *Controller) takeLevels() map[string]bool {
	there := map[string]bool{}
	take := func(object *flowcontrolv1.PriorityLevelConfiguration) {
		config, share, err := levelOf(object)
		if err != nil {
			c.config.Logger.Info("A priority level is wrong and not used", "name", object.Name, "error", err.Error())
			return
		}
		there[object.Name] = true
		s := c.levels[object.Name]
		if s == nil {
			s = &state{level: &level{name: object.Name, metrics: c.metrics.ofLevel(object.Name)}}
			c.levels[object.Name] = s
		}
		s.queuing, s.share, s.exempt = config, share, config.unlimited
		s.uid, s.leaving, s.hand = string(object.UID), false, 0
		if limited := object.Spec.Limited; limited != nil && limited.LimitResponse.Queuing != nil {
			s.hand = int(limited.LimitResponse.Queuing.HandSize)
		}
	}
	for _, object := range c.objects {
		take(object)
	}
	for _, object := range bootstrap.MandatoryPriorityLevelConfigurations {
		if !there[object.Name] {
			take(object)
		}
	}
	for name, s := range c.levels {
		if there[name] {
			continue
		}
		if s.level.idle() {
			c.metrics.forget(name, "")
			delete(c.levels, name)
			continue
		}
		s.leaving = true
	}
	return there
}

// levelOf reads what an object says of its level.
func levelOf(object *flowcontrolv1.PriorityLevelConfiguration) (queuing, share, error) {
	spec := &object.Spec
	exempt := object.Name == flowcontrolv1.PriorityLevelConfigurationNameExempt
	switch {
	case exempt != (spec.Type == flowcontrolv1.PriorityLevelEnablementExempt):
		return queuing{}, share{}, errors.New("the level exempt alone is of the type Exempt")
	case exempt && (spec.Exempt == nil || spec.Limited != nil), !exempt && (spec.Limited == nil || spec.Exempt != nil):
		return queuing{}, share{}, errors.New("its spec is not that of its type")
	case exempt:
		e := spec.Exempt
		return queuing{unlimited: true}, share{shares: ptr.Deref(e.NominalConcurrencyShares, 0), lendable: ptr.Deref(e.LendablePercent, 0)}, nil
	}
	l := spec.Limited
	s := share{shares: max(0, ptr.Deref(l.NominalConcurrencyShares, 0)), lendable: ptr.Deref(l.LendablePercent, 0), borrowing: l.BorrowingLimitPercent}
	queue := l.LimitResponse.Queuing
	if (l.LimitResponse.Type == flowcontrolv1.LimitResponseTypeQueue) != (queue != nil) {
		return queuing{}, share{}, errors.New("its response to too many requests is not that of its type")
	}
	if queue == nil {
		return queuing{}, s, nil
	}
	dealer, err := shufflesharding.NewDealer(int(queue.Queues), int(queue.HandSize))
	if err != nil {
		return queuing{}, share{}, fmt.Errorf("its queues: %w", err)
	}
	return queuing{dealer: dealer, length: int(queue.QueueLengthLimit)}, s, nil
}

// divideSeats gives each level its part of the server's seats.
func (c *Controller) divideSeats() {
	states := slices.Collect(maps.Values(c.levels))
	shares := make([]share, len(states))
	for i, s := range states {
		shares[i] = s.share
	}
	for i, l := range divide(c.config.Seats, shares) {
		states[i].limits = l
		states[i].level.metrics.configured(l)
	}
}

// lendSeats decides how many each level has for now.
func (c *Controller) lendSeats() {
	states := slices.Collect(maps.Values(c.levels))
	standings := make([]standing, len(states))
	for i, s := range states {
		// What was seen since the last measurement counts too.
		peak := max(s.measured.peak, s.level.peak())
		standings[i] = standing{exempt: s.exempt, limits: s.limits, peak: peak, smoothed: s.smoothed}
	}
	seats, fraction := lend(standings)
	c.metrics.fraction.Set(fraction)
	for i, s := range states {
		s.seats = seats[i]
		s.level.configure(s.queuing, s.seats)
		m := s.level.metrics
		m.current.Set(float64(s.seats))
		m.target.Set(standings[i].target())
	}
}

// adjust measures what levels need, and lends seats by it.
func (c *Controller) adjust() {
	c.mu.Lock()
	defer c.mu.Unlock()
	left := false
	for _, s := range c.levels {
		s.measured = s.level.measure()
		s.smoothed = smooth(s.smoothed, s.measured)
		s.level.metrics.measured(s.measured)
		s.level.metrics.smooth.Set(s.smoothed)
		left = left || s.leaving && s.level.idle()
	}
	if left {
		c.rebuild()
		return
	}
	c.lendSeats()
}

// takeSchemas makes what requests are classified by of the schemas whose levels are
// there.
func (c *Controller) takeSchemas(there map[string]bool) {
	next := &classes{}
	kept := map[flowKey]*flow{}
	have := map[string]bool{}
	take := func(object *flowcontrolv1.FlowSchema) {
		name := object.Spec.PriorityLevelConfiguration.Name
		if !there[name] || have[object.Name] {
			return
		}
		have[object.Name] = true
		f := c.flowOf(object, c.levels[name])
		kept[flowKey{name, object.Name}] = f
		next.all = append(next.all, class{rules: compileRules(object.Spec.Rules), flow: f})
		if object.Name == flowcontrolv1.FlowSchemaNameCatchAll {
			next.rest = f
		}
	}
	schemas := slices.Clone(c.schemas)
	for _, mandatory := range bootstrap.MandatoryFlowSchemas {
		if !slices.ContainsFunc(schemas, func(s *flowcontrolv1.FlowSchema) bool {
			return s.Name == mandatory.Name && there[s.Spec.PriorityLevelConfiguration.Name]
		}) {
			schemas = append(schemas, mandatory)
		}
	}
	for _, object := range inOrder(schemas) {
		take(object)
	}
	for key := range c.flows {
		if kept[key] == nil {
			c.metrics.forget(key.level, key.schema)
		}
	}
	c.flows = kept
	c.classes.Store(next)
}

// flowOf is how what a schema matches is served. It goes on with the series that
// there are.
func (c *Controller) flowOf(object *flowcontrolv1.FlowSchema, s *state) *flow {
	f := &flow{
		schema: object.Name, level: s.level, distinguisher: distinguisherOf(object.Spec.DistinguisherMethod),
		queued: s.queuing.dealer != nil, seed: c.config.Seed,
		schemaUID: []string{string(object.UID)}, levelUID: []string{s.uid},
	}
	if f.queued {
		f.widest = s.limits.widest(s.hand)
	}
	if old := c.flows[flowKey{s.level.name, object.Name}]; old != nil {
		f.metrics = old.metrics
	} else {
		f.metrics = c.metrics.ofFlow(s.level.name, object.Name)
	}
	return f
}

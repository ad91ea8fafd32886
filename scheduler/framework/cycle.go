package framework

import "slices"

// Cycle is one attempt to place one pod. Plugins read it and keep their state in
// it; after PreScore the state is read-only too, since pods alike share it.
type Cycle struct {
	// Pod is the pod being placed.
	Pod *PodInfo
	// Snapshot is the cluster. It is valid in the steps up to Reserve; it is nil
	// in the later ones, which run beside other attempts.
	Snapshot *Snapshot

	state []stateEntry
}

type stateEntry struct {
	name  string
	value any
}

// SetState keeps a value under a name, by habit the plugin's.
func (c *Cycle) SetState(name string, value any) {
	for i := range c.state {
		if c.state[i].name == name {
			c.state[i].value = value
			return
		}
	}
	c.state = append(c.state, stateEntry{name, value})
}

// State returns what SetState kept, or nil.
func (c *Cycle) State(name string) any {
	for i := range c.state {
		if c.state[i].name == name {
			return c.state[i].value
		}
	}
	return nil
}

// ForPod is the cycle of a pod that is alike: the same state, without the
// snapshot.
func (c *Cycle) ForPod(pod *PodInfo) *Cycle {
	return &Cycle{Pod: pod, state: slices.Clone(c.state)}
}

package strake

import (
	"context"
	"errors"

	"github.com/strake-io/strake/apiserver/resources/core"
)

var errNotReady = errors.New("it has not started")

// components are what component statuses tell of: the parts that this control plane
// has. They are asked when the control plane is assembled.
func (c *ControlPlane) components() []core.Component {
	ready := func(part func() <-chan struct{}) func(context.Context) error {
		return func(context.Context) error {
			select {
			case <-part():
				return nil
			default:
				return errNotReady
			}
		}
	}
	var all []core.Component
	if !c.config.NoControllers {
		all = append(all, core.Component{Name: "controller-manager", Healthy: ready(func() <-chan struct{} { return c.runner.Ready() })})
	}
	if !c.config.NoScheduler {
		all = append(all, core.Component{Name: "scheduler", Healthy: ready(func() <-chan struct{} { return c.scheduler.Ready() })})
	}
	return append(all, core.Component{Name: "etcd-0", Healthy: func(ctx context.Context) error {
		_, _, err := c.config.Store.Get(ctx, "/registry/health")
		return err
	}})
}

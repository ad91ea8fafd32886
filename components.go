package strake

import (
	"context"
	"errors"

	"github.com/strake-io/strake/apiserver/resources/core"
)

var errNotReady = errors.New("it has not started")

// components are what component statuses tell of. They are asked when the control
// plane is assembled.
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
	return []core.Component{
		{Name: "controller-manager", Healthy: ready(func() <-chan struct{} { return c.runner.Ready() })},
		{Name: "scheduler", Healthy: ready(func() <-chan struct{} { return c.scheduler.Ready() })},
		{Name: "etcd-0", Healthy: func(ctx context.Context) error {
			_, _, err := c.config.Store.Get(ctx, "/registry/health")
			return err
		}},
	}
}

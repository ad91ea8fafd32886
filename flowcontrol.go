package strake

import (
	"context"
	"errors"
	"fmt"
	"time"

	"golang.org/x/sync/errgroup"
	flowcontrolv1 "k8s.io/api/flowcontrol/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	applyflowcontrol "k8s.io/client-go/applyconfigurations/flowcontrol/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/apiserver/resources/flowcontrol"
)

// flowControlInterval is how often the built-in flow schemas and priority levels are
// looked after, upstream's; danglingInterval how often at most it is said whether the
// levels of flow schemas are there.
const (
	flowControlInterval = time.Minute
	danglingInterval    = time.Second
)

// watchFlowControl has keepFlowControl told of changes.
func (c *ControlPlane) watchFlowControl() error {
	c.flowControl = make(chan struct{}, 1)
	changed := func() {
		select {
		case c.flowControl <- struct{}{}:
		default:
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { changed() }, UpdateFunc: func(any, any) { changed() }, DeleteFunc: func(any) { changed() },
	}
	group := c.informers.Flowcontrol().V1()
	for _, informer := range []cache.SharedIndexInformer{group.FlowSchemas().Informer(), group.PriorityLevelConfigurations().Informer()} {
		if _, err := informer.AddEventHandler(handler); err != nil {
			return fmt.Errorf("strake: following flow schemas: %w", err)
		}
	}
	return nil
}

// keepFlowControl mends the built-in flow schemas and priority levels, and says of all
// flow schemas whether their levels are there, until ctx ends.
func (c *ControlPlane) keepFlowControl(ctx context.Context, client kubernetes.Interface) {
	failed := func(err error) {
		if err != nil && ctx.Err() == nil {
			c.config.Logger.Error(err, "Could not look after the flow schemas and priority levels")
		}
	}
	mend := time.NewTicker(flowControlInterval)
	defer mend.Stop()
	failed(ensureFlowControl(ctx, client))
	for {
		failed(sayDangling(ctx, client))
		select {
		case <-ctx.Done():
			return
		case <-time.After(danglingInterval):
		}
		select {
		case <-ctx.Done():
			return
		case <-c.flowControl:
		case <-mend.C:
			failed(ensureFlowControl(ctx, client))
		}
	}
}

func sayDangling(ctx context.Context, client kubernetes.Interface) error {
	schemas, levels, err := listFlowControl(ctx, client)
	if err != nil {
		return err
	}
	var errs []error
	for name, c := range flowcontrol.Dangling(schemas, levels, time.Now()) {
		condition := applyflowcontrol.FlowSchemaCondition().
			WithType(c.Type).WithStatus(c.Status).WithReason(c.Reason).WithMessage(c.Message).WithLastTransitionTime(c.LastTransitionTime)
		schema := applyflowcontrol.FlowSchema(name).WithStatus(applyflowcontrol.FlowSchemaStatus().WithConditions(condition))
		_, err := client.FlowcontrolV1().FlowSchemas().ApplyStatus(ctx, schema, metav1.ApplyOptions{FieldManager: flowcontrol.ConsumerFieldManager, Force: true})
		if err != nil && !apierrors.IsNotFound(err) {
			errs = append(errs, fmt.Errorf("saying whether the level of the flow schema %s is there: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func listFlowControl(ctx context.Context, client kubernetes.Interface) ([]*flowcontrolv1.FlowSchema, []*flowcontrolv1.PriorityLevelConfiguration, error) {
	schemas, err := client.FlowcontrolV1().FlowSchemas().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("listing flow schemas: %w", err)
	}
	levels, err := client.FlowcontrolV1().PriorityLevelConfigurations().List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, nil, fmt.Errorf("listing priority levels: %w", err)
	}
	return pointers(schemas.Items), pointers(levels.Items), nil
}

// ensureFlowControl makes the built-in flow schemas and priority levels that are not
// there, all at once, so that a new cluster waits for them no longer than for one.
func ensureFlowControl(ctx context.Context, client kubernetes.Interface) error {
	schemas, levels, err := listFlowControl(ctx, client)
	if err != nil {
		return err
	}
	missing := flowcontrol.Missing(schemas, levels)
	create, update := metav1.CreateOptions{FieldManager: flowcontrol.FieldManager}, metav1.UpdateOptions{FieldManager: flowcontrol.FieldManager}
	all, ctx := errgroup.WithContext(ctx)
	for _, l := range missing.CreateLevels {
		write(all, l.Name, func() (*flowcontrolv1.PriorityLevelConfiguration, error) {
			return client.FlowcontrolV1().PriorityLevelConfigurations().Create(ctx, l, create)
		})
	}
	for _, l := range missing.UpdateLevels {
		write(all, l.Name, func() (*flowcontrolv1.PriorityLevelConfiguration, error) {
			return client.FlowcontrolV1().PriorityLevelConfigurations().Update(ctx, l, update)
		})
	}
	for _, s := range missing.CreateSchemas {
		write(all, s.Name, func() (*flowcontrolv1.FlowSchema, error) {
			return client.FlowcontrolV1().FlowSchemas().Create(ctx, s, create)
		})
	}
	for _, s := range missing.UpdateSchemas {
		write(all, s.Name, func() (*flowcontrolv1.FlowSchema, error) {
			return client.FlowcontrolV1().FlowSchemas().Update(ctx, s, update)
		})
	}
	return all.Wait()
}

// write does one write in its own goroutine; that another server was faster is fine.
func write[T any](all *errgroup.Group, name string, do func() (T, error)) {
	all.Go(func() error {
		_, err := do()
		if err == nil || apierrors.IsAlreadyExists(err) || apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
			return nil
		}
		return fmt.Errorf("writing the built-in object %s: %w", name, err)
	})
}

func pointers[T any](items []T) []*T {
	out := make([]*T, len(items))
	for i := range items {
		out[i] = &items[i]
	}
	return out
}

// Package podgc deletes pods that nothing else will: those of nodes that are
// gone, those that were deleted before they had a node, and the oldest of the
// ended ones when there are too many.
package podgc

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	corelisters "k8s.io/client-go/listers/core/v1"

	"github.com/strake-io/strake/controllers"
)

// Config configures the controller.
type Config struct {
	// TerminatedPodThreshold is how many ended pods are kept; 12500 if 0,
	// without limit if negative.
	TerminatedPodThreshold int
	// Period is the time between passes; 20 s if 0.
	Period time.Duration
}

// New registers the controller.
func New(config Config) controllers.Registration {
	if config.TerminatedPodThreshold == 0 {
		config.TerminatedPodThreshold = 12500
	}
	if config.Period <= 0 {
		config.Period = 20 * time.Second
	}
	return controllers.Registration{Name: "pod_garbage_collector", Workers: 1, Setup: func(env *controllers.Env) (controllers.Controller, error) {
		core := env.Informers.Core().V1()
		c := &controller{config: config, env: env, pods: core.Pods().Lister(), nodes: core.Nodes().Lister()}
		return controllers.Controller{
			Watches: []controllers.Watch{
				{Informer: core.Pods().Informer(), Object: &corev1.Pod{}, Keys: none},
				{Informer: core.Nodes().Informer(), Keys: none},
			},
			Reconcile: c.reconcile,
			Run: func(ctx context.Context) error {
				env.Enqueue(pass)
				<-ctx.Done()
				return nil
			},
		}, nil
	}}
}

// pass is the only key: every reconcile is a pass over all pods.
var pass = controllers.Key{Name: "pods"}

func none(controllers.Change) []controllers.Key { return nil }

type controller struct {
	config  Config
	env     *controllers.Env
	pods    corelisters.PodLister
	nodes   corelisters.NodeLister
	missing map[string]time.Time // used by one pass at a time
}

func (c *controller) reconcile(ctx context.Context, _ controllers.Key) (controllers.Plan, error) {
	now := time.Now()
	pods, err := c.pods.List(labels.Everything())
	if err != nil {
		return controllers.Plan{}, err
	}
	nodes, err := c.nodes.List(labels.Everything())
	if err != nil {
		return controllers.Plan{}, err
	}
	v := View{Pods: pods, Nodes: map[string]*corev1.Node{}, Threshold: c.config.TerminatedPodThreshold, Missing: c.missing, Gone: map[string]bool{}}
	for _, n := range nodes {
		v.Nodes[n.Name] = n
	}
	c.missing = MissingNodes(v, now)
	for _, name := range Due(c.missing, now) {
		_, err := c.env.Client.CoreV1().Nodes().Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			v.Gone[name] = true
		case err != nil:
			return controllers.Plan{}, fmt.Errorf("read node %s again: %w", name, err)
		}
	}
	plan := Reconcile(v, now)
	plan.After = c.config.Period
	return plan, nil
}

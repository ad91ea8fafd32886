package strake

import (
	"context"
	"math/rand/v2"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/apiserver/admission"
)

type countingPlugin struct{ seen chan struct{} }

func (countingPlugin) Name() string { return "Counting" }

func (p countingPlugin) Validate(context.Context, *admission.Attributes) error {
	select {
	case p.seen <- struct{}{}:
	default:
	}
	return nil
}

// TestPluginsStandBesideTheBuiltIn runs with an admission plugin of the program's
// and one random source for all parts, which the race detector watches.
func TestPluginsStandBesideTheBuiltIn(t *testing.T) {
	plugin := countingPlugin{make(chan struct{}, 1)}
	c, stop := start(t, Config{
		ControlPlane: ControlPlaneConfig{Admission: []admission.Plugin{plugin}, Rand: rand.NewPCG(1, 2)}, FakeNodes: 2,
	})
	defer stop()
	available(t, c.Client(), 10)
	select {
	case <-plugin.seen:
	default:
		t.Error("the program's plugin was never asked")
	}
	lost := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "c"}}
	if _, err := c.Client().CoreV1().ConfigMaps("nowhere").Create(t.Context(), lost, metav1.CreateOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("a write to a namespace that is not there: %v, want not found", err)
	}
}

package resource

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

func of(e *corev1.EnvVar) Marshaler { return e }

func size(s *Shared) int {
	n, _ := s.parts.Size()
	return n
}

func TestShared(t *testing.T) {
	list := func(values ...string) (out []corev1.EnvVar) {
		for _, v := range values {
			out = append(out, corev1.EnvVar{Name: "A", Value: v})
		}
		return out
	}
	var s Shared
	one, two := ShareList(&s, 0, list("x", "y"), of), ShareList(&s, 0, list("x", "y"), of)
	if &one[0] != &two[0] || cap(two) != 2 {
		t.Error("equal lists are not one")
	}
	// What is near is not the same: fewer, in another order, of another kind of part.
	for name, other := range map[string][]corev1.EnvVar{
		"fewer": ShareList(&s, 0, list("x"), of), "turned": ShareList(&s, 0, list("y", "x"), of), "of another kind": ShareList(&s, 1, list("x", "y"), of),
	} {
		if &other[0] == &one[0] {
			t.Errorf("%s: it is the same", name)
		}
	}
	// One kind for two types is a mistake that does no harm.
	type named corev1.EnvVar
	if got := ShareList(&s, 0, []named{{Name: "A", Value: "x"}, {Name: "A", Value: "y"}}, func(n *named) Marshaler { return (*corev1.EnvVar)(n) }); len(got) != 2 {
		t.Errorf("%v", got)
	}
	probe := &corev1.Probe{PeriodSeconds: 3}
	if a, b := Share(&s, 2, probe), Share(&s, 2, probe.DeepCopy()); a != probe || b != probe {
		t.Error("equal parts are not one")
	}
	if got := Share[corev1.Probe](&s, 2, nil); got != nil {
		t.Error("nothing became something")
	}
	if got := Share(nil, 2, probe); got != probe {
		t.Error("without a memory a part stays what it is")
	}
	large := list(strings.Repeat("x", maxPart))
	if got := ShareList(&s, 0, large, of); &got[0] != &large[0] || size(&s) > maxPart {
		t.Error("a large part is kept")
	}
}

func TestSharedIsBounded(t *testing.T) {
	var s Shared
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range 2000 {
				value := fmt.Sprintf("%d-%d-%s", worker%2, i, strings.Repeat("x", 1000))
				if got := ShareList(&s, 0, []corev1.EnvVar{{Value: value}}, of); got[0].Value != value {
					t.Errorf("%.20s for %.20s", got[0].Value, value)
				}
			}
		})
	}
	all.Wait()
	if size, parts := s.parts.Size(); size > maxParts || parts == 0 {
		t.Errorf("%d bytes, %d parts", size, parts)
	}
}

package scheduler

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
)

// A condition waits its turn, and the pod may change or be placed meanwhile.
func TestConditionIsNotWrittenOverAPlacement(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*corev1.Pod)
		want   int // patches
	}{
		"unchanged": {func(*corev1.Pod) {}, 1},
		"labelled":  {func(p *corev1.Pod) { p.ResourceVersion = "8" }, 2},
		"placed":    {func(p *corev1.Pod) { p.ResourceVersion, p.Spec.NodeName = "8", "n" }, 1},
		"replaced":  {func(p *corev1.Pod) { p.ResourceVersion, p.UID = "8", "another" }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			seen := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "p", UID: "u", ResourceVersion: "7"}}
			now := seen.DeepCopy()
			test.change(now)
			client := fake.NewClientset()
			client.PrependReactor("get", "pods", func(clienttesting.Action) (bool, runtime.Object, error) { return true, now, nil })
			patches, written := 0, false
			client.PrependReactor("patch", "pods", func(a clienttesting.Action) (bool, runtime.Object, error) {
				patches++
				body := string(a.(clienttesting.PatchAction).GetPatch())
				if !strings.Contains(body, fmt.Sprintf(`"resourceVersion":%q`, now.ResourceVersion)) {
					return true, nil, apierrors.NewConflict(corev1.Resource("pods"), "p", fmt.Errorf("it has changed"))
				}
				written = true
				return true, now, nil
			})
			w := newConditionWriter(client, logr.Discard())
			w.write(seen, corev1.PodReasonUnschedulable, "no room", "", time.Unix(0, 0))
			for w.writeNext(t.Context()) {
			}
			if wantWritten := now.Spec.NodeName == "" && now.UID == seen.UID; patches != test.want || written != wantWritten {
				t.Errorf("%d patches, written: %v; want %d, %v", patches, written, test.want, wantWritten)
			}
		})
	}
}

func TestConditionsAreWrittenInTurn(t *testing.T) {
	w := newConditionWriter(fake.NewClientset(), logr.Discard())
	for _, name := range []string{"a", "b", "c", "d"} {
		w.write(queued(name, 0).Pod, corev1.PodReasonUnschedulable, "no room", "", time.Unix(0, 0))
	}
	w.writing["a"], w.writing["b"] = true, true // by other workers
	w.writeNext(t.Context())
	if got := fmt.Sprint(w.order); got != "[a b d]" {
		t.Errorf("left to write: %s, want [a b d]", got)
	}
}

package fakeapi

import (
	"context"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// Kubelet plays every node and the scheduler: a pod gets a node and an address
// and is ready after start; a deleted pod is gone after stop. Pods whose image
// is "broken" never get ready. It returns when ctx ends, its goroutines joined.
func (a *API) Kubelet(ctx context.Context, start, stop time.Duration) error {
	w, err := a.Client.CoreV1().Pods("").Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	defer w.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	after := func(d time.Duration, do func()) {
		wg.Go(func() {
			select {
			case <-ctx.Done():
			case <-time.After(d):
				do()
			}
		})
	}
	pods := a.Client.CoreV1().Pods
	leaving := map[string]bool{}
	for serial := 0; ; serial++ {
		var e watch.Event
		select {
		case <-ctx.Done():
			return nil
		case e = <-w.ResultChan():
		}
		p, ok := e.Object.(*corev1.Pod)
		if !ok || e.Type == watch.Deleted {
			continue
		}
		switch {
		case p.DeletionTimestamp != nil && !leaving[string(p.UID)]:
			leaving[string(p.UID)] = true
			after(stop, func() {
				_ = pods(p.Namespace).Delete(ctx, p.Name, *metav1.NewDeleteOptions(0))
			})
		case p.DeletionTimestamp == nil && e.Type == watch.Added && p.Status.Phase == "":
			after(start, func() { a.startPod(ctx, p, serial) })
		}
	}
}

func (a *API) startPod(ctx context.Context, p *corev1.Pod, serial int) {
	pods := a.Client.CoreV1().Pods(p.Namespace)
	p = p.DeepCopy()
	p.ResourceVersion = ""
	if p.Spec.NodeName == "" {
		p.Spec.NodeName = []string{"node-a", "node-b", "node-c"}[serial%3]
		if _, err := pods.Update(ctx, p, metav1.UpdateOptions{}); err != nil {
			return
		}
	}
	ready := corev1.ConditionTrue
	if len(p.Spec.Containers) > 0 && p.Spec.Containers[0].Image == "broken" {
		ready = corev1.ConditionFalse
	}
	p.Status.Phase = corev1.PodRunning
	p.Status.PodIP = podIP(serial)
	p.Status.PodIPs = []corev1.PodIP{{IP: p.Status.PodIP}}
	p.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodReady, Status: ready, LastTransitionTime: metav1.Now()}}
	_, _ = pods.UpdateStatus(ctx, p, metav1.UpdateOptions{}) // gone meanwhile: nothing to start
}

func podIP(serial int) string {
	return "10.1." + strconv.Itoa(serial/250%250) + "." + strconv.Itoa(serial%250+1)
}

// Command embed is the smallest product with an orchestrator inside: its pods are
// its own Go functions, run by a [runtime.Runtime] of a page or two. Deployments
// restart and scale them like any other pod's containers.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake"
	"github.com/strake-io/strake/kubelet"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "embed:", err)
		os.Exit(1)
	}
}

// run starts the cluster, has it greet, and stops it.
func run(ctx context.Context, out io.Writer) error {
	functions := NewFunctions(map[string]Function{
		"greet": func(_ context.Context, _ []string, env map[string]string) error {
			fmt.Fprintf(out, "Hello, %s!\n", env["WHOM"])
			return nil
		},
		"serve": func(ctx context.Context, _ []string, _ map[string]string) error {
			<-ctx.Done()
			return nil
		},
	})
	cluster, err := strake.New(strake.Config{
		Nodes: []strake.NodeConfig{{Kubelet: kubelet.Config{Runtime: functions, HostnameOverride: "product"}}},
	})
	if err != nil {
		return err
	}
	ctx, stop := context.WithTimeout(ctx, time.Minute)
	defer stop()
	ended := make(chan error, 1)
	go func() { ended <- cluster.Run(ctx) }()
	select {
	case <-cluster.Ready():
	case err := <-ended:
		return err
	}
	phase, err := greet(ctx, cluster, "world")
	if err != nil {
		return err
	}
	fmt.Fprintln(out, "The pod has", phase)
	stop()
	return <-ended
}

// greet runs one pod to its end.
func greet(ctx context.Context, cluster *strake.Cluster, whom string) (corev1.PodPhase, error) {
	pods := cluster.Client().CoreV1().Pods("default")
	watch, err := pods.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		return "", err
	}
	defer watch.Stop()
	if _, err := pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "greeting"},
		Spec: corev1.PodSpec{
			RestartPolicy: corev1.RestartPolicyNever,
			Containers: []corev1.Container{{
				Name: "main", Image: "functions/greet", Env: []corev1.EnvVar{{Name: "WHOM", Value: whom}},
			}},
		},
	}, metav1.CreateOptions{}); err != nil {
		return "", err
	}
	for event := range watch.ResultChan() {
		pod, ok := event.Object.(*corev1.Pod)
		if ok && (pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed) {
			return pod.Status.Phase, nil
		}
	}
	return "", fmt.Errorf("the pod did not end: %w", ctx.Err())
}

package strake_test

import (
	"context"
	"fmt"
	"log"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake"
)

// A whole cluster in memory, without a socket or a file: a pod is created, and
// watched until it runs on the one simulated node.
func Example() {
	cluster, err := strake.New(strake.Config{FakeNodes: 1})
	if err != nil {
		log.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- cluster.Run(ctx) }()
	<-cluster.Ready()

	pods := cluster.Client().CoreV1().Pods("default")
	watch, err := pods.Watch(ctx, metav1.ListOptions{})
	if err != nil {
		log.Fatal(err)
	}
	_, err = pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "web", Image: "nginx"}}},
	}, metav1.CreateOptions{})
	if err != nil {
		log.Fatal(err)
	}
	for event := range watch.ResultChan() {
		if pod := event.Object.(*corev1.Pod); pod.Status.Phase == corev1.PodRunning {
			fmt.Println(pod.Name, "runs on", pod.Spec.NodeName)
			break
		}
	}
	watch.Stop()
	stop()
	fmt.Println("stopped:", <-ended)
	// Output:
	// web runs on fake-0
	// stopped: <nil>
}

package kubelet_test

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/kubelet"
	"github.com/strake-io/strake/kubelet/machine"
	"github.com/strake-io/strake/runtime/fake"
)

// A node that claims 32 CPUs and only pretends to run its pods.
func Example() {
	client := newAPI()
	simulated, err := fake.New(fake.Config{})
	if err != nil {
		panic(err)
	}
	k, err := kubelet.New(kubelet.Config{
		Client:  client,
		Runtime: simulated,
		Machine: machine.Facts{Hostname: "Node-7", CPUs: 32, Memory: 64 << 30, Addresses: []string{"192.0.2.7"}},
	})
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- k.Run(ctx) }()
	<-k.Ready()
	node, err := client.CoreV1().Nodes().Get(ctx, k.NodeName(), metav1.GetOptions{})
	if err != nil {
		panic(err)
	}
	fmt.Println(node.Name, node.Status.Allocatable.Cpu(), "CPUs", node.Status.NodeInfo.KubeletVersion)
	stop()
	fmt.Println(<-done)
	// Output:
	// node-7 32 CPUs v1.37.0+strake
	// <nil>
}

package apiserver_test

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/store/memory"
)

// A server on the memory store, and a client in the same process: no socket, no
// file. A real one takes its resources from package resources.
func Example() {
	store, err := memory.New(memory.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	server, err := apiserver.New(apiserver.Config{Store: store, Resources: testResources()})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	done := make(chan error)
	go func() { done <- server.Run(ctx) }()
	<-server.Ready()

	root := &user.DefaultInfo{Name: "root", Groups: []string{user.SystemPrivilegedGroup}}
	client, err := kubernetes.NewForConfig(server.RESTConfig(root))
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = client.CoreV1().ConfigMaps("nowhere").Create(ctx, &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}}, metav1.CreateOptions{})
	fmt.Println(err)
	ns, err := client.CoreV1().Namespaces().Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "somewhere"}}, metav1.CreateOptions{})
	fmt.Println(ns.Name, ns.Status.Phase, err)

	cancel()
	fmt.Println(<-done)
	// Output:
	// namespaces "nowhere" not found
	// somewhere Active <nil>
	// <nil>
}

package cache_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/cache"
	"github.com/strake-io/strake/store/memory"
)

func Example() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	s, _ := memory.New(memory.Config{})
	defer s.Close()
	c, err := cache.New(cache.Config{Store: s})
	if err != nil {
		fmt.Println(err)
		return
	}
	pods, err := c.Add(cache.ResourceConfig{
		Prefix: "/registry/pods/",
		Decode: func(kv store.KV) (runtime.Object, error) {
			pod := &corev1.Pod{}
			err := json.Unmarshal(kv.Value, pod)
			pod.ResourceVersion = strconv.FormatInt(kv.ModRevision, 10)
			return pod, err
		},
		Indexes: map[string]func(runtime.Object) []string{
			"spec.nodeName": func(obj runtime.Object) []string { return []string{obj.(*corev1.Pod).Spec.NodeName} },
		},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	done := make(chan error, 1)
	go func() { done <- c.Run(ctx) }()

	write := func(name, node string) {
		value, _ := json.Marshal(&corev1.Pod{Spec: corev1.PodSpec{NodeName: node}})
		s.Put(ctx, store.Put{Key: "/registry/pods/default/" + name, Value: value, If: store.Any})
	}
	write("a", "n1")
	write("b", "n2")

	// One node's pods, and what happens to them after.
	onNode := cache.Interest{Index: "spec.nodeName", Value: "n1"}
	snapshot, watcher, err := pods.SnapshotAndWatch(ctx, cache.Latest, cache.WatchOptions{Interest: onNode})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer watcher.Stop()
	snapshot.Index(onNode.Index, onNode.Value, "", func(e *cache.Entry) bool {
		fmt.Println(e.Key, e.Object.(*corev1.Pod).ResourceVersion)
		return true
	})
	write("c", "n2")
	write("d", "n1")
	batch, err := watcher.Next(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, event := range batch.Events {
		fmt.Println(event.Type, event.Entry.Key)
	}
	cancel()
	fmt.Println(<-done)
	// Output:
	// /registry/pods/default/a 2
	// ADDED /registry/pods/default/d
	// <nil>
}

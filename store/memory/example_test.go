package memory_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/memory"
)

// A conditional write that loses learns what the key holds in the same call.
func Example() {
	ctx := context.Background()
	s, err := memory.New(memory.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer s.Close()

	list, watch, _ := s.ListAndWatch(ctx, "/registry/")
	defer watch.Stop()
	fmt.Println(len(list.KVs), "keys at revision", list.Revision)

	created, _ := s.Put(ctx, store.Put{Key: "/registry/pods/default/a", Value: []byte("1")})
	s.Put(ctx, store.Put{Key: "/registry/pods/default/a", Value: []byte("2"), If: store.At(created)})

	_, err = s.Put(ctx, store.Put{Key: "/registry/pods/default/a", Value: []byte("3"), If: store.At(created)})
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		fmt.Printf("lost to %s at revision %d\n", conflict.Current.Value, conflict.Current.ModRevision)
	}

	batch, _ := watch.Next(ctx)
	for _, event := range batch.Events {
		fmt.Printf("%s = %s at %d\n", event.KV.Key, event.KV.Value, event.KV.ModRevision)
	}
	// Output:
	// 0 keys at revision 1
	// lost to 2 at revision 3
	// /registry/pods/default/a = 1 at 2
	// /registry/pods/default/a = 2 at 3
}

// A fork is a second store that begins where the first one is: one prepared
// state serves many tests.
func ExampleStore_Fork() {
	ctx := context.Background()
	prepared, _ := memory.New(memory.Config{})
	defer prepared.Close()
	prepared.Put(ctx, store.Put{Key: "/a", Value: []byte("prepared")})

	fork := prepared.Fork()
	defer fork.Close()
	fork.Delete(ctx, "/a", store.Any)

	kv, _, _ := prepared.Get(ctx, "/a")
	fmt.Printf("%s\n", kv.Value)
	// Output: prepared
}

package main

import (
	"context"
	"fmt"
	"os"

	"github.com/strake-io/strake/scheduler/framework"
)

func Example() {
	fmt.Println("With the plugin:")
	fmt.Println(run(context.Background(), os.Stdout, framework.Weighted{Plugin: SunFirst{}, Weight: 10}))
	// Output:
	// With the plugin:
	// fake-1 has 6 pods
	// <nil>
}

// Without the plugin the pods are spread.
func Example_without() {
	fmt.Println(run(context.Background(), os.Stdout))
	// Output:
	// fake-0 has 2 pods
	// fake-1 has 2 pods
	// fake-2 has 2 pods
	// <nil>
}

package main

import (
	"context"
	"fmt"
	"os"
)

func Example() {
	fmt.Println(run(context.Background(), os.Stdout))
	// Output:
	// Hello, world!
	// The pod has Succeeded
	// <nil>
}

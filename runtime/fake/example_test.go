package fake_test

import (
	"context"
	"fmt"
	"time"

	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/fake"
)

// A pod whose container ends by itself, as its command says.
func Example() {
	ctx := context.Background()
	machine, err := fake.New(fake.Config{})
	if err != nil {
		fmt.Println(err)
		return
	}
	events, err := machine.Events(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	image, err := machine.Pull(ctx, "busybox", nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	sandbox, err := machine.RunSandbox(ctx, runtime.SandboxConfig{Pod: runtime.PodIdentity{Name: "job", Namespace: "default"}})
	if err != nil {
		fmt.Println(err)
		return
	}
	id, err := machine.CreateContainer(ctx, sandbox, runtime.ContainerConfig{
		Name: "main", Image: image, Command: []string{"sh", "-c", "sleep 0.01; exit 3"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	if err := machine.StartContainer(ctx, id); err != nil {
		fmt.Println(err)
		return
	}
	for range events {
		c, err := machine.Container(ctx, id)
		if err != nil {
			fmt.Println(err)
			return
		}
		if c.State == runtime.ContainerExited {
			fmt.Println(c.Reason, c.ExitCode, c.FinishedAt.Sub(c.StartedAt) >= 10*time.Millisecond)
			return
		}
	}
	// Output: Error 3 true
}

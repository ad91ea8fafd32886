package network

import (
	"fmt"
	"os"
	goruntime "runtime"

	"github.com/vishvananda/netns"
)

// Within runs f on a thread inside the network namespace at path ("" is the
// current one). f must stay on its goroutine.
func Within(path string, f func() error) error {
	if path == "" {
		return f()
	}
	target, err := netns.GetFromPath(path)
	if err != nil {
		return fmt.Errorf("network namespace %s: %w", path, err)
	}
	defer target.Close()
	done := make(chan error, 1)
	go func() {
		goruntime.LockOSThread()
		before, err := netns.Get()
		if err != nil {
			goruntime.UnlockOSThread()
			done <- err
			return
		}
		defer before.Close()
		if err := netns.Set(target); err != nil {
			goruntime.UnlockOSThread()
			done <- fmt.Errorf("entering network namespace %s: %w", path, err)
			return
		}
		err = f()
		// A thread that can't return stays locked, and ends with its goroutine.
		if netns.Set(before) == nil {
			goruntime.UnlockOSThread()
		}
		done <- err
	}()
	return <-done
}

// sysctl writes a value below /proc/sys of the thread's network namespace, where
// it isn't there already (a read-only /proc/sys that is right will do).
func sysctl(name, value string) error {
	path := "/proc/sys/" + name
	if now, err := os.ReadFile(path); err == nil && string(now) == value+"\n" {
		return nil
	}
	return os.WriteFile(path, []byte(value), 0o644)
}

// Package shim lets a program be its own containerd-shim-runc-v2, so that a node
// needs nothing beside the program but runc.
//
// The program calls [RunIfShim] first thing in main (and in TestMain), and
// [Install] gives it a second name on disk. Under that name it is the shim: a
// process per container that outlives the program, keeps the container's exit
// status and its standard streams, and is found again by the next start.
package shim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/manager"
	"github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2/task"
	"github.com/containerd/containerd/v2/pkg/shim"
	"github.com/containerd/containerd/v2/pkg/shutdown"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
)

// Name is the file name under which a program is the shim.
const Name = "containerd-shim-runc-v2"

// RunIfShim runs the shim and ends the process when the program was started
// under [Name]; otherwise it returns at once. This is the one place where Strake
// ends a process: a shim's life is that call.
func RunIfShim() {
	if len(os.Args) == 0 || filepath.Base(os.Args[0]) != Name {
		return
	}
	// A program with an embedded containerd has its plugins in the registry, and
	// the shim would start them all.
	registry.Reset()
	registry.Register(&plugin.Registration{
		Type:     plugins.TTRPCPlugin,
		ID:       "task",
		Requires: []plugin.Type{plugins.EventPlugin, plugins.InternalPlugin},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			publisher, err := ic.GetByID(plugins.EventPlugin, "publisher")
			if err != nil {
				return nil, err
			}
			sd, err := ic.GetByID(plugins.InternalPlugin, "shutdown")
			if err != nil {
				return nil, err
			}
			return task.NewTaskService(ic.Context, publisher.(shim.Publisher), sd.(shutdown.Service))
		},
	})
	shim.RunShim(context.Background(), manager.NewShimManager("io.containerd.runc.v2"))
	os.Exit(0)
}

// Install gives this executable the name of a shim in dir and returns its
// absolute path.
// It is a hard link, or a copy on another file system: a symbolic link fails,
// since the shim starts itself again under the name it resolves to. What is
// there already is replaced when it is another program; processes that run it
// keep their file.
func Install(dir string) (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this executable: %w", err)
	}
	// containerd takes a relative path for a name.
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	path := filepath.Join(dir, Name)
	source, err := os.Stat(self)
	if err != nil {
		return "", err
	}
	if present, err := os.Stat(path); err == nil && os.SameFile(source, present) {
		return path, nil
	}
	// Made beside and renamed, so that a start in parallel never sees half.
	staging, err := os.MkdirTemp(dir, ".install-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(staging)
	fresh := filepath.Join(staging, Name)
	if err := os.Link(self, fresh); err != nil {
		if err := copyFile(self, fresh); err != nil {
			return "", fmt.Errorf("installing the shim: %w", err)
		}
	}
	if err := os.Rename(fresh, path); err != nil {
		return "", fmt.Errorf("installing the shim: %w", err)
	}
	return path, nil
}

func copyFile(from, to string) (err error) {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o700)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, out.Close()) }()
	_, err = io.Copy(out, in)
	return err
}

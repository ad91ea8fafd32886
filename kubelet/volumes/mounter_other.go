//go:build !linux

package volumes

import (
	"fmt"
	"os"
)

// SystemMounter has nothing to mount with on this system.
func SystemMounter() Mounter { return noMounter{} }

type noMounter struct{}

func (noMounter) Tmpfs(dir string, _ int64) error {
	return fmt.Errorf("mounting tmpfs on %s: %w", dir, ErrMountDenied)
}

func (noMounter) Bind(source, target string) error {
	return fmt.Errorf("mounting %s on %s: %w", source, target, ErrMountDenied)
}

func (noMounter) Unmount(string) error           { return nil }
func (noMounter) Under(string) ([]string, error) { return nil, nil }

func openBeneath(root, path string) (*os.File, error) { return openInRoot(root, path) }

func handlePath(f *os.File) string { return f.Name() }

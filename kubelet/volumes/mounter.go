package volumes

import "errors"

// ErrMountDenied says that this process may not mount.
var ErrMountDenied = errors.New("volumes: not permitted to mount")

// Mounter mounts on this machine. Methods are idempotent where they say so.
type Mounter interface {
	// Tmpfs mounts memory on dir, at most sizeBytes of it (0: the kernel's
	// default). [ErrMountDenied] without the privilege.
	Tmpfs(dir string, sizeBytes int64) error
	// Bind shows what is at source, which may be /proc/self/fd/N, at target
	// too. [ErrMountDenied] without the privilege.
	Bind(source, target string) error
	// Unmount takes the topmost mount off target; none is no error.
	Unmount(target string) error
	// Under lists the mount points at dir and below it, the deepest first.
	Under(dir string) ([]string, error)
}

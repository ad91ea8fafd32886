package containerd

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	goruntime "runtime"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
	"golang.org/x/sys/unix"
)

// unshared is which namespaces a sandbox has of its own, with the names of their
// files below /proc/PID/ns.
var unshared = []struct {
	file string
	flag int
	kind specs.LinuxNamespaceType
}{
	{"net", unix.CLONE_NEWNET, specs.NetworkNamespace},
	{"ipc", unix.CLONE_NEWIPC, specs.IPCNamespace},
	{"uts", unix.CLONE_NEWUTS, specs.UTSNamespace},
}

// pinNamespaces makes new namespaces and binds each to dir/FILE, which keeps it
// until it is unmounted, whatever becomes of this process.
func pinNamespaces(dir string, files []string, hostname string, sysctls map[string]string) error {
	if err := os.MkdirAll(dir, 0o711); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread is of no use any more and ends with us.
		goruntime.LockOSThread()
		done <- func() error {
			flags := 0
			for _, ns := range unshared {
				for _, f := range files {
					if f == ns.file {
						flags |= ns.flag
					}
				}
			}
			if err := unix.Unshare(flags); err != nil {
				return fmt.Errorf("making namespaces %v: %w", files, err)
			}
			if flags&unix.CLONE_NEWUTS != 0 && hostname != "" {
				if err := unix.Sethostname([]byte(hostname)); err != nil {
					return fmt.Errorf("host name %q: %w", hostname, err)
				}
			}
			for name, value := range sysctls {
				if err := setSysctl(name, value); err != nil {
					return err
				}
			}
			for _, f := range files {
				if err := bind("/proc/thread-self/ns/"+f, filepath.Join(dir, f)); err != nil {
					return err
				}
			}
			return nil
		}()
	}()
	return <-done
}

// setSysctl writes one of the thread's namespaces.
func setSysctl(name, value string) error {
	path := strings.ReplaceAll(name, ".", "/")
	// Only what belongs to a network, IPC or UTS namespace: anything else
	// would change the machine.
	namespaced := false
	for _, prefix := range []string{"net/", "kernel/shm", "kernel/msg", "kernel/sem", "fs/mqueue/", "kernel/domainname"} {
		namespaced = namespaced || strings.HasPrefix(path, prefix)
	}
	if !namespaced || strings.Contains(path, "..") {
		return fmt.Errorf("sysctl %q is not of a pod's namespaces", name)
	}
	if err := os.WriteFile("/proc/sys/"+path, []byte(value), 0o644); err != nil {
		return fmt.Errorf("sysctl %q: %w", name, err)
	}
	return nil
}

func bind(from, to string) error {
	f, err := os.OpenFile(to, os.O_CREATE|os.O_RDONLY, 0o444)
	if err != nil {
		return err
	}
	_ = f.Close()
	if err := unix.Mount(from, to, "none", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("binding %s to %s: %w", from, to, err)
	}
	return nil
}

// alive says whether path still is a pinned namespace: after a reboot it is a file.
func alive(path string) bool {
	var st unix.Statfs_t
	return unix.Statfs(path, &st) == nil && st.Type == unix.NSFS_MAGIC
}

// unpin lets go of all that is mounted in dir and removes it. Idempotent.
func unpin(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	var errs []error
	for _, e := range entries {
		path := filepath.Join(dir, e.Name())
		if err := unix.Unmount(path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.ENOENT) {
			errs = append(errs, fmt.Errorf("unmounting %s: %w", path, err))
		}
	}
	if err := errors.Join(append(errs, err)...); err != nil {
		return err // and nothing is removed through a mount
	}
	return os.RemoveAll(dir)
}

package volumes

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
	"strconv"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"
)

// SystemMounter mounts with the kernel of this machine.
func SystemMounter() Mounter { return kernelMounter{} }

type kernelMounter struct{}

func (kernelMounter) Tmpfs(dir string, sizeBytes int64) error {
	options := ""
	if sizeBytes > 0 {
		options = "size=" + strconv.FormatInt(sizeBytes, 10)
	}
	withNoswap := "noswap"
	if options != "" {
		withNoswap = options + ",noswap"
	}
	// Secrets should not reach a swap device; older kernels lack the option.
	err := unix.Mount("tmpfs", dir, "tmpfs", 0, withNoswap)
	if errors.Is(err, unix.EINVAL) {
		err = unix.Mount("tmpfs", dir, "tmpfs", 0, options)
	}
	return mountError("tmpfs", dir, err)
}

func (kernelMounter) Bind(source, target string) error {
	return mountError(source, target, unix.Mount(source, target, "", unix.MS_BIND|unix.MS_REC, ""))
}

func (kernelMounter) Unmount(target string) error {
	err := unix.Unmount(target, unix.UMOUNT_NOFOLLOW)
	if errors.Is(err, unix.EBUSY) {
		// Someone still has a file open: it goes away when they close it.
		err = unix.Unmount(target, unix.UMOUNT_NOFOLLOW|unix.MNT_DETACH)
	}
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOENT) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("unmounting %s: %w", target, err)
	}
	return nil
}

func (kernelMounter) Under(dir string) ([]string, error) {
	// The kernel tells paths without links.
	real, err := filepath.EvalSymlinks(dir)
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	mounts, err := mountinfo.GetMounts(mountinfo.PrefixFilter(real))
	if err != nil {
		return nil, err
	}
	points := make([]string, 0, len(mounts))
	for _, m := range mounts {
		rel, err := filepath.Rel(real, m.Mountpoint)
		if err != nil {
			return nil, err
		}
		points = append(points, filepath.Join(dir, rel))
	}
	sort.Slice(points, func(i, j int) bool { return len(points[i]) > len(points[j]) })
	return points, nil
}

func mountError(source, target string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		return fmt.Errorf("mounting %s on %s: %w", source, target, ErrMountDenied)
	}
	return fmt.Errorf("mounting %s on %s: %w", source, target, err)
}

// openBeneath opens what is at path below root, as a handle only. Symbolic
// links are followed as long as they stay below root.
func openBeneath(root, path string) (*os.File, error) {
	dir, err := os.OpenFile(root, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	for {
		fd, err := unix.Openat2(int(dir.Fd()), path, &unix.OpenHow{
			Flags:   unix.O_PATH | unix.O_CLOEXEC,
			Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_MAGICLINKS,
		})
		switch {
		case err == nil:
			return os.NewFile(uintptr(fd), filepath.Join(root, path)), nil
		case errors.Is(err, unix.EINTR), errors.Is(err, unix.EAGAIN):
			// A rename somewhere on the way; the kernel asks to try again.
			continue
		case errors.Is(err, unix.ENOSYS):
			return openInRoot(root, path)
		}
		return nil, &os.PathError{Op: "open", Path: filepath.Join(root, path), Err: err}
	}
}

// handlePath names an open file for a mount.
func handlePath(f *os.File) string { return fmt.Sprintf("/proc/self/fd/%d", f.Fd()) }

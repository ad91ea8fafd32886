package volumes

import (
	"fmt"
	"io/fs"
	"os"

	corev1 "k8s.io/api/core/v1"
)

// checkHostPath makes sure that a hostPath is of the type that was asked for,
// and makes it where the type says so. Without a type, a path that is missing
// becomes a directory, as container runtimes do it.
func checkHostPath(path string, hostPathType *corev1.HostPathType) error {
	kind := corev1.HostPathUnset
	if hostPathType != nil {
		kind = *hostPathType
	}
	failed := func(what string) error {
		return fmt.Errorf("hostPath type check failed: %s is not %s", path, what)
	}
	info, err := os.Stat(path)
	exists := err == nil
	if err != nil && !os.IsNotExist(err) {
		return fmt.Errorf("hostPath type check failed: %w", err)
	}
	is := func(mode fs.FileMode) bool { return exists && info.Mode().Type() == mode }
	switch kind {
	case corev1.HostPathUnset:
		if !exists {
			return os.MkdirAll(path, 0o755)
		}
	case corev1.HostPathDirectoryOrCreate:
		if !exists {
			return os.MkdirAll(path, 0o755)
		}
		if !is(fs.ModeDir) {
			return failed("a directory")
		}
	case corev1.HostPathDirectory:
		if !is(fs.ModeDir) {
			return failed("a directory")
		}
	case corev1.HostPathFileOrCreate:
		if !exists {
			f, err := os.OpenFile(path, os.O_CREATE|os.O_RDONLY, 0o644)
			if err != nil {
				return err
			}
			return f.Close()
		}
		if !is(0) {
			return failed("a file")
		}
	case corev1.HostPathFile:
		if !is(0) {
			return failed("a file")
		}
	case corev1.HostPathSocket:
		if !is(fs.ModeSocket) {
			return failed("a socket file")
		}
	case corev1.HostPathCharDev:
		if !is(fs.ModeDevice | fs.ModeCharDevice) {
			return failed("a character device")
		}
	case corev1.HostPathBlockDev:
		if !is(fs.ModeDevice) {
			return failed("a block device")
		}
	default:
		return fmt.Errorf("%s is an invalid volume type", kind)
	}
	return nil
}

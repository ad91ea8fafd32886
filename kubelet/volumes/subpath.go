package volumes

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
)

// openInRoot opens what is at path below root, links followed only inside it.
func openInRoot(root, path string) (*os.File, error) {
	r, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return r.Open(path)
}

// resolveSubPath makes a sub-path of a volume if it is missing and returns a
// host path that shows it. A container can change links in a volume while its
// sub-path is being resolved, so the result is not a path through the volume
// but a mount, at target, of what was opened; where this process may not mount,
// it is the path as it resolved, which is the best that can be done.
func resolveSubPath(mounter Mounter, volume, subPath, target string) (string, error) {
	info, err := os.Stat(volume)
	if err != nil {
		return "", err
	}
	f, err := openBeneath(volume, subPath)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeBeneath(volume, subPath, info.Mode().Perm()); err == nil {
			f, err = openBeneath(volume, subPath)
		}
	}
	if err != nil {
		return "", fmt.Errorf("failed to prepare subPath %q: %w", subPath, err)
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return "", err
	}

	if err := mounter.Unmount(target); err != nil {
		return "", err
	}
	if opened.IsDir() {
		err = replaceWithDir(target)
	} else {
		err = replaceWithFile(target)
	}
	if err != nil {
		return "", err
	}
	err = mounter.Bind(handlePath(f), target)
	if errors.Is(err, ErrMountDenied) {
		os.Remove(target)
		return realPath(volume, subPath)
	}
	if err != nil {
		return "", err
	}
	return target, nil
}

func makeBeneath(volume, subPath string, perm fs.FileMode) error {
	r, err := os.OpenRoot(volume)
	if err != nil {
		return err
	}
	defer r.Close()
	return r.MkdirAll(subPath, perm)
}

func replaceWithDir(target string) error {
	if info, err := os.Lstat(target); err == nil && !info.IsDir() {
		if err := os.Remove(target); err != nil {
			return err
		}
	}
	return os.MkdirAll(target, 0o750)
}

func replaceWithFile(target string) error {
	if err := os.MkdirAll(filepath.Dir(target), 0o750); err != nil {
		return err
	}
	if info, err := os.Lstat(target); err == nil && info.IsDir() {
		if err := os.Remove(target); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(target, os.O_CREATE|os.O_RDONLY, 0o640)
	if err != nil {
		return err
	}
	return f.Close()
}

// realPath resolves links and checks that the result is below the volume.
func realPath(volume, subPath string) (string, error) {
	base, err := filepath.EvalSymlinks(volume)
	if err != nil {
		return "", err
	}
	full, err := filepath.EvalSymlinks(filepath.Join(volume, subPath))
	if err != nil {
		return "", err
	}
	if rel, err := filepath.Rel(base, full); err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("subpath %q not within volume path %q", full, base)
	}
	return full, nil
}

// subPathTarget is where a container's sub-path is mounted.
func (m *Manager) subPathTarget(podDir, volume, container string, index int) string {
	return filepath.Join(podDir, "volume-subpaths", volume, container, strconv.Itoa(index))
}

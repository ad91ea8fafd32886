package volumes

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Names of the atomic writer in a volume's directory. User-visible entries are
// links to dataLink/<entry>; dataLink points to the directory with the content,
// which is exchanged as a whole.
const (
	dataLink    = "..data"
	newDataLink = "..data_tmp"
	stampFormat = "..2006_01_02_15_04_05."
)

// writeAtomic makes dir show payload and nothing else. A reader sees either all
// of the old content or all of the new. It reports whether anything had to be
// written. prepare, when not nil, runs on the new content's directory before it
// is shown.
func writeAtomic(dir string, payload Payload, now time.Time, prepare func(dir string) error) (changed bool, err error) {
	if err := payload.Validate(); err != nil {
		return false, err
	}
	payload = payload.clean()

	old, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	oldDir := ""
	if old != "" && filepath.Base(old) == old && strings.HasPrefix(old, "..") {
		oldDir = filepath.Join(dir, old)
		same, err := sameContent(oldDir, payload)
		if err != nil {
			return false, err
		}
		if same {
			return false, syncLinks(dir, payload)
		}
	}

	newDir, err := os.MkdirTemp(dir, now.UTC().Format(stampFormat))
	if err != nil {
		return false, err
	}
	shown := false
	defer func() {
		if !shown {
			os.RemoveAll(newDir)
		}
	}()
	// MkdirTemp makes a private directory; containers run as other users.
	if err := os.Chmod(newDir, 0o755); err != nil {
		return false, err
	}
	for name, f := range payload {
		if err := writeFile(newDir, name, f); err != nil {
			return false, err
		}
	}
	if prepare != nil {
		if err := prepare(newDir); err != nil {
			return false, err
		}
	}
	tmp := filepath.Join(dir, newDataLink)
	if err := os.Remove(tmp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, err
	}
	if err := os.Symlink(filepath.Base(newDir), tmp); err != nil {
		return false, err
	}
	if err := os.Rename(tmp, filepath.Join(dir, dataLink)); err != nil {
		os.Remove(tmp)
		return false, err
	}
	shown = true
	return true, errors.Join(syncLinks(dir, payload), removeOld(oldDir))
}

func removeOld(dir string) error {
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}

func writeFile(root, name string, f File) error {
	full := filepath.Join(root, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(full, f.Data, os.FileMode(f.Mode)&os.ModePerm); err != nil {
		return err
	}
	// Once more, past the umask.
	if err := os.Chmod(full, os.FileMode(f.Mode)&os.ModePerm); err != nil {
		return err
	}
	if f.UID != nil {
		if err := os.Chown(full, int(*f.UID), -1); err != nil {
			return fmt.Errorf("owner of %s: %w", name, err)
		}
	}
	return nil
}

// sameContent compares what is on disk with payload: names and bytes. Modes
// only change with the pod, so that they are left out, as the group of the
// files may have widened them.
func sameContent(dir string, payload Payload) (bool, error) {
	found := 0
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		f, ok := payload[filepath.ToSlash(rel)]
		if !ok || !d.Type().IsRegular() {
			return errDiffers
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Size() != int64(len(f.Data)) {
			return errDiffers
		}
		data, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if !bytes.Equal(data, f.Data) {
			return errDiffers
		}
		found++
		return nil
	})
	switch {
	case errors.Is(err, errDiffers), errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, err
	}
	return found == len(payload), nil
}

var errDiffers = errors.New("content differs")

// syncLinks makes the user-visible links those of payload's first path elements.
func syncLinks(dir string, payload Payload) error {
	want := map[string]bool{}
	for name := range payload {
		first, _, _ := strings.Cut(name, "/")
		want[first] = true
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	current, err := os.Readlink(filepath.Join(dir, dataLink))
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch name := e.Name(); {
		case name == dataLink || name == current:
		case strings.HasPrefix(name, ".."):
			// What an interrupted writer left.
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		case !want[name]:
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		case e.Type()&fs.ModeSymlink == 0:
			// A sub-path was made before the volume had a file of its name.
			if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
				return err
			}
		default:
			delete(want, name)
		}
	}
	for name := range want {
		if err := os.Symlink(filepath.Join(dataLink, name), filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

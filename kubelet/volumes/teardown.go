package volumes

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"k8s.io/apimachinery/pkg/types"
)

// TearDown unmounts and removes the volumes of a pod, whose containers must be
// gone. It needs nothing but what is on disk, is idempotent, and never removes
// through a mount. The pod's other directories (its logs are elsewhere) go too
// once they are empty.
func (m *Manager) TearDown(ctx context.Context, uid types.UID) error {
	if err := validUID(uid); err != nil {
		return err
	}
	pv := m.lockPod(uid, true)
	defer pv.mu.Unlock()
	m.cfg.Objects.Unregister(uid)
	m.tokens.forget(uid)
	pv.pod = nil
	if !m.cfg.Simulate {
		if err := m.removePod(ctx, uid); err != nil {
			return err
		}
	}
	pv.gone = true
	m.mu.Lock()
	delete(m.pods, uid)
	delete(m.dirty, uid)
	m.mu.Unlock()
	return nil
}

func (m *Manager) removePod(ctx context.Context, uid types.UID) error {
	dir := m.podDir(uid)
	points, err := m.cfg.Mounter.Under(dir)
	if err != nil {
		return err
	}
	for _, p := range points {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := m.cfg.Mounter.Unmount(p); err != nil {
			return err
		}
	}
	left, err := m.cfg.Mounter.Under(dir)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		return fmt.Errorf("volumes of pod %s are still mounted at %s", uid, strings.Join(left, ", "))
	}
	return os.RemoveAll(dir)
}

// PodsOnDisk lists the pods that have a directory, whoever made it.
func (m *Manager) PodsOnDisk() ([]types.UID, error) {
	if m.cfg.Simulate {
		return nil, nil
	}
	entries, err := os.ReadDir(filepath.Join(m.cfg.Root, "pods"))
	if os.IsNotExist(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var uids []types.UID
	for _, e := range entries {
		if e.IsDir() {
			uids = append(uids, types.UID(e.Name()))
		}
	}
	return uids, nil
}

// CleanOrphans tears down every pod on disk for which keep is false: what an
// earlier process left. It goes on after an error and reports all.
func (m *Manager) CleanOrphans(ctx context.Context, keep func(types.UID) bool) error {
	uids, err := m.PodsOnDisk()
	if err != nil {
		return err
	}
	var failed []error
	for _, uid := range uids {
		if keep(uid) {
			continue
		}
		if err := m.TearDown(ctx, uid); err != nil {
			failed = append(failed, fmt.Errorf("orphaned pod %s: %w", uid, err))
		}
	}
	return errors.Join(failed...)
}

// validUID keeps a UID from naming anything but a directory below pods/.
func validUID(uid types.UID) error {
	if uid == "" || uid == "." || uid == ".." || strings.ContainsAny(string(uid), "/\x00") {
		return fmt.Errorf("volumes: invalid pod UID %q", uid)
	}
	return nil
}

// joinOnOneLine joins errors into one whose message fits an event.
func joinOnOneLine(errs []error) error {
	switch len(errs) {
	case 0:
		return nil
	case 1:
		return errs[0]
	}
	return lineError{errs}
}

type lineError struct{ errs []error }

func (e lineError) Error() string {
	messages := make([]string, len(e.errs))
	for i, err := range e.errs {
		messages[i] = err.Error()
	}
	return "[" + strings.Join(messages, ", ") + "]"
}

func (e lineError) Unwrap() []error { return e.errs }

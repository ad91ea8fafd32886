package logs

import (
	"path/filepath"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// WatchFile tells, by the kernel's notifications, when a file is written or
// another takes its place. Changes that come close together are told once. stop
// joins what it started.
func WatchFile(path string) (changes <-chan struct{}, stop func(), err error) {
	// The directory is watched: the file's successor has the same name but is
	// another file. Links are resolved, since the events name real files.
	real, err := filepath.EvalSymlinks(path)
	if err != nil {
		return nil, nil, err
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, nil, err
	}
	if err := w.Add(filepath.Dir(real)); err != nil {
		w.Close()
		return nil, nil, err
	}
	out := make(chan struct{}, 1)
	var wg sync.WaitGroup
	wg.Go(func() {
		tell := func() {
			select {
			case out <- struct{}{}:
			default:
			}
		}
		for {
			select {
			case e, ok := <-w.Events:
				if !ok {
					return
				}
				if filepath.Base(e.Name) == filepath.Base(real) {
					tell()
				}
			case _, ok := <-w.Errors:
				if !ok {
					return
				}
				tell() // events may be lost: look
			}
		}
	})
	return out, func() { w.Close(); wg.Wait() }, nil
}

package logs

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/strake-io/strake/runtime"
)

// RotatorConfig configures a [Rotator].
type RotatorConfig struct {
	// Containers lists the containers and reopens their logs. Required.
	Containers runtime.Containers
	// MaxSizeBytes is when a log is rotated. Default 10 MiB.
	MaxSizeBytes int64
	// MaxFiles of one container, the current one included. Default 5, at
	// least 2.
	MaxFiles int
	// Period between looks at the logs. Default 10 s.
	Period time.Duration
	// Logger; the zero value is silent.
	Logger logr.Logger
}

// Rotator rotates the logs of running containers:
//
//	0.log                        written to
//	0.log.20260102-150405        rotated last, not compressed: readers follow it
//	0.log.20260102-140102.gz     older ones
type Rotator struct{ cfg RotatorConfig }

// NewRotator validates the configuration.
func NewRotator(cfg RotatorConfig) (*Rotator, error) {
	if cfg.Containers == nil {
		return nil, errors.New("logs: RotatorConfig.Containers is required")
	}
	if cfg.MaxSizeBytes == 0 {
		cfg.MaxSizeBytes = 10 << 20
	}
	if cfg.MaxFiles == 0 {
		cfg.MaxFiles = 5
	}
	if cfg.MaxFiles < 2 {
		return nil, fmt.Errorf("logs: RotatorConfig.MaxFiles must be at least 2, not %d", cfg.MaxFiles)
	}
	if cfg.Period == 0 {
		cfg.Period = 10 * time.Second
	}
	return &Rotator{cfg: cfg}, nil
}

// Run rotates until ctx ends.
func (r *Rotator) Run(ctx context.Context) error {
	ticker := time.NewTicker(r.cfg.Period)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
			if err := r.Rotate(ctx, time.Now()); err != nil && ctx.Err() == nil {
				r.cfg.Logger.Error(err, "could not rotate logs")
			}
		}
	}
}

// Rotate looks at all running containers' logs once. An error with one does not
// keep it from the others.
func (r *Rotator) Rotate(ctx context.Context, now time.Time) error {
	containers, err := r.cfg.Containers.ListContainers(ctx)
	if err != nil {
		return err
	}
	var failed []error
	for i := range containers {
		c := &containers[i]
		if c.State != runtime.ContainerRunning || c.LogPath == "" {
			continue
		}
		if err := r.rotateOne(ctx, c, now); err != nil {
			failed = append(failed, fmt.Errorf("log of container %s: %w", c.ID, err))
		}
	}
	return errors.Join(failed...)
}

func (r *Rotator) rotateOne(ctx context.Context, c *runtime.Container, now time.Time) error {
	info, err := os.Stat(c.LogPath)
	if errors.Is(err, os.ErrNotExist) {
		// A rotation was interrupted between renaming and reopening.
		return r.cfg.Containers.ReopenLog(ctx, c.ID)
	}
	if err != nil {
		return err
	}
	if info.Size() < r.cfg.MaxSizeBytes {
		return nil
	}
	entries, err := filepath.Glob(globEscape(c.LogPath) + ".*")
	if err != nil {
		return err
	}
	plan := planRotation(c.LogPath, entries, r.cfg.MaxFiles, now)
	for _, path := range plan.remove {
		if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	for _, path := range plan.compress {
		if err := compress(path); err != nil {
			return err
		}
	}
	if err := os.Rename(c.LogPath, plan.rename); err != nil {
		return err
	}
	if err := r.cfg.Containers.ReopenLog(ctx, c.ID); err != nil {
		// The container still writes to the renamed file: give it back its
		// name, so that nothing of it is lost to readers.
		return errors.Join(err, os.Rename(plan.rename, c.LogPath))
	}
	return nil
}

type rotation struct {
	remove, compress []string
	rename           string // the new name of the current file
}

const (
	compressedSuffix = ".gz"
	temporarySuffix  = ".tmp"
)

// planRotation decides what becomes of a container's log files. It leaves room
// for the file that is rotated now and its successor.
func planRotation(path string, files []string, maxFiles int, now time.Time) rotation {
	plan := rotation{rename: path + "." + now.Format("20060102-150405")}
	taken := map[string]bool{}
	var rotated []string
	for _, f := range files {
		taken[f] = true
		if strings.HasSuffix(f, temporarySuffix) {
			plan.remove = append(plan.remove, f)
			continue
		}
		rotated = append(rotated, f)
	}
	for base, n := plan.rename, 1; taken[plan.rename] || taken[plan.rename+compressedSuffix]; n++ {
		plan.rename = fmt.Sprintf("%s.%d", base, n)
	}
	sort.Strings(rotated) // the names sort by time
	if extra := len(rotated) - (maxFiles - 2); extra > 0 {
		plan.remove = append(plan.remove, rotated[:extra]...)
		rotated = rotated[extra:]
	}
	for _, f := range rotated {
		if !strings.HasSuffix(f, compressedSuffix) {
			plan.compress = append(plan.compress, f)
		}
	}
	return plan
}

// compress replaces a file by its gzip form, so that a crash leaves one of them.
func compress(path string) error {
	in, err := os.Open(path)
	if err != nil {
		return err
	}
	defer in.Close()
	tmp := path + temporarySuffix
	out, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	z := gzip.NewWriter(out)
	_, err = io.Copy(z, in)
	err = errors.Join(err, z.Close(), out.Close())
	if err == nil {
		err = os.Rename(tmp, path+compressedSuffix)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return os.Remove(path)
}

// globEscape makes a path match itself only.
func globEscape(path string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`).Replace(path)
}

package logs

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strake-io/strake/runtime"
)

// logging is a runtime with one container that writes a log.
type logging struct {
	runtime.Containers
	path   string
	refuse error
}

func (l *logging) ListContainers(context.Context) ([]runtime.Container, error) {
	return []runtime.Container{
		{ID: "c", State: runtime.ContainerRunning, LogPath: l.path},
		{ID: "ended", State: runtime.ContainerExited, LogPath: l.path + "-ended"},
	}, nil
}

func (l *logging) ReopenLog(context.Context, string) error {
	if l.refuse != nil {
		return l.refuse
	}
	return os.WriteFile(l.path, nil, 0o600)
}

func TestRotate(t *testing.T) {
	dir := t.TempDir()
	l := &logging{path: filepath.Join(dir, "0.log")}
	r, err := NewRotator(RotatorConfig{Containers: l, MaxSizeBytes: 100, MaxFiles: 3})
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 2, 15, 4, 5, 0, time.UTC)
	var listing []string
	for i := range 5 {
		content := strings.Repeat(string(rune('a'+i)), 100)
		if err := os.WriteFile(l.path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := r.Rotate(t.Context(), now.Add(time.Duration(i)*time.Minute)); err != nil {
			t.Fatal(err)
		}
		entries, _ := os.ReadDir(dir)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		listing = append(listing, strings.Join(names, " "))
	}
	want := []string{
		"0.log 0.log.20260102-150405",
		"0.log 0.log.20260102-150405.gz 0.log.20260102-150505",
		"0.log 0.log.20260102-150505.gz 0.log.20260102-150605",
		"0.log 0.log.20260102-150605.gz 0.log.20260102-150705",
		"0.log 0.log.20260102-150705.gz 0.log.20260102-150805",
	}
	if diff := cmp.Diff(want, listing); diff != "" {
		t.Error(diff)
	}
	f, err := os.Open(l.path + ".20260102-150705.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil || string(b) != strings.Repeat("d", 100) {
		t.Errorf("compressed log: %q, %v", b, err)
	}
}

func TestRotateGivesBackTheNameWhenReopeningFails(t *testing.T) {
	l := &logging{path: filepath.Join(t.TempDir(), "0.log"), refuse: errors.New("no")}
	r, _ := NewRotator(RotatorConfig{Containers: l, MaxSizeBytes: 1})
	if err := os.WriteFile(l.path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Rotate(t.Context(), time.Now()); !errors.Is(err, l.refuse) {
		t.Fatalf("error %v", err)
	}
	if b, err := os.ReadFile(l.path); err != nil || string(b) != "text" {
		t.Errorf("%q, %v", b, err)
	}
}

func TestRotateLeavesSmallLogs(t *testing.T) {
	l := &logging{path: filepath.Join(t.TempDir(), "0.log")}
	r, _ := NewRotator(RotatorConfig{Containers: l})
	if err := os.WriteFile(l.path, []byte("text"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.Rotate(t.Context(), time.Now()); err != nil {
		t.Fatal(err)
	}
	if files, _ := filepath.Glob(l.path + "*"); len(files) != 1 {
		t.Errorf("files: %v", files)
	}
}

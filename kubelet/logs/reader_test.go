package logs

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const sample = `2026-01-02T15:04:05.000000001Z stdout F one
2026-01-02T15:04:06.000000002Z stderr F two
2026-01-02T15:04:07.000000003Z stdout P thr
2026-01-02T15:04:07.500000003Z stdout F ee
2026-01-02T15:04:08.000000004Z stdout F 
2026-01-02T15:04:09.000000005Z stderr F five
`

func ptr[T any](v T) *T { return &v }

func writeLog(t *testing.T, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "0.log")
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRead(t *testing.T) {
	path := writeLog(t, sample)
	reader, err := New(Config{})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		opts Options
		want string
	}{
		"all":           {Options{}, "one\ntwo\nthree\n\nfive\n"},
		"tail 0":        {Options{Tail: ptr(int64(0))}, ""},
		"tail 1":        {Options{Tail: ptr(int64(1))}, "five\n"},
		"tail 2":        {Options{Tail: ptr(int64(2))}, "\nfive\n"},
		"tail pieces":   {Options{Tail: ptr(int64(3))}, "three\n\nfive\n"},
		"tail too many": {Options{Tail: ptr(int64(99))}, "one\ntwo\nthree\n\nfive\n"},
		"stdout":        {Options{Stream: Stdout}, "one\nthree\n\n"},
		"tail stderr":   {Options{Stream: Stderr, Tail: ptr(int64(2))}, "two\nfive\n"},
		"since":         {Options{Since: time.Date(2026, 1, 2, 15, 4, 8, 0, time.UTC)}, "\nfive\n"},
		"limit":         {Options{LimitBytes: ptr(int64(6))}, "one\ntw"},
		"limit exact":   {Options{LimitBytes: ptr(int64(4))}, "one\n"},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			if err := reader.Read(t.Context(), path, tc.opts, nil, &out, &out); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, out.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTimestamps(t *testing.T) {
	path := writeLog(t, sample)
	reader, _ := New(Config{})
	var out, errOut bytes.Buffer
	if err := reader.Read(t.Context(), path, Options{Timestamps: true}, nil, &out, &errOut); err != nil {
		t.Fatal(err)
	}
	at := func(s string) string {
		at, err := time.Parse(time.RFC3339Nano, s)
		if err != nil {
			t.Fatal(err)
		}
		return at.Local().Format(stampFormat)
	}
	want := at("2026-01-02T15:04:05.000000001Z") + " one\n" +
		at("2026-01-02T15:04:07.000000003Z") + " three\n" +
		at("2026-01-02T15:04:08.000000004Z") + " \n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Error(diff)
	}
	if !strings.HasSuffix(errOut.String(), " five\n") {
		t.Errorf("stderr: %q", errOut.String())
	}
}

func TestReadWithoutFinalNewline(t *testing.T) {
	path := writeLog(t, sample+"2026-01-02T15:04:10Z stdout F last")
	reader, _ := New(Config{})
	var out bytes.Buffer
	if err := reader.Read(t.Context(), path, Options{Tail: ptr(int64(2))}, nil, &out, &out); err != nil {
		t.Fatal(err)
	}
	if got, want := out.String(), "five\nlast\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The slow and obvious way to find a tail, against the fast one, on files that
// span many blocks.
func TestTailAgainstModel(t *testing.T) {
	var b []byte
	for i := range 2999 {
		b = AppendLine(b, Line{
			Time: time.Unix(int64(i), 0), Stream: Stdout, Partial: i%7 == 3,
			Text: bytes.Repeat([]byte("x"), i%53),
		})
	}
	path := writeLog(t, string(b))
	reader, _ := New(Config{})
	var all bytes.Buffer
	if err := reader.Read(t.Context(), path, Options{}, nil, &all, &all); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(all.String(), "\n"), "\n")
	for n := 1; n <= len(lines); n += 97 {
		var out bytes.Buffer
		if err := reader.Read(t.Context(), path, Options{Tail: ptr(int64(n))}, nil, &out, &out); err != nil {
			t.Fatal(err)
		}
		want := strings.Join(lines[len(lines)-n:], "") + "\n"
		if out.String() != want {
			t.Fatalf("tail %d: %d bytes, want %d", n, out.Len(), len(want))
		}
	}
}

// sink is a writer that can be read while it is written to.
type sink struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *sink) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *sink) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// blind says that nothing can be watched: the reader has to look by itself,
// which is what virtual time can drive.
func blind(string) (<-chan struct{}, func(), error) {
	return nil, nil, fmt.Errorf("no notifications here")
}

func TestFollowThroughRotation(t *testing.T) {
	path := writeLog(t, "2026-01-02T15:04:05Z stdout F one\n")
	synctest.Test(t, func(t *testing.T) {
		reader, _ := New(Config{Watch: blind})
		var mu sync.Mutex
		alive := true
		var out sink
		done := make(chan error, 1)
		go func() {
			done <- reader.Read(t.Context(), path, Options{Follow: true}, func(context.Context) (bool, error) {
				mu.Lock()
				defer mu.Unlock()
				return alive, nil
			}, &out, &out)
		}()
		appendTo := func(text string) {
			f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(f, text)
			f.Close()
		}
		expect := func(want string) {
			t.Helper()
			time.Sleep(2 * time.Second)
			synctest.Wait()
			if got := out.String(); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
		expect("one\n")
		appendTo("2026-01-02T15:04:06Z stdout F tw")
		expect("one\n")
		appendTo("o\n")
		expect("one\ntwo\n")
		appendTo("2026-01-02T15:04:07Z stdout F before\n")
		if err := os.Rename(path, path+".1"); err != nil {
			t.Fatal(err)
		}
		appendTo("2026-01-02T15:04:08Z stdout F after\n")
		expect("one\ntwo\nbefore\nafter\n")
		appendTo("2026-01-02T15:04:09Z stdout F end\n")
		mu.Lock()
		alive = false
		mu.Unlock()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if got, want := out.String(), "one\ntwo\nbefore\nafter\nend\n"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
}

// With the kernel's notifications, lines arrive long before the reader would
// look by itself.
func TestFollowNotified(t *testing.T) {
	path := writeLog(t, "2026-01-02T15:04:05Z stdout F one\n")
	reader, _ := New(Config{Poll: time.Hour})
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- reader.Read(ctx, path, Options{Follow: true}, func(context.Context) (bool, error) { return true, nil }, w, w)
	}()
	buf := make([]byte, 100)
	read := func(want string) {
		t.Helper()
		n, err := r.Read(buf)
		if err != nil || string(buf[:n]) != want {
			t.Fatalf("got %q, %v, want %q", buf[:n], err, want)
		}
	}
	read("one\n")
	for i := range 20 {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(f, "2026-01-02T15:04:05Z stdout F line %d\n", i)
		f.Close()
		read(fmt.Sprintf("line %d\n", i))
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

func TestFromPodLogOptions(t *testing.T) {
	now := time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)
	since := metav1.NewTime(now.Add(-time.Hour))
	for name, tc := range map[string]struct {
		in   corev1.PodLogOptions
		want Options
	}{
		"nothing": {corev1.PodLogOptions{}, Options{}},
		"seconds": {corev1.PodLogOptions{SinceSeconds: ptr(int64(60)), Follow: true}, Options{Follow: true, Since: now.Add(-time.Minute)}},
		"time":    {corev1.PodLogOptions{SinceTime: &since, Stream: ptr("Stderr")}, Options{Since: since.Time, Stream: Stderr}},
		"all":     {corev1.PodLogOptions{TailLines: ptr(int64(3)), Stream: ptr("All")}, Options{Tail: ptr(int64(3))}},
	} {
		if diff := cmp.Diff(tc.want, FromPodLogOptions(&tc.in, now)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	for line := range strings.Lines(sample) {
		f.Add([]byte(line))
	}
	f.Add([]byte("2026-01-02T15:04:05Z stdout P:x "))
	f.Add([]byte(""))
	f.Fuzz(func(t *testing.T, b []byte) {
		line, err := ParseLine(b)
		if err != nil {
			return
		}
		again, err := ParseLine(AppendLine(nil, line))
		if bytes.ContainsRune(line.Text, '\n') {
			return // two records in one
		}
		if err != nil || !again.Time.Equal(line.Time) || again.Stream != line.Stream || again.Partial != line.Partial || !bytes.Equal(again.Text, line.Text) {
			t.Fatalf("%q parsed as %+v, written and parsed again as %+v, %v", b, line, again, err)
		}
	})
}

// Whatever a file holds, its tail is a part of it that ends where it ends.
func FuzzTail(f *testing.F) {
	f.Add([]byte(sample), int64(2))
	f.Add([]byte("\n\n\n"), int64(1))
	f.Fuzz(func(t *testing.T, b []byte, n int64) {
		at, err := tailOffset(bytes.NewReader(b), int64(len(b)), n, "")
		if err != nil || at < 0 || at > int64(len(b)) {
			t.Fatalf("offset %d of %d, %v", at, len(b), err)
		}
		if at > 0 && at < int64(len(b)) && b[at-1] != '\n' {
			t.Fatalf("offset %d is inside of a record", at)
		}
	})
}

// Package testimage builds small container images and serves them from a
// registry in this process, so that tests of whatever runs containers need
// nothing from outside. The images hold one static program (package program):
// an HTTP server by default, and tools for kubectl exec: sh, cat, ls, env, sleep,
// echo, id, touch and more.
package testimage

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// Repository is the name of the image in the registry. Its tags are "v1" and
// "v2" (they differ in the variable VERSION), "nonroot" (runs as user "app",
// UID 1000) and "latest", which is v1.
const Repository = "strake/server"

// Registry serves the images on a loopback address over plain HTTP.
type Registry struct {
	// Addr is host:port.
	Addr   string
	server *http.Server
	ended  chan struct{}
}

// Ref names the image with that tag in this registry.
func (r *Registry) Ref(tag string) string { return r.Addr + "/" + Repository + ":" + tag }

// Close stops serving.
func (r *Registry) Close() {
	_ = r.server.Close()
	<-r.ended
}

// Serve starts a registry with the images, until the test ends.
func Serve(t testing.TB) *Registry {
	t.Helper()
	r, err := Start(t.Context(), t.TempDir(), nil)
	if err != nil {
		t.Fatalf("test images: %v", err)
	}
	t.Cleanup(r.Close)
	return r
}

// Start builds the images (dir holds the compiled program) and serves them;
// wrap, if given, stands before the registry, to count, delay or refuse.
func Start(ctx context.Context, dir string, wrap func(http.Handler) http.Handler) (*Registry, error) {
	program := filepath.Join(dir, "program")
	if err := Compile(ctx, program); err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	handler := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	r := &Registry{Addr: listener.Addr().String(), ended: make(chan struct{})}
	if err := r.push(ctx, handler, program); err != nil {
		listener.Close()
		return nil, err
	}
	if wrap != nil {
		handler = wrap(handler)
	}
	r.server = &http.Server{Handler: handler, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		defer close(r.ended)
		_ = r.server.Serve(listener)
	}()
	return r, nil
}

// direct sends requests to a handler without a connection: pushing must work from
// a thread that is in another network namespace than the rest of the program.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	d.ServeHTTP(w, r)
	response := w.Result()
	response.Request = r
	return response, nil
}

func (r *Registry) push(ctx context.Context, to http.Handler, program string) error {
	for tag, change := range map[string]func(*v1.Config){
		"v1":     func(*v1.Config) {},
		"latest": func(*v1.Config) {},
		"v2":     func(c *v1.Config) { c.Env = append(c.Env, "VERSION=v2") },
		"nonroot": func(c *v1.Config) {
			c.User = "app"
			c.WorkingDir = "/home/app"
		},
	} {
		image, err := Build(program, change)
		if err != nil {
			return err
		}
		ref, err := name.NewTag(r.Ref(tag), name.Insecure)
		if err != nil {
			return err
		}
		if err := remote.Write(ref, image, remote.WithContext(ctx), remote.WithTransport(direct{to})); err != nil {
			return fmt.Errorf("pushing %s: %w", ref, err)
		}
	}
	return nil
}

// Compile builds the static program of the images to path.
func Compile(ctx context.Context, path string) error {
	_, here, _, ok := runtime.Caller(0)
	if !ok {
		return errors.New("the source directory is not known")
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./program")
	cmd.Dir = filepath.Dir(here)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOFLAGS=")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("compiling the test program: %w\n%s", err, out)
	}
	return nil
}

// Build makes an image of the compiled program; change may alter its configuration.
func Build(program string, change func(*v1.Config)) (v1.Image, error) {
	content, err := os.ReadFile(program)
	if err != nil {
		return nil, err
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) {
		return io.NopCloser(bytes.NewReader(rootfs(content))), nil
	})
	if err != nil {
		return nil, err
	}
	image, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		return nil, err
	}
	file, err := image.ConfigFile()
	if err != nil {
		return nil, err
	}
	file = file.DeepCopy()
	file.OS, file.Architecture = "linux", runtime.GOARCH
	file.Config.Entrypoint = []string{"/bin/program"}
	file.Config.Cmd = []string{"serve"}
	file.Config.Env = []string{"PATH=/bin"}
	change(&file.Config)
	if len(file.Config.Env) == 1 {
		file.Config.Env = append(file.Config.Env, "VERSION=v1")
	}
	return mutate.ConfigFile(image, file)
}

// rootfs is the only layer, as a tar.
func rootfs(program []byte) []byte {
	var buf bytes.Buffer
	w := tar.NewWriter(&buf)
	// Writes go to memory: they can't fail but for a wrong size, which the
	// image would not survive either.
	add := func(h tar.Header, body []byte) {
		h.Size = int64(len(body))
		h.Format = tar.FormatPAX
		if err := w.WriteHeader(&h); err != nil {
			return
		}
		_, _ = w.Write(body)
	}
	for _, dir := range []string{"bin", "etc", "home", "proc", "sys", "dev", "root", "var", "run"} {
		add(tar.Header{Typeflag: tar.TypeDir, Name: dir + "/", Mode: 0o755}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeDir, Name: "tmp/", Mode: 0o1777}, nil)
	add(tar.Header{Typeflag: tar.TypeDir, Name: "home/app/", Mode: 0o755, Uid: 1000, Gid: 1000}, nil)
	add(tar.Header{Typeflag: tar.TypeReg, Name: "bin/program", Mode: 0o755}, program)
	for _, tool := range []string{"sh", "cat", "ls", "env", "sleep", "echo", "id", "touch", "hostname", "true", "false", "tty", "pwd", "wget", "pids", "serve", "tick", "write", "tar"} {
		add(tar.Header{Typeflag: tar.TypeSymlink, Name: "bin/" + tool, Linkname: "program", Mode: 0o777}, nil)
	}
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/passwd", Mode: 0o644},
		[]byte("root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:app:/home/app:/bin/sh\n"))
	add(tar.Header{Typeflag: tar.TypeReg, Name: "etc/group", Mode: 0o644},
		[]byte("root:x:0:\napp:x:1000:\nextra:x:2000:app\n"))
	_ = w.Close()
	return buf.Bytes()
}

package fake

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/strake-io/strake/runtime"
)

// Pull implements [runtime.Images]. An image's ID is the hash of its name.
func (r *Runtime) Pull(ctx context.Context, ref string, _ *runtime.RegistryAuth) (string, error) {
	if ref == "" || strings.ContainsAny(ref, " \t\n") {
		return "", &runtime.PullError{Ref: ref, Reason: "InvalidImageName", Err: fmt.Errorf("invalid reference %q", ref)}
	}
	if err := sleep(ctx, r.config.PullDelay); err != nil {
		return "", &runtime.PullError{Ref: ref, Reason: "ErrImagePull", Err: err}
	}
	cause := error(nil)
	if r.config.PullError != nil {
		cause = r.config.PullError(ref)
	} else if strings.HasPrefix(ref, "fake.invalid/") {
		cause = errors.New("not found")
	}
	if cause != nil {
		full := Normalize(ref)
		return "", &runtime.PullError{Ref: ref, Reason: "ErrImagePull", Err: fmt.Errorf(
			"failed to pull and unpack image %q: failed to resolve reference %q: %s: %w", full, full, full, cause)}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.addImage(ref).ID, nil
}

// addImage records an image under a reference. Call with mu held.
func (r *Runtime) addImage(ref string) *runtime.Image {
	full := Normalize(ref)
	id := imageID(full)
	if image, ok := r.images[id]; ok {
		return image
	}
	image := &runtime.Image{ID: id, SizeBytes: 10 << 20}
	if name, _, ok := strings.Cut(full, "@"); ok {
		image.RepoDigests = []string{full}
		_ = name
	} else {
		image.RepoTags = []string{full}
		image.RepoDigests = []string{full[:strings.LastIndexByte(full, ':')] + "@" + id}
	}
	r.images[id] = image
	return image
}

// Image implements [runtime.Images].
func (r *Runtime) Image(_ context.Context, ref string) (*runtime.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	image := r.lookup(ref)
	if image == nil {
		return nil, fmt.Errorf("image %q: %w", ref, runtime.ErrNotFound)
	}
	return copyImage(image), nil
}

func (r *Runtime) lookup(ref string) *runtime.Image {
	if image, ok := r.images[ref]; ok {
		return image
	}
	full := Normalize(ref)
	if image, ok := r.images[imageID(full)]; ok {
		return image
	}
	for _, image := range r.images {
		if slices.Contains(image.RepoDigests, full) {
			return image
		}
	}
	return nil
}

// ListImages implements [runtime.Images].
func (r *Runtime) ListImages(context.Context) ([]runtime.Image, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := make([]runtime.Image, 0, len(r.images))
	for _, image := range r.images {
		out = append(out, *copyImage(image))
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	return out, nil
}

// RemoveImage implements [runtime.Images].
func (r *Runtime) RemoveImage(_ context.Context, ref string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if image := r.lookup(ref); image != nil {
		delete(r.images, image.ID)
	}
	return nil
}

// ImageUsage implements [runtime.Images].
func (r *Runtime) ImageUsage(context.Context) (runtime.FilesystemUsage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var used uint64
	for _, image := range r.images {
		used += uint64(image.SizeBytes)
	}
	return runtime.FilesystemUsage{Mountpoint: "/", UsedBytes: used, InodesUsed: uint64(len(r.images))}, nil
}

func copyImage(image *runtime.Image) *runtime.Image {
	out := *image
	out.RepoTags = slices.Clone(image.RepoTags)
	out.RepoDigests = slices.Clone(image.RepoDigests)
	return &out
}

func imageID(full string) string {
	sum := sha256.Sum256([]byte(full))
	return "sha256:" + hex.EncodeToString(sum[:])
}

// Normalize completes a short image name as containerd does: nginx is
// docker.io/library/nginx:latest.
func Normalize(ref string) string {
	first, rest, ok := strings.Cut(ref, "/")
	switch {
	case !ok:
		ref = "docker.io/library/" + ref
	case !strings.ContainsAny(first, ".:") && first != "localhost":
		ref = "docker.io/" + ref
	case first == "docker.io" && !strings.Contains(rest, "/"):
		ref = "docker.io/library/" + rest
	}
	if !strings.Contains(ref, "@") && !strings.Contains(ref[strings.LastIndexByte(ref, '/'):], ":") {
		ref += ":latest"
	}
	return ref
}

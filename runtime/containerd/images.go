package containerd

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"

	client "github.com/containerd/containerd/v2/client"
	"github.com/containerd/containerd/v2/core/content"
	coreimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strake-io/strake/runtime"
)

// An image has several records in containerd, all of the same content: one per tag
// ("docker.io/library/nginx:1.27"), one per digest it was pulled by ("...@sha256:"),
// and one named by its ID, which holds it when its tag has moved on.

// imageInfo is what an image's content says; it never changes.
type imageInfo struct {
	ID     string // of its configuration
	Size   int64
	Config imagespec.ImageConfig
}

// imageCache keeps what was read, by the digest that records point to.
type imageCache struct {
	mu    sync.Mutex
	known map[string]imageInfo
}

// keep forgets what is of images that are no more. One that was pulled meanwhile is
// read again.
func (c *imageCache) keep(present map[string]bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	maps.DeleteFunc(c.known, func(digest string, _ imageInfo) bool { return !present[digest] })
}

// normalize completes a reference: nginx is docker.io/library/nginx:latest.
func normalize(ref string) (reference.Named, error) {
	named, err := reference.ParseDockerRef(ref)
	if err != nil {
		return nil, err
	}
	return named, nil
}

func (r *Runtime) info(ctx context.Context, image client.Image) (imageInfo, error) {
	key := image.Target().Digest.String()
	r.images.mu.Lock()
	info, ok := r.images.known[key]
	r.images.mu.Unlock()
	if ok {
		return info, nil
	}
	desc, err := image.Config(ctx)
	if err != nil {
		return info, err
	}
	body, err := content.ReadBlob(ctx, image.ContentStore(), desc)
	if err != nil {
		return info, err
	}
	var parsed imagespec.Image
	if err := json.Unmarshal(body, &parsed); err != nil {
		return info, fmt.Errorf("image configuration %s: %w", desc.Digest, err)
	}
	size, err := image.Size(ctx)
	if err != nil {
		return info, err
	}
	info = imageInfo{ID: desc.Digest.String(), Size: size, Config: parsed.Config}
	r.images.mu.Lock()
	r.images.known[key] = info
	r.images.mu.Unlock()
	return info, nil
}

// findImage looks up a reference, a digest or an ID.
func (r *Runtime) findImage(ctx context.Context, ref string) (client.Image, imageInfo, error) {
	names := []string{ref}
	if len(ref) == 64 && !strings.ContainsAny(ref, "/:.") {
		names = append(names, "sha256:"+ref)
	}
	if named, err := normalize(ref); err == nil {
		names = append(names, named.String())
	}
	for _, name := range names {
		image, err := r.client.GetImage(ctx, name)
		if errdefs.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, imageInfo{}, failure(err)
		}
		info, err := r.info(ctx, image)
		return image, info, failure(err)
	}
	return nil, imageInfo{}, fmt.Errorf("image %q: %w", ref, runtime.ErrNotFound)
}

// imageRef is the repository digest of an image, or its ID.
func (r *Runtime) imageRef(ctx context.Context, info imageInfo) string {
	all, err := r.groupImages(ctx)
	if err != nil {
		return info.ID
	}
	for _, image := range all {
		if image.ID == info.ID && len(image.RepoDigests) > 0 {
			return image.RepoDigests[0]
		}
	}
	return info.ID
}

// groupImages lists images, each once with all its names.
func (r *Runtime) groupImages(ctx context.Context) ([]runtime.Image, error) {
	records, err := r.client.ListImages(ctx)
	if err != nil {
		return nil, failure(err)
	}
	byID := map[string]*runtime.Image{}
	present := map[string]bool{}
	for _, record := range records {
		present[record.Target().Digest.String()] = true
		info, err := r.info(ctx, record)
		if err != nil {
			// Half pulled, or of another platform: not usable.
			continue
		}
		image := byID[info.ID]
		if image == nil {
			image = &runtime.Image{ID: info.ID, SizeBytes: info.Size}
			image.UID, image.Username = imageUser(info.Config.User)
			byID[info.ID] = image
		}
		switch name := record.Name(); {
		case strings.HasPrefix(name, "sha256:"):
		case strings.Contains(name, "@"):
			image.RepoDigests = append(image.RepoDigests, name)
		default:
			image.RepoTags = append(image.RepoTags, name)
		}
	}
	out := make([]runtime.Image, 0, len(byID))
	for _, image := range byID {
		sort.Strings(image.RepoTags)
		sort.Strings(image.RepoDigests)
		out = append(out, *image)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].ID < out[j].ID })
	r.images.keep(present)
	return out, nil
}

// imageUser reads "1000", "1000:1000", "app" or "app:group".
func imageUser(user string) (*int64, string) {
	name, _, _ := strings.Cut(user, ":")
	if name == "" {
		return nil, ""
	}
	if uid, err := strconv.ParseInt(name, 10, 64); err == nil {
		return &uid, ""
	}
	return nil, name
}

// Image implements [runtime.Images].
func (r *Runtime) Image(ctx context.Context, ref string) (*runtime.Image, error) {
	ctx, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	_, info, err := r.findImage(ctx, ref)
	if err != nil {
		return nil, err
	}
	all, err := r.groupImages(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(image runtime.Image) bool { return image.ID == info.ID })
	if i < 0 {
		return nil, fmt.Errorf("image %q: %w", ref, runtime.ErrNotFound)
	}
	return &all[i], nil
}

// ListImages implements [runtime.Images].
func (r *Runtime) ListImages(ctx context.Context) ([]runtime.Image, error) {
	ctx, err := r.begin(ctx)
	if err != nil {
		return nil, err
	}
	return r.groupImages(ctx)
}

// RemoveImage implements [runtime.Images].
func (r *Runtime) RemoveImage(ctx context.Context, ref string) error {
	ctx, err := r.begin(ctx)
	if err != nil {
		return err
	}
	image, err := r.Image(ctx, ref)
	if err != nil {
		if isNotFound(err) {
			return nil
		}
		return err
	}
	names := slices.Concat(image.RepoTags, image.RepoDigests, []string{image.ID})
	for i, name := range names {
		var opts []coreimages.DeleteOpt
		if i == len(names)-1 {
			opts = append(opts, coreimages.SynchronousDelete()) // and free the space
		}
		if err := r.client.ImageService().Delete(ctx, name, opts...); err != nil && !errdefs.IsNotFound(err) {
			return fmt.Errorf("image %q: %w", ref, failure(err))
		}
	}
	return nil
}

// ImageUsage implements [runtime.Images]: what the snapshotter holds.
func (r *Runtime) ImageUsage(ctx context.Context) (runtime.FilesystemUsage, error) {
	ctx, err := r.begin(ctx)
	if err != nil {
		return runtime.FilesystemUsage{}, err
	}
	usage := runtime.FilesystemUsage{Mountpoint: r.rootDir(ctx)}
	snapshotter := r.client.SnapshotService(r.snapshotter)
	err = snapshotter.Walk(ctx, func(ctx context.Context, s snapshots.Info) error {
		one, err := snapshotter.Usage(ctx, s.Name)
		if err != nil {
			return nil // removed meanwhile
		}
		usage.UsedBytes += uint64(one.Size)
		usage.InodesUsed += uint64(one.Inodes)
		return nil
	})
	return usage, failure(err)
}

// rootDir is where the snapshotter keeps its files, as containerd tells.
func (r *Runtime) rootDir(ctx context.Context) string {
	response, err := r.client.IntrospectionService().Plugins(ctx, "type==io.containerd.snapshotter.v1", "id=="+r.snapshotter)
	if err == nil {
		for _, p := range response.Plugins {
			if root := p.Exports["root"]; p.ID == r.snapshotter && root != "" {
				return root
			}
		}
	}
	return filepath.Dir(r.config.State)
}

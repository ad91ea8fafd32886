package containerd

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	client "github.com/containerd/containerd/v2/client"
	coreimages "github.com/containerd/containerd/v2/core/images"
	"github.com/containerd/containerd/v2/core/remotes"
	"github.com/containerd/containerd/v2/core/remotes/docker"
	hosts "github.com/containerd/containerd/v2/core/remotes/docker/config"
	"github.com/containerd/errdefs"
	"github.com/distribution/reference"
	imagespec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/strake-io/strake/runtime"
)

func isNotFound(err error) bool { return errors.Is(err, runtime.ErrNotFound) }

// Pull implements [runtime.Images].
func (r *Runtime) Pull(ctx context.Context, ref string, auth *runtime.RegistryAuth) (string, error) {
	ctx, err := r.begin(ctx)
	if err != nil {
		return "", &runtime.PullError{Ref: ref, Reason: "ErrImagePull", Err: err}
	}
	named, err := normalize(ref)
	if err != nil {
		return "", &runtime.PullError{Ref: ref, Reason: "InvalidImageName", Err: fmt.Errorf("failed to parse image reference %q: %w", ref, err)}
	}
	if err := r.pulls.Acquire(ctx, 1); err != nil {
		return "", &runtime.PullError{Ref: ref, Reason: "ErrImagePull", Err: err}
	}
	defer r.pulls.Release(1)
	id, err := r.pull(ctx, named, auth)
	if err != nil {
		return "", &runtime.PullError{Ref: ref, Reason: "ErrImagePull", Err: fmt.Errorf("failed to pull and unpack image %q: %w", named, err)}
	}
	return id, nil
}

func (r *Runtime) pull(ctx context.Context, named reference.Named, auth *runtime.RegistryAuth) (string, error) {
	image, err := r.client.Pull(ctx, named.String(),
		client.WithPullUnpack, client.WithPullSnapshotter(r.snapshotter), client.WithResolver(r.resolver(ctx, auth)),
		// Configurations and manifests keep their layers from being collected.
		client.WithChildLabelMap(coreimages.ChildGCLabels),
	)
	if err != nil {
		return "", err
	}
	info, err := r.info(ctx, image)
	if err != nil {
		return "", err
	}
	names := []string{info.ID}
	if _, ok := named.(reference.Digested); !ok {
		names = append(names, reference.TrimNamed(named).String()+"@"+image.Target().Digest.String())
	}
	for _, name := range names {
		if err := r.nameImage(ctx, name, image.Target()); err != nil {
			return "", err
		}
	}
	return info.ID, nil
}

// nameImage records one more name of an image.
func (r *Runtime) nameImage(ctx context.Context, name string, target imagespec.Descriptor) error {
	record := coreimages.Image{Name: name, Target: target}
	_, err := r.client.ImageService().Create(ctx, record)
	if errdefs.IsAlreadyExists(err) {
		_, err = r.client.ImageService().Update(ctx, record, "target")
	}
	return err
}

// resolver finds registries: by plain HTTP on loopback, by TLS elsewhere, or as
// the configuration directory says.
func (r *Runtime) resolver(ctx context.Context, auth *runtime.RegistryAuth) remotes.Resolver {
	var authOpts []docker.AuthorizerOpt
	if auth != nil {
		authOpts = append(authOpts, docker.WithAuthCreds(func(string) (string, string, error) {
			if auth.IdentityToken != "" {
				return "", auth.IdentityToken, nil
			}
			return auth.Username, auth.Password, nil
		}))
	}
	registries := docker.ConfigureDefaultRegistries(
		docker.WithPlainHTTP(docker.MatchLocalhost),
		docker.WithAuthorizer(docker.NewDockerAuthorizer(authOpts...)),
	)
	if dir := r.config.RegistryConfigDir; dir != "" {
		registries = hosts.ConfigureHosts(ctx, hosts.HostOptions{
			HostDir: hosts.HostDirFromRoot(dir), AuthorizerOpts: authOpts,
		})
	}
	headers := http.Header{}
	headers.Set("User-Agent", "strake")
	if auth != nil && auth.RegistryToken != "" {
		headers.Set("Authorization", "Bearer "+auth.RegistryToken)
	}
	return docker.NewResolver(docker.ResolverOptions{Hosts: registries, Headers: headers})
}

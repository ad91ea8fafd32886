package cri

import (
	"context"
	"errors"
	"fmt"
	"strings"

	api "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/strake-io/strake/runtime"
)

// Pull implements [runtime.Images].
func (r *Runtime) Pull(ctx context.Context, ref string, auth *runtime.RegistryAuth) (string, error) {
	if ref == "" {
		return "", &runtime.PullError{Ref: ref, Reason: "InvalidImageName", Err: errors.New("the image reference is empty")}
	}
	request := &api.PullImageRequest{Image: &api.ImageSpec{Image: ref, UserSpecifiedImage: ref}}
	if auth != nil {
		request.Auth = &api.AuthConfig{
			Username: auth.Username, Password: auth.Password, IdentityToken: auth.IdentityToken, RegistryToken: auth.RegistryToken,
		}
	}
	response, err := r.images.PullImage(ctx, request)
	if err != nil {
		err = failure(err)
		return "", &runtime.PullError{Ref: ref, Reason: pullReason(err.Error()), Err: err}
	}
	// Runtimes answer with an ID or a digest; the ID is what we promise.
	image, err := r.Image(ctx, response.ImageRef)
	if err != nil {
		return "", &runtime.PullError{Ref: ref, Reason: "ErrImagePull", Err: err}
	}
	return image.ID, nil
}

// pullReason finds the reasons that the CRI lets runtimes begin a message with.
func pullReason(message string) string {
	for _, reason := range []string{"RegistryUnavailable", "SignatureValidationFailed"} {
		if strings.Contains(message, reason) {
			return reason
		}
	}
	if strings.Contains(message, "failed to parse image reference") || strings.Contains(message, "invalid reference format") {
		return "InvalidImageName"
	}
	return "ErrImagePull"
}

// Image implements [runtime.Images].
func (r *Runtime) Image(ctx context.Context, ref string) (*runtime.Image, error) {
	response, err := r.images.ImageStatus(ctx, &api.ImageStatusRequest{Image: &api.ImageSpec{Image: ref}})
	if err != nil {
		return nil, failure(err)
	}
	if response.Image == nil {
		return nil, fmt.Errorf("image %q: %w", ref, runtime.ErrNotFound)
	}
	out := imageOf(response.Image)
	return &out, nil
}

// ListImages implements [runtime.Images].
func (r *Runtime) ListImages(ctx context.Context) ([]runtime.Image, error) {
	response, err := r.images.ListImages(ctx, &api.ListImagesRequest{})
	if err != nil {
		return nil, failure(err)
	}
	out := make([]runtime.Image, 0, len(response.Images))
	for _, image := range response.Images {
		out = append(out, imageOf(image))
	}
	return out, nil
}

func imageOf(image *api.Image) runtime.Image {
	out := runtime.Image{
		ID: image.Id, RepoTags: image.RepoTags, RepoDigests: image.RepoDigests,
		SizeBytes: int64(image.Size), Username: image.Username, Pinned: image.Pinned,
	}
	if image.Uid != nil {
		uid := image.Uid.Value
		out.UID = &uid
	}
	return out
}

// RemoveImage implements [runtime.Images].
func (r *Runtime) RemoveImage(ctx context.Context, ref string) error {
	_, err := r.images.RemoveImage(ctx, &api.RemoveImageRequest{Image: &api.ImageSpec{Image: ref}})
	if err = failure(err); errors.Is(err, runtime.ErrNotFound) {
		return nil
	}
	return err
}

// ImageUsage implements [runtime.Images].
func (r *Runtime) ImageUsage(ctx context.Context) (runtime.FilesystemUsage, error) {
	response, err := r.images.ImageFsInfo(ctx, &api.ImageFsInfoRequest{})
	if err != nil {
		return runtime.FilesystemUsage{}, failure(err)
	}
	var out runtime.FilesystemUsage
	for _, fs := range response.ImageFilesystems {
		if out.Mountpoint == "" {
			out.Mountpoint = fs.GetFsId().GetMountpoint()
		}
		out.UsedBytes += fs.GetUsedBytes().GetValue()
		out.InodesUsed += fs.GetInodesUsed().GetValue()
	}
	return out, nil
}

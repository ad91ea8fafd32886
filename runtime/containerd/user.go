package containerd

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/containerd/containerd/v2/core/mount"
	"github.com/moby/sys/user"
	"github.com/opencontainers/runtime-spec/specs-go"

	"github.com/strake-io/strake/runtime"
)

// userOf looks up the container's user in its root file system.
func userOf(ctx context.Context, mounts []mount.Mount, in specInput) (out specs.User, err error) {
	merr := mount.WithReadonlyTempMount(ctx, mounts, func(path string) error {
		// Links in the image must not lead out of it.
		root, err := os.OpenRoot(path)
		if err != nil {
			return err
		}
		defer root.Close()
		out, err = resolveUser(root.FS(), in.Container.Security, in.Image.User)
		return err
	})
	return out, merr
}

// resolveUser decides as whom a container runs: the pod's word over the image's,
// numbers as they are, names by the image's /etc/passwd and /etc/group. The user's
// supplementary groups of /etc/group come first, then the pod's.
func resolveUser(root fs.FS, security runtime.SecurityContext, imageUser string) (specs.User, error) {
	name, group, _ := strings.Cut(imageUser, ":")
	switch {
	case security.RunAsUser != nil:
		name, group = strconv.FormatInt(*security.RunAsUser, 10), ""
	case security.RunAsUsername != "":
		name, group = security.RunAsUsername, ""
	}
	if security.RunAsGroup != nil {
		group = strconv.FormatInt(*security.RunAsGroup, 10)
	}
	if name == "" {
		name = "0"
	}
	id, numeric := number(name)
	var out specs.User
	entries, err := passwd(root, func(u user.User) bool { return numeric && u.Uid == id || !numeric && u.Name == name })
	if err != nil {
		return out, err
	}
	switch {
	case len(entries) > 0:
		out.UID, out.GID = uint32(entries[0].Uid), uint32(entries[0].Gid)
		name = entries[0].Name
	case numeric:
		out.UID = uint32(id)
		name = ""
	default:
		return out, fmt.Errorf("unable to find user %s: no matching entries in passwd file", name)
	}
	if group != "" {
		gid, numeric := number(group)
		if !numeric {
			found, err := groups(root, func(g user.Group) bool { return g.Name == group })
			if err != nil {
				return out, err
			}
			if len(found) == 0 {
				return out, fmt.Errorf("unable to find group %s: no matching entries in group file", group)
			}
			gid = found[0].Gid
		}
		out.GID = uint32(gid)
	}
	out.AdditionalGids = []uint32{out.GID}
	if name != "" {
		member, err := groups(root, func(g user.Group) bool { return slices.Contains(g.List, name) })
		if err != nil {
			return out, err
		}
		for _, g := range member {
			out.AdditionalGids = append(out.AdditionalGids, uint32(g.Gid))
		}
	}
	for _, g := range security.SupplementalGroups {
		out.AdditionalGids = append(out.AdditionalGids, uint32(g))
	}
	seen := map[uint32]bool{}
	out.AdditionalGids = slices.DeleteFunc(out.AdditionalGids, func(g uint32) bool {
		again := seen[g]
		seen[g] = true
		return again
	})
	return out, nil
}

func number(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 31)
	return int(n), err == nil
}

func passwd(root fs.FS, keep func(user.User) bool) ([]user.User, error) {
	f, err := root.Open("etc/passwd")
	if err != nil {
		return nil, absent(err)
	}
	defer f.Close()
	return user.ParsePasswdFilter(f, keep)
}

func groups(root fs.FS, keep func(user.Group) bool) ([]user.Group, error) {
	f, err := root.Open("etc/group")
	if err != nil {
		return nil, absent(err)
	}
	defer f.Close()
	return user.ParseGroupFilter(f, keep)
}

// absent makes a file that is not there, or a link out of the image, no error.
func absent(err error) error {
	var pathError *fs.PathError
	if errors.Is(err, fs.ErrNotExist) || errors.As(err, &pathError) {
		return nil
	}
	return err
}

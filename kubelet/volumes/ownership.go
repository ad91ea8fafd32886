package volumes

import (
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
)

// Bits that fsGroup adds, so that the group can use what it owns.
const (
	groupReadWrite = 0o660
	groupReadOnly  = 0o440
	groupExecute   = 0o110
)

// groupMode is the mode of an entry that belongs to the pod's fsGroup.
func groupMode(mode fs.FileMode, readOnly bool) fs.FileMode {
	if readOnly {
		mode |= groupReadOnly
	} else {
		mode |= groupReadWrite
	}
	if mode.IsDir() {
		mode |= fs.ModeSetgid | groupExecute
	}
	return mode
}

// setGroup gives a volume's whole tree to the group. Links are not followed.
func setGroup(root string, gid int64, readOnly bool) error {
	return filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if err := os.Lchown(path, -1, int(gid)); err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil || info.Mode()&fs.ModeSymlink != 0 {
			return err
		}
		return os.Chmod(path, groupMode(info.Mode(), readOnly))
	})
}

// fsGroup of a pod; nil where none is asked for.
func fsGroup(pod *corev1.Pod) *int64 {
	if pod.Spec.SecurityContext == nil {
		return nil
	}
	return pod.Spec.SecurityContext.FSGroup
}

// commonUser is the user that all of a pod's containers run as, nil where they
// differ or one does not say. It may own token files, so that they need no
// wider mode.
func commonUser(pod *corev1.Pod) *int64 {
	var podUser *int64
	if pod.Spec.SecurityContext != nil {
		podUser = pod.Spec.SecurityContext.RunAsUser
	}
	var common *int64
	same := true
	visit := func(sc *corev1.SecurityContext) {
		user := podUser
		if sc != nil && sc.RunAsUser != nil {
			user = sc.RunAsUser
		}
		if user == nil || common != nil && *common != *user {
			same = false
			return
		}
		common = user
	}
	for i := range pod.Spec.InitContainers {
		visit(pod.Spec.InitContainers[i].SecurityContext)
	}
	for i := range pod.Spec.Containers {
		visit(pod.Spec.Containers[i].SecurityContext)
	}
	for i := range pod.Spec.EphemeralContainers {
		visit(pod.Spec.EphemeralContainers[i].SecurityContext)
	}
	if !same {
		return nil
	}
	return common
}

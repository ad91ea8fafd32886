package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/utils/ptr"
)

// file is one that a volume writes, and what of.
type file struct{ path, of string }

func (f file) String() string {
	if f.of == "" {
		return fmt.Sprintf("%q", f.path)
	}
	return fmt.Sprintf("%q (%s)", f.path, f.of)
}

// overlaps warns of files of a volume that are one, or one of which is in a directory
// that is the other.
func (w *warner) overlaps(v *corev1.Volume) {
	if c := v.ConfigMap; c != nil {
		w.overlap(v.Name, fmt.Sprintf("ConfigMap %q", c.Name), keyFiles(c.Items, ""))
	}
	if s := v.Secret; s != nil {
		w.overlap(v.Name, fmt.Sprintf("Secret %q", s.SecretName), keyFiles(s.Items, ""))
	}
	if d := v.DownwardAPI; d != nil {
		w.overlap(v.Name, "DownwardAPI", downwardFiles(d.Items, ""))
	}
	if v.Projected == nil {
		return
	}
	var all []file
	for i := range v.Projected.Sources {
		s := &v.Projected.Sources[i]
		if *s == (corev1.VolumeProjection{}) {
			w.out = append(w.out, fmt.Sprintf("volume %q (Projected) has no sources provided", v.Name))
			continue
		}
		all = append(all, projectedFiles(s)...)
	}
	w.overlap(v.Name, "Projected", all)
}

func (w *warner) overlap(volume, kind string, files []file) {
	for i := range files {
		files[i].path = strings.TrimRight(files[i].path, "/")
		now := files[i].path
		for _, before := range files[:i] {
			if now == "" || before.path == "" {
				continue
			}
			if strings.HasPrefix(before.path+"/", now+"/") || strings.HasPrefix(now+"/", before.path+"/") {
				w.out = append(w.out, fmt.Sprintf("volume %q (%s): overlapping paths: %s with %s", volume, kind, files[i], before))
			}
		}
	}
}

// projectedFiles are those of the first source that says which it has.
func projectedFiles(s *corev1.VolumeProjection) []file {
	switch {
	case s.ConfigMap != nil && s.ConfigMap.Items != nil:
		return keyFiles(s.ConfigMap.Items, fmt.Sprintf("ConfigMap %q", s.ConfigMap.Name))
	case s.Secret != nil && s.Secret.Items != nil:
		return keyFiles(s.Secret.Items, fmt.Sprintf("Secret %q", s.Secret.Name))
	case s.DownwardAPI != nil && s.DownwardAPI.Items != nil:
		return downwardFiles(s.DownwardAPI.Items, "DownwardAPI")
	case s.ServiceAccountToken != nil:
		return []file{{s.ServiceAccountToken.Path, "ServiceAccountToken"}}
	case s.ClusterTrustBundle != nil:
		b := s.ClusterTrustBundle
		return []file{{b.Path, fmt.Sprintf("ClusterTrustBundle %q", ptr.Deref(b.Name, ptr.Deref(b.SignerName, "")))}}
	case s.PodCertificate != nil:
		c := s.PodCertificate
		return []file{{c.CertificateChainPath, "PodCertificate chain"}, {c.KeyPath, "PodCertificate key"}, {c.CredentialBundlePath, "PodCertificate credential bundle"}}
	}
	return nil
}

func keyFiles(items []corev1.KeyToPath, of string) []file {
	out := make([]file, 0, len(items))
	for _, item := range items {
		out = append(out, file{item.Path, of})
	}
	return out
}

func downwardFiles(items []corev1.DownwardAPIVolumeFile, of string) []file {
	out := make([]file, 0, len(items))
	for _, item := range items {
		out = append(out, file{item.Path, of})
	}
	return out
}

package volumes

import (
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
)

// File is one file of a volume.
type File struct {
	Data []byte
	Mode int32 // permission bits
	// UID owns the file where it is set.
	UID *int64
}

// Payload is the content of a volume: files by slash-separated relative path.
type Payload map[string]File

// ConfigMapPayload selects what a volume shows of a ConfigMap. Without items it
// is every key. A key that is selected but absent is an error unless optional.
func ConfigMapPayload(cm *corev1.ConfigMap, items []corev1.KeyToPath, mode *int32, optional bool) (Payload, error) {
	value := func(key string) ([]byte, bool) {
		if s, ok := cm.Data[key]; ok {
			return []byte(s), true
		}
		b, ok := cm.BinaryData[key]
		return b, ok
	}
	keys := make([]string, 0, len(cm.Data)+len(cm.BinaryData))
	for k := range cm.Data {
		keys = append(keys, k)
	}
	for k := range cm.BinaryData {
		keys = append(keys, k)
	}
	return selectKeys("config", keys, value, items, mode, optional)
}

// SecretPayload is ConfigMapPayload for Secrets.
func SecretPayload(secret *corev1.Secret, items []corev1.KeyToPath, mode *int32, optional bool) (Payload, error) {
	keys := make([]string, 0, len(secret.Data))
	for k := range secret.Data {
		keys = append(keys, k)
	}
	value := func(key string) ([]byte, bool) { b, ok := secret.Data[key]; return b, ok }
	return selectKeys("secret", keys, value, items, mode, optional)
}

func selectKeys(what string, keys []string, value func(string) ([]byte, bool), items []corev1.KeyToPath, mode *int32, optional bool) (Payload, error) {
	defaultMode := modeOr(mode, corev1.ConfigMapVolumeSourceDefaultMode)
	payload := Payload{}
	if items == nil {
		for _, k := range keys {
			b, _ := value(k)
			payload[k] = File{Data: b, Mode: defaultMode}
		}
		return payload, nil
	}
	for _, item := range items {
		b, ok := value(item.Key)
		if !ok {
			if optional {
				continue
			}
			return nil, fmt.Errorf("references non-existent %s key: %s", what, item.Key)
		}
		payload[item.Path] = File{Data: b, Mode: modeOr(item.Mode, defaultMode)}
	}
	return payload, nil
}

func modeOr(mode *int32, otherwise int32) int32 {
	if mode != nil {
		return *mode
	}
	return otherwise
}

// Validate checks that all paths stay inside the volume and that none could be
// taken for the writer's own entries, whose names begin with two dots.
func (p Payload) Validate() error {
	for name := range p {
		if err := validatePath(name); err != nil {
			return err
		}
	}
	return nil
}

func validatePath(name string) error {
	switch {
	case name == "":
		return fmt.Errorf("invalid path: must not be empty: %q", name)
	case path.IsAbs(name):
		return fmt.Errorf("invalid path: must be relative path: %s", name)
	case len(name) > 4096:
		return fmt.Errorf("invalid path: must be less than or equal to %d characters", 4096)
	case strings.ContainsRune(name, 0):
		return fmt.Errorf("invalid path: must not contain a NUL byte")
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return fmt.Errorf("invalid path: must not contain '..': %s", name)
		}
		if len(part) > 255 {
			return fmt.Errorf("invalid path: filenames must be less than or equal to %d characters", 255)
		}
	}
	if strings.HasPrefix(path.Clean(name), "..") {
		return fmt.Errorf("invalid path: must not start with '..': %s", name)
	}
	if path.Clean(name) == "." {
		return fmt.Errorf("invalid path: must name a file: %s", name)
	}
	return nil
}

// clean gives every path its shortest form, so that each file has one name.
func (p Payload) clean() Payload {
	out := make(Payload, len(p))
	for name, f := range p {
		out[path.Clean(name)] = f
	}
	return out
}

// merge adds files of another source; later sources win, as upstream's do.
func (p Payload) merge(other Payload) {
	for name, f := range other {
		p[name] = f
	}
}

// Package storage declares the resources of storage.k8s.io/v1: classes of storage,
// attachments of volumes to nodes, and what CSI drivers say of themselves.
//
// Each file holds one kind. Claims and volumes are core resources; what they share
// with these is in apiserver/resources/volumes.
package storage

import (
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/resource"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{
		csiDrivers(), csiNodes(), csiStorageCapacities(), storageClasses(), volumeAttachments(), volumeAttributesClasses(),
	}
}

func gvk(kind string) schema.GroupVersionKind { return storagev1.SchemeGroupVersion.WithKind(kind) }

// isDefault says that a class is the default one of its kind.
func isDefault(annotations map[string]string, keys ...string) bool {
	for _, key := range keys {
		if annotations[key] == "true" {
			return true
		}
	}
	return false
}

func marked(name string, isDefault bool) string {
	if isDefault {
		return name + " (default)"
	}
	return name
}

package codec

import (
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
)

// What objects of one template have in common need not stand in memory once for each.
// The record of who owns which fields is the most of that: about a fifth of a pod that
// is decoded, and the same for all replicas. Objects that come from the store are
// read-only, so that they can share it.
const (
	// maxShared bounds one piece that is shared, maxSharedBytes all that are known.
	maxShared      = 16 << 10
	maxSharedBytes = 4 << 20
)

// shareBytes is data, or what was given before and is equal to it.
func (c *Codec) shareBytes(data []byte) []byte {
	if len(data) == 0 || len(data) > maxShared {
		return data
	}
	// It takes its size twice: as the key, and as what is shared.
	same, _ := c.shared.Get(data, 2*len(data), maxSharedBytes, func() any { return data[:len(data):len(data)] }).([]byte)
	return same
}

// share lets an object that was decoded have in common with others what it can.
func (c *Codec) share(obj runtime.Object) {
	if _, untyped := obj.(runtime.Unstructured); untyped {
		return
	}
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return
	}
	entries := accessor.GetManagedFields()
	for i := range entries {
		if fields := entries[i].FieldsV1; fields != nil {
			fields.Raw = c.shareBytes(fields.Raw)
		}
	}
}

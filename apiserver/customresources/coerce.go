package customresources

import (
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// source is where an object comes from.
type source uint8

const (
	// fromClient: what is wrong in its metadata is an error, unknown fields are told.
	fromClient source = iota
	// fromStore, or converted: what is wrong in its metadata is dropped.
	fromStore
)

// coerce makes an object one of its schema: fields that the schema does not know
// go, and the metadata of it and of objects embedded in it is what metadata can be.
// It returns the paths of the fields of clients that went.
func (v *version) coerce(u *unstructured.Unstructured, from source) (unknown []string, err error) {
	track, drop := from == fromClient, from == fromStore
	apiVersion, hasVersion := u.Object["apiVersion"]
	kind, hasKind := u.Object["kind"]
	meta, hasMeta, unknown, err := objectmeta.GetObjectMetaWithOptions(u.Object, objectmeta.ObjectMetaOptions{
		DropMalformedFields: drop, ReturnUnknownFieldPaths: track,
	})
	if err != nil {
		return nil, err
	}
	s := v.structural()
	if !v.preserve && s != nil {
		unknown = append(unknown, pruning.PruneWithOptions(u.Object, s, true, structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: track})...)
		defaulting.PruneNonNullableNullsWithoutDefaults(u.Object, s)
	}
	if s != nil {
		wrong, more := objectmeta.CoerceWithOptions(nil, u.Object, s, false, objectmeta.CoerceOptions{
			DropInvalidFields: drop, ReturnUnknownFieldPaths: track,
		})
		if wrong != nil {
			return nil, wrong
		}
		unknown = append(unknown, more...)
	}
	if from == fromStore && meta != nil && meta.Generation == 0 {
		meta.Generation = 1
	}
	// What needs no mention in a schema is put back.
	if hasKind {
		u.Object["kind"] = kind
	}
	if hasVersion {
		u.Object["apiVersion"] = apiVersion
	}
	if hasMeta {
		return unknown, objectmeta.SetObjectMeta(u.Object, meta)
	}
	return unknown, nil
}

// setDefaults fills in what the object leaves out.
func (v *version) setDefaults(u *unstructured.Unstructured) {
	if s := v.structural(); s != nil {
		defaulting.Default(u.Object, s)
	}
}

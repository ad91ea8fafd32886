// Package patch applies the patches that clients send: JSON patch (RFC 6902),
// JSON merge patch (RFC 7386) and Kubernetes' strategic merge patch. They are
// functions from a document and a patch to a document; their errors are API
// errors. Server-side apply is not here: it needs to know who owns which field,
// and lives in package fieldmanager.
package patch

import (
	"errors"
	"fmt"
	"net/http"

	jsonpatch "github.com/evanphx/json-patch/v5"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/mergepatch"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	kjson "sigs.k8s.io/json"
)

const (
	// MaxOperations of one JSON patch.
	MaxOperations = 10000
	// MaxCopied bytes that the copy operations of one JSON patch may add: a few
	// of them, each doubling the document, would otherwise fill the memory.
	MaxCopied = 3 << 20
)

// JSON applies a JSON patch. duplicates are the fields that it names twice.
func JSON(doc, patch []byte) (patched []byte, duplicates []error, err error) {
	var shape []any
	if duplicates, err = kjson.UnmarshalStrict(patch, &shape); err != nil {
		return nil, nil, undecodable(err)
	}
	for i, d := range duplicates {
		duplicates[i] = fmt.Errorf("json patch %w", d)
	}
	operations, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, nil, unprocessable(err)
	}
	if len(operations) > MaxOperations {
		return nil, nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
			"The allowed maximum operations in a JSON patch is %d, got %d", MaxOperations, len(operations)))
	}
	options := jsonpatch.NewApplyOptions()
	options.AccumulatedCopySizeLimit = MaxCopied
	options.EscapeHTML = false
	if patched, err = operations.ApplyWithOptions(doc, options); err != nil {
		return nil, nil, unprocessable(err)
	}
	return patched, duplicates, nil
}

// Merge applies a JSON merge patch. duplicates are the fields that it names twice.
func Merge(doc, patch []byte) (patched []byte, duplicates []error, err error) {
	var shape map[string]any
	if duplicates, err = kjson.UnmarshalStrict(patch, &shape); err != nil {
		return nil, nil, undecodable(err)
	}
	if patched, err = jsonpatch.MergePatch(doc, patch); err != nil {
		return nil, nil, apierrors.NewBadRequest(err.Error())
	}
	return patched, duplicates, nil
}

// Strategic applies a strategic merge patch to doc, which it may change. change is
// the patch as it was read. like is a value of the Go type whose field tags say how
// lists merge.
func Strategic(doc map[string]any, patch []byte, like any) (patched, change map[string]any, duplicates []error, err error) {
	if duplicates, err = kjson.UnmarshalStrict(patch, &change); err != nil {
		return nil, nil, nil, apierrors.NewBadRequest(err.Error())
	}
	if patched, err = strategicpatch.StrategicMergeMapPatch(doc, change, like); err != nil {
		return nil, nil, nil, strategicError(err)
	}
	return patched, change, duplicates, nil
}

func undecodable(err error) error {
	return apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
}

func strategicError(err error) error {
	switch {
	case errors.Is(err, mergepatch.ErrNoListOfLists):
		return unprocessable(err)
	case errors.Is(err, mergepatch.ErrBadJSONDoc), errors.Is(err, mergepatch.ErrBadPatchFormatForPrimitiveList),
		errors.Is(err, mergepatch.ErrBadPatchFormatForRetainKeys), errors.Is(err, mergepatch.ErrBadPatchFormatForSetElementOrderList),
		errors.Is(err, mergepatch.ErrUnsupportedStrategicMergePatchFormat):
		return apierrors.NewBadRequest(err.Error())
	}
	return unprocessable(err)
}

func unprocessable(err error) error {
	return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
}

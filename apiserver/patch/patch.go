// Package patch applies the patches that clients send: JSON patch (RFC 6902),
// JSON merge patch (RFC 7386) and Kubernetes' strategic merge patch. They are
// functions from a JSON document and a patch to a document; their errors are API
// errors. Server-side apply is not here: it needs to know who owns which field,
// and lives in package fieldmanager.
package patch

import (
	"bytes"
	"encoding/json"
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

// JSON applies a JSON patch.
func JSON(doc, patch []byte) ([]byte, error) {
	if err := sane(patch); err != nil {
		return nil, err
	}
	operations, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	if len(operations) > MaxOperations {
		return nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
			"The allowed maximum operations in a JSON patch is %d, got %d", MaxOperations, len(operations)))
	}
	options := jsonpatch.NewApplyOptions()
	options.AccumulatedCopySizeLimit = MaxCopied
	options.EscapeHTML = false
	patched, err := operations.ApplyWithOptions(doc, options)
	if err != nil {
		return nil, unprocessable(err)
	}
	return patched, nil
}

// Merge applies a JSON merge patch.
func Merge(doc, patch []byte) ([]byte, error) {
	if err := sane(patch); err != nil {
		return nil, err
	}
	if !bytes.HasPrefix(bytes.TrimLeft(patch, " \t\r\n"), []byte("{")) {
		return nil, apierrors.NewBadRequest("error decoding patch: a merge patch must be a JSON object")
	}
	patched, err := jsonpatch.MergePatch(doc, patch)
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	return patched, nil
}

// Strategic applies a strategic merge patch. like is a value of the Go type whose
// field tags say how lists merge.
func Strategic(doc, patch []byte, like any) ([]byte, error) {
	var original, change map[string]any
	if err := kjson.UnmarshalCaseSensitivePreserveInts(doc, &original); err != nil {
		return nil, err
	}
	if err := kjson.UnmarshalCaseSensitivePreserveInts(patch, &change); err != nil {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
	}
	patched, err := strategicpatch.StrategicMergeMapPatch(original, change, like)
	if err != nil {
		return nil, strategicError(err)
	}
	return json.Marshal(patched)
}

// Duplicates lists the fields that a patch names twice, as strict decoding
// reports them.
func Duplicates(patch []byte) []error {
	var v any
	duplicates, err := kjson.UnmarshalStrict(patch, &v)
	if err != nil {
		return nil
	}
	return duplicates
}

// sane checks that the patch is JSON and not nested beyond what the decoder takes.
func sane(patch []byte) error {
	var raw json.RawMessage
	if err := json.Unmarshal(patch, &raw); err != nil {
		return apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
	}
	return nil
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

// Package patch applies the patches that clients send: JSON patch (RFC 6902),
// JSON merge patch (RFC 7386) and Kubernetes' strategic merge patch. They are
// functions from a document and a patch to a document. Their errors are those of the
// API, or, as upstream's, some error of the merge itself, which is answered with 500.
// Server-side apply is not here: it needs to know who owns which field, and lives in
// package fieldmanager.
package patch

import (
	"errors"
	"fmt"
	"net/http"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
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

// operation is what a JSON patch may say of each of its steps.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	From  string `json:"from"`
	Value any    `json:"value"`
}

// JSON applies a JSON patch. With strict, mistakes are the fields that it names twice
// or that no operation has.
func JSON(doc, patch []byte, strict bool) (patched []byte, mistakes []error, err error) {
	if strict {
		var shape []operation
		if mistakes, err = kjson.UnmarshalStrict(patch, &shape); err != nil {
			return nil, nil, undecodable(err)
		}
		for i, m := range mistakes {
			mistakes[i] = fmt.Errorf("json patch %w", m)
		}
	}
	operations, err := jsonpatch.DecodePatch(patch)
	if err != nil {
		return nil, nil, apierrors.NewBadRequest(err.Error())
	}
	if len(operations) > MaxOperations {
		return nil, nil, apierrors.NewRequestEntityTooLargeError(fmt.Sprintf(
			"The allowed maximum operations in a JSON patch is %d, got %d", MaxOperations, len(operations)))
	}
	if patched, err = apply(operations, doc, MaxCopied+len(patch)); err != nil {
		return nil, nil, unprocessable(err)
	}
	return patched, mistakes, nil
}

// maxRounds bounds how often the size is looked at while copies are applied.
const maxRounds = 256

// apply applies operations of which copies let the document grow by no more than
// limit bytes. The library has no such bound but one for the whole process, so it
// gets as many copies at a time as cannot do harm: each doubles at most.
func apply(operations jsonpatch.Patch, doc []byte, limit int) ([]byte, error) {
	most := len(doc) + limit
	for round := 0; ; round++ {
		n, copies, size := 0, 0, len(doc)
		for ; n < len(operations); n++ {
			if operations[n].Kind() != "copy" {
				continue
			}
			if copies++; copies > 1 && size > most/2 {
				break
			}
			size *= 2
		}
		patched, err := operations[:n].Apply(doc)
		if err != nil {
			return nil, err
		}
		if copies > 0 && (len(patched) > most || round == maxRounds) {
			return nil, jsonpatch.NewAccumulatedCopySizeError(int64(limit), int64(len(patched)-(most-limit)))
		}
		if operations = operations[n:]; len(operations) == 0 {
			return patched, nil
		}
		doc = patched
	}
}

// Merge applies a JSON merge patch. With strict, mistakes are the fields that it
// names twice.
func Merge(doc, patch []byte, strict bool) (patched []byte, mistakes []error, err error) {
	if strict {
		var shape map[string]any
		if mistakes, err = kjson.UnmarshalStrict(patch, &shape); err != nil {
			return nil, nil, undecodable(err)
		}
	}
	patched, err = jsonpatch.MergePatch(doc, patch)
	if errors.Is(err, jsonpatch.ErrBadJSONPatch) {
		return nil, nil, apierrors.NewBadRequest(err.Error())
	}
	return patched, mistakes, err
}

// Strategic applies a strategic merge patch to doc, which it may change. change is
// the patch as it was read. like is a value of the Go type whose field tags say how
// lists merge. With strict, mistakes are the fields that the patch names twice.
func Strategic(doc map[string]any, patch []byte, like any, strict bool) (patched, change map[string]any, mistakes []error, err error) {
	if strict {
		mistakes, err = kjson.UnmarshalStrict(patch, &change)
	} else {
		err = kjson.UnmarshalCaseSensitivePreserveInts(patch, &change)
	}
	if err != nil {
		return nil, nil, nil, apierrors.NewBadRequest(err.Error())
	}
	if change == nil {
		change = map[string]any{}
	}
	if patched, err = mergeStrategically(doc, change, like); err != nil {
		return nil, nil, nil, strategicError(err)
	}
	return patched, change, mistakes, nil
}

// mergeStrategically makes an error of the library's panic over what it cannot compare,
// such as a list where the key of a list's items should be.
func mergeStrategically(doc, change map[string]any, like any) (patched map[string]any, err error) {
	defer func() {
		if p := recover(); p != nil {
			patched, err = nil, apierrors.NewBadRequest(fmt.Sprintf("the patch cannot be merged: %v", p))
		}
	}()
	return strategicpatch.StrategicMergeMapPatch(doc, change, like)
}

func undecodable(err error) error {
	return apierrors.NewBadRequest(fmt.Sprintf("error decoding patch: %v", err))
}

func strategicError(err error) error {
	switch {
	case errors.Is(err, mergepatch.ErrBadJSONDoc), errors.Is(err, mergepatch.ErrBadPatchFormatForPrimitiveList),
		errors.Is(err, mergepatch.ErrBadPatchFormatForRetainKeys), errors.Is(err, mergepatch.ErrBadPatchFormatForSetElementOrderList),
		errors.Is(err, mergepatch.ErrUnsupportedStrategicMergePatchFormat):
		return apierrors.NewBadRequest(err.Error())
	case errors.Is(err, mergepatch.ErrNoListOfLists), errors.Is(err, mergepatch.ErrPatchContentNotMatchRetainKeys):
		return unprocessable(err)
	}
	return err
}

func unprocessable(err error) error {
	return apierrors.NewGenericServerResponse(http.StatusUnprocessableEntity, "", schema.GroupResource{}, "", err.Error(), 0, false)
}

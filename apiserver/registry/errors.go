package registry

import (
	"errors"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// Errors in upstream's words, where those are not made by k8s.io/apimachinery. Some
// are no API errors there either: the client gets a 500 with their text.
var (
	errModified   = errors.New("the object has been modified; please apply your changes to the latest version and try again")
	errVersionSet = errors.New("resourceVersion should not be set on objects to be created")
	errTooLarge   = errors.New("etcdserver: request is too large")
)

// NamespaceMismatch is the error of a body that names another namespace than the URL.
func NamespaceMismatch() error {
	return apierrors.NewBadRequest("the namespace of the provided object does not match the namespace sent on the request")
}

func (r *Registry) notFound(name string) error {
	return apierrors.NewNotFound(r.Resource.GroupResource(), name)
}

func (r *Registry) conflict(name string) error {
	return apierrors.NewConflict(r.Resource.GroupResource(), name, errModified)
}

// otherUID is the error of an update that is meant for an object of another UID.
func (r *Registry) otherUID(key, name string, given, is types.UID) error {
	return apierrors.NewConflict(r.Resource.GroupResource(), name, fmt.Errorf(
		"StorageError: invalid object, Code: 4, Key: %s, ResourceVersion: 0, AdditionalErrorMsg: "+
			"Precondition failed: UID in precondition: %v, UID in object meta: %v", key, given, is))
}

// noVersion is the error of an update that must say which state it replaces. Its
// kind is the resource's name.
func (r *Registry) noVersion(name string) error {
	kind := schema.GroupKind{Group: r.Resource.GVK.Group, Kind: r.Resource.Plural}
	return apierrors.NewInvalid(kind, name, field.ErrorList{
		field.Invalid(field.NewPath("metadata", "resourceVersion"), uint64(0), "must be specified for an update"),
	})
}

// preconditions of a delete. The conflict names the kind, not the resource.
func (r *Registry) preconditions(p *metav1.Preconditions, name string, obj metav1.Object) error {
	if p == nil {
		return nil
	}
	kind := schema.GroupResource{Group: r.Resource.GVK.Group, Resource: r.Resource.GVK.Kind}
	if p.UID != nil && *p.UID != obj.GetUID() {
		return apierrors.NewConflict(kind, name, fmt.Errorf(
			"the UID in the precondition (%s) does not match the UID in record (%s). The object might have been deleted and then recreated", *p.UID, obj.GetUID()))
	}
	if p.ResourceVersion != nil && *p.ResourceVersion != obj.GetResourceVersion() {
		return apierrors.NewConflict(kind, name, fmt.Errorf(
			"the ResourceVersion in the precondition (%s) does not match the ResourceVersion in record (%s). The object might have been modified", *p.ResourceVersion, obj.GetResourceVersion()))
	}
	return nil
}

func tooLarge(wanted, current int64) error {
	err := apierrors.NewTimeoutError(fmt.Sprintf("Too large resource version: %d, current: %d", wanted, current), 1)
	err.ErrStatus.Details.Causes = []metav1.StatusCause{{
		Type: metav1.CauseTypeResourceVersionTooLarge, Message: "Too large resource version",
	}}
	return err
}

// versionError says why a version that a client asked for is none. It is no API
// error, as upstream's: what is made of it depends on the verb.
type versionError struct{ err *field.Error }

func (e versionError) Error() string { return e.err.Error() }

// ParseVersion reads a resourceVersion; "" is 0.
func ParseVersion(version string) (int64, error) {
	if version == "" {
		return 0, nil
	}
	revision, err := strconv.ParseUint(version, 10, 64)
	if err != nil {
		return 0, versionError{field.Invalid(field.NewPath("resourceVersion"), version, err.Error())}
	}
	// No revision is as large as that: it is in the future, like the one that was meant.
	return int64(min(revision, 1<<63-1)), nil
}

// ownVersion reads the version in an object's metadata.
func ownVersion(obj metav1.Object) (uint64, error) {
	version := obj.GetResourceVersion()
	if version == "" {
		return 0, nil
	}
	return strconv.ParseUint(version, 10, 64)
}

package registry

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"
	pathvalidation "k8s.io/apimachinery/pkg/api/validation/path"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/store"
)

// maxTries bounds how often a write starts over because another came first.
const maxTries = 256

// Change is an update.
type Change struct {
	// To makes the new object from the current one, which is read-only. It runs
	// again for each try, and each time its result belongs to the registry.
	To func(old runtime.Object) (runtime.Object, error)
	// Applied says that To has recorded the field managers itself.
	Applied bool
	// Conditional says that the new object must carry a resourceVersion where
	// the resource does not allow to go without.
	Conditional bool
	// Create makes the object where there is none; nil makes that 404.
	Create func() (runtime.Object, error)
	// MayCreate is asked before what Create made is admitted; nil allows it.
	MayCreate func() error
	// View writes through a sub-resource; nil is the resource itself.
	View *resource.View
	// Shown is how a sub-resource shows the object to admission: To has run the
	// mutators on what it shows ([Registry.AdmitShown]).
	Shown *Shown
	// Raw skips preparation and validation: see resource.Objects.
	Raw bool
}

// Shown is an object as another type.
type Shown struct {
	Kind schema.GroupVersionKind
	Read func(obj runtime.Object) (runtime.Object, error)
}

// Update changes an object. created says that there was none.
func (r *Registry) Update(ctx context.Context, w Write, change Change) (obj runtime.Object, created bool, err error) {
	key := r.key(w.Namespace, w.Name)
	current, err := r.start(ctx, w, key)
	if err != nil {
		return nil, false, err
	}
	if !w.Trusted && len(r.set.config.Admission) > 0 {
		w.kept = new(admission.Kept)
	}
	for range maxTries {
		if err := ctx.Err(); err != nil {
			return nil, false, r.readError(err, 0)
		}
		if current == nil {
			if change.Create == nil {
				return nil, false, r.notFound(w.Name)
			}
			if obj, err = change.Create(); err != nil {
				return nil, false, err
			}
			fresh := w
			if change.Applied {
				fresh.Manager = ""
			}
			if err := r.freshIdentity(w, change, key, obj); err != nil {
				return nil, false, err
			}
			obj, err = r.create(ctx, fresh, obj, change.MayCreate)
			if !apierrors.IsAlreadyExists(err) {
				return obj, true, err
			}
			if current, err = r.stored(ctx, key); err != nil {
				return nil, false, err
			}
			continue
		}
		obj, retry, err := r.update(ctx, w, change, key, current)
		if err == nil && retry == nil {
			return obj, false, nil
		}
		if retry == nil && current.certain {
			return nil, false, err
		}
		next := retry
		if next == nil {
			// What was refused may have been refused for a state that is past.
			fresh, readErr := r.stored(ctx, key)
			if readErr != nil {
				return nil, false, readErr
			}
			if fresh != nil && fresh.revision == current.revision {
				return nil, false, err
			}
			next = &again{fresh}
		}
		current = next.state
	}
	return nil, false, r.conflict(w.Name)
}

// freshIdentity is checkIdentity where there is no object yet: none has the UID that
// the request may ask for, and no version.
func (r *Registry) freshIdentity(w Write, change Change, key string, obj runtime.Object) error {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return apierrors.NewInternalError(err)
	}
	switch uid := accessor.GetUID(); {
	case uid == "":
	case change.Applied:
		return apierrors.NewConflict(r.Resource.GroupResource(), w.Name,
			fmt.Errorf("uid mismatch: the provided object specified uid %s, and no existing object was found", uid))
	default:
		return r.otherUID(key, w.Name, uid, "")
	}
	accessor.SetResourceVersion("")
	return nil
}

// again asks for another try from a newer state, nil where the object is gone.
type again struct{ state *state }

// update is one try.
func (r *Registry) update(ctx context.Context, w Write, change Change, key string, current *state) (runtime.Object, *again, error) {
	res, old := r.Resource, current.obj
	obj, err := change.To(old)
	if err != nil {
		return nil, nil, err
	}
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, nil, apierrors.NewInternalError(err)
	}
	oldAccessor, err := meta.Accessor(old)
	if err != nil {
		return nil, nil, apierrors.NewInternalError(err)
	}
	if err := r.checkIdentity(w, change, accessor, oldAccessor); err != nil {
		return nil, nil, err
	}

	// Own the fields, admit (mutate).
	if !change.Raw {
		if change.Conditional {
			w.dedupeOwners(accessor, false)
		}
		if !change.Applied {
			obj = r.own(w, w.Subresource, old, obj)
		}
		if errs := checkManaged(accessor); errs != nil {
			return nil, nil, res.Invalid(w.Name, errs)
		}
	}
	if change.Shown == nil {
		if obj, err = r.admitMutate(ctx, &w, r.attributes(&w, admission.Update, obj, old)); err != nil {
			return nil, nil, err
		}
		if accessor, err = meta.Accessor(obj); err != nil {
			return nil, nil, apierrors.NewInternalError(err)
		}
	}

	// Prepare and validate, admit (validate).
	if !change.Raw {
		if err := r.check(ctx, w, change, obj, old, accessor, oldAccessor); err != nil {
			return nil, nil, err
		}
		if err := r.admitUpdate(ctx, w, change, obj, old); err != nil {
			return nil, nil, err
		}
	}

	// Store.
	finish, err := r.begin(ctx, w, obj, old)
	if err != nil {
		return nil, nil, err
	}
	result, retry, err := r.replace(ctx, w, change.Applied, key, obj, accessor, oldAccessor, current)
	finish(err == nil && retry == nil && !w.DryRun)
	return result, retry, err
}

// admitUpdate runs the validators on an update, as its sub-resource shows it.
func (r *Registry) admitUpdate(ctx context.Context, w Write, change Change, obj, old runtime.Object) (err error) {
	kind := r.Resource.GVK
	if change.Shown != nil && !w.Trusted {
		kind = change.Shown.Kind
		if obj, err = change.Shown.Read(obj); err != nil {
			return err
		}
		if old, err = change.Shown.Read(old); err != nil {
			return err
		}
	}
	return r.admitValidate(ctx, &w, r.Attributes(&w, admission.Update, kind, obj, old))
}

// checkIdentity makes sure that obj is about the same object, and is based on the
// state it replaces where it says on which.
func (r *Registry) checkIdentity(w Write, change Change, obj, old metav1.Object) error {
	if uid := obj.GetUID(); change.Conditional && uid != "" && uid != old.GetUID() {
		return r.otherUID(r.key(w.Namespace, w.Name), w.Name, uid, old.GetUID())
	}
	if err := matchNamespace(obj, old.GetNamespace(), r.Resource.Namespaced); err != nil {
		return err
	}
	switch obj.GetName() {
	case old.GetName():
	case "":
		return apierrors.NewBadRequest(fmt.Sprintf("the name of the object (%s based on URL) was undeterminable: name must be provided", w.Name))
	default:
		return apierrors.NewBadRequest(fmt.Sprintf(
			"the name of the object (%s) does not match the name on the URL (%s)", obj.GetName(), w.Name))
	}
	version, err := ownVersion(obj)
	switch {
	case err != nil:
		return err
	case version == 0:
		if change.Conditional && !r.Resource.AllowUnconditionalUpdate {
			return r.noVersion(w.Name)
		}
	case obj.GetResourceVersion() != old.GetResourceVersion():
		return r.conflict(w.Name)
	}
	obj.SetResourceVersion(old.GetResourceVersion())
	return nil
}

// check prepares the new object and validates the transition.
func (r *Registry) check(ctx context.Context, w Write, change Change, obj, old runtime.Object, accessor, oldAccessor metav1.Object) error {
	res := r.Resource
	keepSystemFields(accessor, oldAccessor)
	prepare := res.PrepareForUpdate
	if change.View != nil {
		prepare = change.View.PrepareForUpdate
	}
	if prepare != nil {
		prepare(w.Request, obj, old)
	}
	path := field.NewPath("metadata")
	// The name was good once: the kind's own rule may have become stricter.
	errs := validation.ValidateObjectMetaAccessor(accessor, res.Namespaced, pathvalidation.ValidatePathSegmentName, path)
	errs = append(errs, validation.ValidateObjectMetaAccessorUpdate(accessor, oldAccessor, path)...)
	errs = append(errs, r.checkFinalizers(accessor)...)
	if change.View != nil {
		if change.View.Validate != nil {
			errs = append(errs, change.View.Validate(obj, old)...)
		}
	} else if res.ValidateChange != nil {
		errs = append(errs, res.ValidateChange(obj, old)...)
	} else {
		if res.Validate != nil {
			errs = append(errs, res.Validate(obj)...)
		}
		if res.ValidateUpdate != nil {
			errs = append(errs, res.ValidateUpdate(obj, old)...)
		}
	}
	among := res.ValidateAmong
	if change.View != nil {
		among = change.View.ValidateAmong
	}
	if among != nil {
		errs = append(errs, among(ctx, obj, old, r.set)...)
	}
	if len(errs) > 0 {
		return res.Invalid(w.Name, errs)
	}
	if res.Warnings != nil {
		w.warn(res.Warnings(obj, old))
	}
	return nil
}

// keepSystemFields fills in what a client may leave out, and takes back what it may
// not change and often does, from an older state. The rest the validation finds.
func keepSystemFields(obj, old metav1.Object) {
	obj.SetGeneration(old.GetGeneration())
	obj.SetSelfLink("")
	if obj.GetUID() == "" {
		obj.SetUID(old.GetUID())
	}
	if created := old.GetCreationTimestamp(); !created.IsZero() {
		obj.SetCreationTimestamp(created)
	}
	if deleted := old.GetDeletionTimestamp(); deleted != nil {
		obj.SetDeletionTimestamp(deleted)
	}
	if obj.GetDeletionGracePeriodSeconds() == nil {
		obj.SetDeletionGracePeriodSeconds(old.GetDeletionGracePeriodSeconds())
	}
}

// replace writes obj in place of the current state, deletes where the last thing
// that kept a deleted object is gone, and does nothing where nothing changed.
func (r *Registry) replace(ctx context.Context, w Write, applied bool, key string, obj runtime.Object, accessor, oldAccessor metav1.Object, current *state) (runtime.Object, *again, error) {
	if oldAccessor.GetDeletionTimestamp() != nil && goesWith(oldAccessor, accessor) && !r.held(obj) {
		return r.remove(ctx, w, key, obj, accessor, current)
	}
	accessor.SetResourceVersion("")
	stored, err := r.toStored(ctx, obj)
	if err != nil {
		return nil, nil, err
	}
	data, err := r.storage.Encode(stored)
	if err != nil {
		return nil, nil, apierrors.NewInternalError(err)
	}
	version := oldAccessor.GetResourceVersion()
	same, err := r.same(current.stored, stored, data)
	if err != nil {
		return nil, nil, err
	}
	if same {
		if !current.certain {
			fresh, err := r.stored(ctx, key)
			if err != nil {
				return nil, nil, err
			}
			if fresh == nil || fresh.revision != current.revision {
				return nil, &again{fresh}, nil
			}
		}
		return current.obj, nil, nil
	}
	if w.DryRun {
		accessor.SetResourceVersion(version)
		return obj, nil, nil
	}
	revision, err := r.set.config.Store.Put(ctx, store.Put{Key: key, Value: data, If: store.At(current.revision), TTL: r.ttl(obj)})
	if errors.Is(err, store.ErrTooLarge) && !applied && len(accessor.GetManagedFields()) > 0 {
		// As in insert.
		accessor.SetManagedFields(nil)
		return r.replace(ctx, w, applied, key, obj, accessor, oldAccessor, current)
	}
	if err != nil {
		retry, err := r.lost(ctx, err)
		return nil, retry, err
	}
	accessor.SetResourceVersion(strconv.FormatInt(revision, 10))
	return obj, nil, nil
}

// lost makes another try of a failed condition, and an API error of the rest.
func (r *Registry) lost(ctx context.Context, err error) (*again, error) {
	var conflict *store.ConflictError
	if !errors.As(err, &conflict) {
		return nil, r.writeError(err)
	}
	fresh, err := r.stateOf(ctx, conflict.Current)
	if err != nil {
		return nil, err
	}
	return &again{fresh}, nil
}

// same says whether a write would change nothing of what is stored. The times of
// field managers do not count: a manager that sets what it set before changes
// nothing. data is the encoding of the new object.
func (r *Registry) same(old, obj runtime.Object, data []byte) (bool, error) {
	base := codec.Shallow(old)
	baseAccessor, err := meta.Accessor(base)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	baseAccessor.SetResourceVersion("")
	before, err := r.storage.Encode(base)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	if bytes.Equal(before, data) {
		return true, nil
	}
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	managed := accessor.GetManagedFields()
	if !sameManagers(managed, baseAccessor.GetManagedFields()) {
		return false, nil
	}
	accessor.SetManagedFields(baseAccessor.GetManagedFields())
	timeless, err := r.storage.Encode(obj)
	accessor.SetManagedFields(managed)
	if err != nil {
		return false, apierrors.NewInternalError(err)
	}
	return bytes.Equal(before, timeless), nil
}

// sameManagers compares managed fields without their times.
func sameManagers(a, b []metav1.ManagedFieldsEntry) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		x, y := a[i], b[i]
		if x.Manager != y.Manager || x.Operation != y.Operation || x.APIVersion != y.APIVersion ||
			x.FieldsType != y.FieldsType || x.Subresource != y.Subresource || (x.FieldsV1 == nil) != (y.FieldsV1 == nil) {
			return false
		}
		if x.FieldsV1 != nil && !x.FieldsV1.Equal(*y.FieldsV1) {
			return false
		}
	}
	return true
}

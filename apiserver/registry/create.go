package registry

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/store"
)

// Write is what the writes of one request have in common.
type Write struct {
	resource.Request
	// Manager of the fields that the request sets; "" records none.
	Manager string
	// Options that the request gave, for admission.
	Options Options
	// Warn sends a warning to the client; may be nil.
	Warn func(message string)
	// Annotate adds to the request's audit record; may be nil.
	Annotate func(key, value string)
	// Trusted skips admission: the server itself writes, on behalf of a
	// request that has been admitted.
	Trusted bool

	// kept is for plugins, where the write may take several tries.
	kept *admission.Kept
}

func (w *Write) warn(messages []string) {
	if w.Warn == nil {
		return
	}
	for _, m := range messages {
		w.Warn(m)
	}
}

// GroupVersionResource names the resource in full.
func (r *Registry) GroupVersionResource() schema.GroupVersionResource {
	return r.Resource.GroupVersionResource()
}

const maxGenerateTries = 8

// Create writes a new object, which belongs to the registry from here on. It has
// been decoded, and comes back with everything the server adds.
func (r *Registry) Create(ctx context.Context, w Write, obj runtime.Object) (runtime.Object, error) {
	return r.create(ctx, w, obj, nil)
}

// create is Create with a last question of whether the user may, for requests that
// were not authorised to create.
func (r *Registry) create(ctx context.Context, w Write, obj runtime.Object, may func() error) (runtime.Object, error) {
	res := r.Resource
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if err := matchNamespace(accessor, w.Namespace, res.Namespaced); err != nil {
		return nil, err
	}
	w.Name = accessor.GetName()

	// What only the server sets. The mutators see it empty, as the name that is to
	// be generated.
	accessor.SetUID("")
	accessor.SetCreationTimestamp(metav1.Time{})
	accessor.SetDeletionTimestamp(nil)
	accessor.SetDeletionGracePeriodSeconds(nil)
	accessor.SetSelfLink("")

	// Default, own the fields, admit (mutate).
	if res.Default != nil {
		res.Default(obj)
	}
	w.dedupeOwners(accessor, false)
	obj = r.own(w, "", res.New(), obj)
	if obj, err = r.admitMutate(ctx, &w, r.attributes(&w, admission.Create, obj, nil)); err != nil {
		return nil, err
	}
	if accessor, err = meta.Accessor(obj); err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	accessor.SetUID(r.set.config.Names.UID())
	accessor.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))

	generate := accessor.GetGenerateName()
	taken := func(err error, name string) error {
		if generate != "" && apierrors.IsAlreadyExists(err) {
			return apierrors.NewGenerateNameConflict(r.Resource.GroupResource(), name, 1)
		}
		return err
	}
	if name := accessor.GetName(); name != "" || generate == "" {
		obj, err := r.finishCreate(ctx, w, obj, may)
		return obj, taken(err, name)
	}
	if w.kept == nil {
		w.kept = new(admission.Kept)
	}
	for try := 1; ; try++ {
		// A name that is taken means another: it may have been copied into the object.
		attempt := obj.DeepCopyObject()
		if accessor, err = meta.Accessor(attempt); err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		accessor.SetName(r.set.config.Names.Generate(generate))
		created, err := r.finishCreate(ctx, w, attempt, may)
		if !apierrors.IsAlreadyExists(err) {
			return created, err
		}
		if try == maxGenerateTries {
			return nil, taken(err, accessor.GetName())
		}
	}
}

// finishCreate is what comes after the mutators: obj has its name.
func (r *Registry) finishCreate(ctx context.Context, w Write, obj runtime.Object, may func() error) (runtime.Object, error) {
	res := r.Resource
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	w.Name = accessor.GetName()

	// Prepare and validate.
	if res.PrepareForCreate != nil {
		res.PrepareForCreate(w.Request, obj)
	}
	errs := validation.ValidateObjectMetaAccessor(accessor, res.Namespaced, r.nameError, field.NewPath("metadata"))
	errs = append(errs, r.checkFinalizers(accessor)...)
	if res.Validate != nil {
		errs = append(errs, res.Validate(obj)...)
	}
	if res.ValidateAmong != nil {
		errs = append(errs, res.ValidateAmong(ctx, obj, nil, r.set)...)
	}
	if len(errs) > 0 {
		return nil, res.Invalid(accessor.GetName(), errs)
	}
	if res.Warnings != nil {
		w.warn(res.Warnings(obj, nil))
	}

	// Admit (validate), then store.
	if may != nil {
		if err := may(); err != nil {
			return nil, err
		}
	}
	if err := r.admitValidate(ctx, &w, r.attributes(&w, admission.Create, obj, nil)); err != nil {
		return nil, err
	}
	finish, err := r.begin(ctx, w, obj, nil)
	if err != nil {
		return nil, err
	}
	err = r.insert(ctx, w, obj, accessor)
	finish(err == nil && !w.DryRun)
	if err != nil {
		return nil, err
	}
	return obj, nil
}

func (r *Registry) insert(ctx context.Context, w Write, obj runtime.Object, accessor metav1.Object) error {
	key := r.key(accessor.GetNamespace(), accessor.GetName())
	if version, err := ownVersion(accessor); err == nil && version != 0 {
		return errVersionSet
	}
	accessor.SetResourceVersion("")
	data, err := r.encode(ctx, obj)
	if err != nil {
		return err
	}
	if w.DryRun {
		kv, _, err := r.set.config.Store.Get(ctx, key)
		if err != nil {
			return r.readError(err, 0)
		}
		if kv != nil {
			return r.exists(accessor.GetName(), kv)
		}
		return nil
	}
	revision, err := r.set.config.Store.Put(ctx, store.Put{Key: key, Value: data, If: store.Absent, TTL: r.ttl(obj)})
	if errors.Is(err, store.ErrTooLarge) && len(accessor.GetManagedFields()) > 0 {
		// What is in the way may be the record of who set what, which can be done without.
		accessor.SetManagedFields(nil)
		return r.insert(ctx, w, obj, accessor)
	}
	var conflict *store.ConflictError
	if errors.As(err, &conflict) {
		return r.exists(accessor.GetName(), conflict.Current)
	}
	if err != nil {
		return r.writeError(err)
	}
	accessor.SetResourceVersion(strconv.FormatInt(revision, 10))
	return nil
}

// exists is the error of a name that is taken, by what kv holds.
func (r *Registry) exists(name string, kv *store.KV) error {
	err := apierrors.NewAlreadyExists(r.Resource.GroupResource(), name)
	if kv == nil {
		return err
	}
	if obj, decodeErr := r.decode(*kv); decodeErr == nil {
		if accessor, metaErr := meta.Accessor(obj); metaErr == nil && accessor.GetDeletionTimestamp() != nil {
			err.ErrStatus.Message = "object is being deleted: " + err.ErrStatus.Message
		}
	}
	return err
}

// encode makes the bytes that are stored. Its errors are API errors.
func (r *Registry) encode(ctx context.Context, obj runtime.Object) ([]byte, error) {
	stored, err := r.toStored(ctx, obj)
	if err != nil {
		return nil, err
	}
	data, err := r.storage.Encode(stored)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	return data, nil
}

func (r *Registry) ttl(obj runtime.Object) time.Duration {
	if r.Resource.TTL == nil {
		return 0
	}
	return r.Resource.TTL(obj)
}

// begin takes what the object holds outside of itself. finish is never nil.
func (r *Registry) begin(ctx context.Context, w Write, obj, old runtime.Object) (finish func(written bool), err error) {
	finish = func(bool) {}
	if r.Resource.Begin == nil {
		return finish, nil
	}
	f, err := r.Resource.Begin(ctx, w.Request, obj, old)
	if f != nil {
		finish = f
	}
	if err != nil {
		return nil, err
	}
	return finish, nil
}

func (r *Registry) nameError(name string, prefix bool) []string {
	if r.Resource.NameError != nil {
		return r.Resource.NameError(name, prefix)
	}
	return validation.NameIsDNSSubdomain(name, prefix)
}

// matchNamespace makes the object's namespace that of the request.
func matchNamespace(accessor metav1.Object, namespace string, namespaced bool) error {
	if !namespaced {
		accessor.SetNamespace("")
		return nil
	}
	switch accessor.GetNamespace() {
	case namespace:
	case "":
		accessor.SetNamespace(namespace)
	default:
		return NamespaceMismatch()
	}
	return nil
}

// checkManaged refuses managed fields that cannot be read back.
func checkManaged(accessor metav1.Object) field.ErrorList {
	path := field.NewPath("metadata", "managedFields")
	errs := metavalidation.ValidateManagedFields(accessor.GetManagedFields(), path)
	if len(accessor.GetManagedFields()) > 1000 {
		errs = append(errs, field.TooMany(path, len(accessor.GetManagedFields()), 1000))
	}
	if len(errs) > 0 {
		return errs
	}
	return nil
}

// checkFinalizers refuses unknown finalizers without a domain, where the kind knows which
// there are.
func (r *Registry) checkFinalizers(obj metav1.Object) field.ErrorList {
	if !r.Resource.StandardFinalizers {
		return nil
	}
	var errs field.ErrorList
	for i, f := range obj.GetFinalizers() {
		switch f {
		case string(corev1.FinalizerKubernetes), metav1.FinalizerOrphanDependents, metav1.FinalizerDeleteDependents:
			continue
		}
		if !strings.Contains(f, "/") {
			errs = append(errs, field.Invalid(field.NewPath("metadata", "finalizers").Index(i), f, "name is neither a standard finalizer name nor is it fully qualified"))
		}
	}
	return errs
}

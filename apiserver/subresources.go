package apiserver

import (
	"net/http"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/discovery"
	"github.com/strake-io/strake/apiserver/registry"
)

// subresource serves a path below an object.
func (x *exchange) subresource() error {
	verbs := discovery.SubresourceVerbs(x.sub)
	if x.sub.Connect != nil {
		// Connections take any method that proxied requests have.
		if slices.Contains(verbs, x.info.Verb) || x.sub.Verbs == nil {
			return x.connect()
		}
		return x.notAllowed()
	}
	if !slices.Contains(verbs, x.info.Verb) {
		return x.notAllowed()
	}
	switch {
	case x.sub.Create != nil:
		return x.createBelow()
	case x.sub.Projection != nil:
		return x.projection()
	}
	switch x.info.Verb {
	case "get":
		return x.get()
	case "update":
		return x.update()
	case "patch":
		return x.patch()
	}
	return x.notAllowed()
}

// bodyKind is the kind and the type that travel through the sub-resource.
func (x *exchange) bodyKind() (schema.GroupVersionKind, func() runtime.Object) {
	if x.sub.New == nil {
		return x.resource.GVK, x.resource.New
	}
	return x.sub.GVK, x.sub.New
}

func (x *exchange) createBelow() error {
	gvk, make := x.bodyKind()
	out, err := x.accepts(codec.Offer{Protobuf: codec.HasProtobuf(make())})
	if err != nil {
		return err
	}
	opts, err := x.createOptions()
	if err != nil {
		return err
	}
	obj, err := x.decodeBody(gvk, make, opts.validation)
	if err != nil {
		return err
	}
	if accessor, err := meta.Accessor(obj); err == nil {
		if ns := accessor.GetNamespace(); x.resource.Namespaced && ns != "" && ns != x.namespace() {
			return registry.NamespaceMismatch()
		}
		// Whether it must have the name in the URL is for the sub-resource to say.
		accessor.SetNamespace(x.namespace())
	}
	write := x.write("create", opts)
	if obj, err = x.admitBelow(admission.Create, write, gvk, obj); err != nil {
		return err
	}
	result, err := x.sub.Create(x.r.Context(), write.Request, obj, x.set)
	if err != nil {
		return err
	}
	x.send(http.StatusCreated, out, result)
	return nil
}

// admitBelow runs admission for what does not go through the registry, and returns
// what it makes of obj.
func (x *exchange) admitBelow(op admission.Operation, write registry.Write, gvk schema.GroupVersionKind, obj runtime.Object) (runtime.Object, error) {
	a := x.registry.Attributes(&write, op, gvk, obj, nil)
	chain := admission.Chain(x.config.Admission)
	if err := chain.Admit(x.r.Context(), a); err != nil {
		return nil, err
	}
	return a.Object, chain.Validate(x.r.Context(), a)
}

// connect hands the request over. What connects has options, a type of its own;
// what has none (log) is a read, which is not admitted.
func (x *exchange) connect() error {
	write := x.write(x.info.Verb, writeOptions{})
	if x.sub.New != nil {
		if x.query.Has("dryRun") {
			return apierrors.NewBadRequest("dryRun is not supported")
		}
		opts, err := connectOptions(x.sub.New(), write.Request)
		if err != nil {
			return err
		}
		if _, err := x.admitBelow(admission.Connect, write, x.sub.GVK, opts); err != nil {
			return err
		}
	}
	handler, err := x.sub.Connect(x.r.Context(), write.Request, x.set)
	if err != nil {
		return err
	}
	handler.ServeHTTP(x.w, x.r)
	return nil
}

// projection serves an object in another shape: scale.
func (x *exchange) projection() error {
	gvk, make := x.bodyKind()
	out, err := x.accepts(codec.Offer{Protobuf: codec.HasProtobuf(make())})
	if err != nil {
		return err
	}
	if x.info.Verb == "get" {
		entry, err := x.registry.Get(x.r.Context(), x.namespace(), x.info.Name, x.query.Get("resourceVersion"))
		if err != nil {
			return err
		}
		return x.sendProjected(out, gvk, entry.Object)
	}
	write, change, err := x.projectedChange(gvk, make)
	if err != nil {
		return err
	}
	updated, _, err := x.registry.Update(x.r.Context(), write, change)
	if err != nil {
		return err
	}
	return x.sendProjected(out, gvk, updated)
}

func (x *exchange) sendProjected(out codec.Output, gvk schema.GroupVersionKind, obj runtime.Object) error {
	projected, err := x.sub.Projection.Read(obj)
	if err != nil {
		return err
	}
	out.View = codec.Plain
	x.send(http.StatusOK, out, codec.WithKind(projected, gvk))
	return nil
}

// projectedChange is the update of the object behind a projection.
func (x *exchange) projectedChange(gvk schema.GroupVersionKind, make func() runtime.Object) (registry.Write, registry.Change, error) {
	var opts writeOptions
	var next func(projected runtime.Object) (runtime.Object, error)
	var err error
	if x.info.Verb == "update" {
		if opts, err = x.updateOptions(); err != nil {
			return registry.Write{}, registry.Change{}, err
		}
		body, err := x.decodeBody(gvk, make, opts.validation)
		if err != nil {
			return registry.Write{}, registry.Change{}, err
		}
		if err := x.nameInBody(body); err != nil {
			return registry.Write{}, registry.Change{}, err
		}
		next = func(runtime.Object) (runtime.Object, error) { return body.DeepCopyObject(), nil }
	} else {
		kind, err := x.patchType()
		if err != nil {
			return registry.Write{}, registry.Change{}, err
		}
		patchOptions, body, err := x.readPatch(kind)
		if err != nil {
			return registry.Write{}, registry.Change{}, err
		}
		opts = patchOptions
		if kind == types.ApplyYAMLPatchType {
			return x.projectedApply(gvk, opts, body)
		}
		next = func(projected runtime.Object) (runtime.Object, error) {
			return x.patched(kind, opts, body, projected, gvk, make)
		}
	}
	write := x.write(x.info.Verb, opts)
	return write, registry.Change{
		Shown:       x.shown(gvk),
		Conditional: x.info.Verb == "update",
		To:          func(old runtime.Object) (runtime.Object, error) { return x.reproject(write, gvk, old, next) },
	}, nil
}

// projectedApply is server-side apply to the object behind a projection.
func (x *exchange) projectedApply(gvk schema.GroupVersionKind, opts writeOptions, body []byte) (registry.Write, registry.Change, error) {
	wanted, err := x.decodeApply(body, gvk)
	if err != nil {
		return registry.Write{}, registry.Change{}, err
	}
	write := x.write(x.info.Verb, opts)
	return write, registry.Change{Applied: true, Shown: x.shown(gvk), To: func(old runtime.Object) (runtime.Object, error) {
		var entries []metav1.ManagedFieldsEntry
		obj, err := x.reproject(write, gvk, old, func(projected runtime.Object) (applied runtime.Object, err error) {
			applied, entries, err = x.registry.MergeScale(write, old, projected, wanted.DeepCopy(), opts.force)
			if err == nil {
				err = x.namedTwice(body, opts)
			}
			return applied, err
		})
		if err != nil {
			return nil, err
		}
		accessor, err := meta.Accessor(obj)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		accessor.SetManagedFields(entries)
		return obj, nil
	}}, nil
}

// shown is the object as the sub-resource shows it to admission.
func (x *exchange) shown(gvk schema.GroupVersionKind) *registry.Shown {
	return &registry.Shown{Kind: gvk, Read: x.sub.Projection.Read}
}

// reproject changes an object through its projection.
func (x *exchange) reproject(write registry.Write, gvk schema.GroupVersionKind, old runtime.Object, next func(runtime.Object) (runtime.Object, error)) (runtime.Object, error) {
	projection := x.sub.Projection
	before, err := projection.Read(old)
	if err != nil {
		return nil, err
	}
	after, err := next(before)
	if err != nil {
		return nil, err
	}
	if after, err = x.registry.AdmitShown(x.r.Context(), write, gvk, after, before); err != nil {
		return nil, err
	}
	accessor, err := meta.Accessor(after)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	if projection.Validate != nil {
		if errs := projection.Validate(after); len(errs) > 0 {
			return nil, apierrors.NewInvalid(gvk.GroupKind(), x.info.Name, errs)
		}
	}
	obj := old.DeepCopyObject()
	if err := projection.Write(obj, after); err != nil {
		return nil, err
	}
	// The version that the client based its change on is a condition here too.
	target, err := meta.Accessor(obj)
	if err != nil {
		return nil, apierrors.NewInternalError(err)
	}
	target.SetResourceVersion(accessor.GetResourceVersion())
	target.SetUID(accessor.GetUID())
	if target.GetUID() == "" {
		oldAccessor, err := meta.Accessor(old)
		if err != nil {
			return nil, apierrors.NewInternalError(err)
		}
		target.SetUID(oldAccessor.GetUID())
	}
	return obj, nil
}

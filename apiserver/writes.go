package apiserver

import (
	"net/http"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/registry"
)

func (x *exchange) create() error {
	if x.resource.Create != nil {
		return x.createUnstored()
	}
	out, err := x.accepts(x.offer())
	if err != nil {
		return err
	}
	opts, err := x.createOptions()
	if err != nil {
		return err
	}
	obj, err := x.decodeBody(x.resource.GVK, x.resource.New, opts.validation)
	if err != nil {
		return err
	}
	created, err := x.registry.Create(x.r.Context(), x.write("create", opts), obj)
	if err != nil {
		return err
	}
	return x.sendWritten(http.StatusCreated, out, created)
}

func (x *exchange) update() error {
	out, err := x.accepts(x.offer())
	if err != nil {
		return err
	}
	opts, err := x.updateOptions()
	if err != nil {
		return err
	}
	obj, err := x.decodeBody(x.resource.GVK, x.resource.New, opts.validation)
	if err != nil {
		return err
	}
	if err := x.nameInBody(obj); err != nil {
		return err
	}
	if x.resource.Default != nil {
		x.resource.Default(obj)
	}
	change := registry.Change{
		To:          func(runtime.Object) (runtime.Object, error) { return obj.DeepCopyObject(), nil },
		Conditional: true,
		MayCreate:   x.mayCreate,
	}
	if x.sub != nil {
		change.View = x.sub.View
	} else if x.resource.AllowCreateOnUpdate {
		change.Create = func() (runtime.Object, error) { return obj.DeepCopyObject(), nil }
	}
	updated, created, err := x.registry.Update(x.r.Context(), x.write("update", opts), change)
	if err != nil {
		return err
	}
	code := http.StatusOK
	if created {
		code = http.StatusCreated
	}
	return x.sendWritten(code, out, updated)
}

// nameInBody checks that the body is about the object on the URL, and fills in
// what it leaves out.
func (x *exchange) nameInBody(obj runtime.Object) error {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	if namespace := accessor.GetNamespace(); x.resource.Namespaced && namespace != "" && namespace != x.namespace() {
		return registry.NamespaceMismatch()
	}
	switch accessor.GetName() {
	case x.info.Name:
	case "":
		return apierrors.NewBadRequest("the name of the object (" + x.info.Name + " based on URL) was undeterminable: name must be provided")
	default:
		return apierrors.NewBadRequest("the name of the object (" + accessor.GetName() + ") does not match the name on the URL (" + x.info.Name + ")")
	}
	return nil
}

func (x *exchange) delete() error {
	out, err := x.accepts(x.offer())
	if err != nil {
		return err
	}
	opts, err := x.deleteOptions()
	if err != nil {
		return err
	}
	obj, gone, err := x.registry.Delete(x.r.Context(), x.write("delete", writeOptions{dryRun: len(opts.DryRun) > 0}), opts)
	if err != nil {
		return err
	}
	if gone && !x.resource.ReturnsDeleted {
		x.send(http.StatusOK, out, x.deleted(obj))
		return nil
	}
	code := http.StatusOK
	if gone {
		return x.sendWritten(code, out, obj)
	}
	if opts.OrphanDependents != nil && !*opts.OrphanDependents {
		code = http.StatusAccepted
	}
	return x.sendWritten(code, out, obj)
}

// deleted is the answer to a deletion that is done.
func (x *exchange) deleted(obj runtime.Object) *metav1.Status {
	status := &metav1.Status{
		Status:  metav1.StatusSuccess,
		Details: &metav1.StatusDetails{Name: x.info.Name, Group: x.resource.GVK.Group, Kind: x.resource.Plural},
	}
	if accessor, err := meta.Accessor(obj); err == nil {
		status.Details.UID = accessor.GetUID()
	}
	status.SetGroupVersionKind(statusKind)
	return status
}

func (x *exchange) deleteCollection() error {
	out, err := x.accepts(x.offer())
	if err != nil {
		return err
	}
	list, err := x.listOptions()
	if err != nil {
		return err
	}
	opts, err := x.deleteOptions()
	if err != nil {
		return err
	}
	page, err := x.registry.DeleteCollection(x.r.Context(), x.write("deletecollection", writeOptions{dryRun: len(opts.DryRun) > 0}),
		registry.ListOptions{
			Selection: x.selection(list), Version: list.ResourceVersion, Match: list.ResourceVersionMatch,
			Limit: list.Limit, Continue: list.Continue,
		}, opts)
	if err != nil {
		return err
	}
	return x.sendPage(out, page)
}

func (x *exchange) sendList(out codec.Output, kind schema.GroupVersionKind, list metav1.ListMeta, n int, item func(i int) ([]byte, error)) error {
	x.w.Header().Set("Content-Type", out.Media.String())
	body, finish := x.body(http.StatusOK)
	if err := codec.List(body, out, kind, list, n, item); err != nil {
		return err
	}
	return finish()
}

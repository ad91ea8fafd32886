package apiserver

import (
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/registry"
)

// createUnstored serves a resource that is not stored (a review, a binding): the
// body goes through the steps of a write, and its Create takes the place of the
// store.
func (x *exchange) createUnstored() error {
	res := x.resource
	out, err := x.accepts(codec.Offer{Protobuf: codec.HasProtobuf(res.New())})
	if err != nil {
		return err
	}
	opts, err := x.createOptions()
	if err != nil {
		return err
	}
	obj, err := x.decodeBody(res.GVK, res.New, opts.validation)
	if err != nil {
		return err
	}
	write := x.write("create", opts)
	if accessor, err := meta.Accessor(obj); err == nil {
		if ns := accessor.GetNamespace(); res.Namespaced && ns != "" && ns != x.namespace() {
			return registry.NamespaceMismatch()
		}
		accessor.SetNamespace(x.namespace())
		write.Name = accessor.GetName()
	}
	if res.Default != nil {
		res.Default(obj)
	}
	obj = x.registry.Own(write, obj)
	a := x.registry.Attributes(&write, admission.Create, res.GVK, obj, nil)
	chain := admission.Chain(x.config.Admission)
	if err := chain.Admit(x.r.Context(), a); err != nil {
		return err
	}
	obj = a.Object
	if res.PrepareForCreate != nil {
		res.PrepareForCreate(write.Request, obj)
	}
	if res.Validate != nil {
		if errs := res.Validate(obj); len(errs) > 0 {
			return res.Invalid(write.Name, errs)
		}
	}
	if res.Warnings != nil {
		for _, w := range res.Warnings(obj, nil) {
			x.warn(w)
		}
	}
	if err := chain.Validate(x.r.Context(), a); err != nil {
		return err
	}
	result, err := res.Create(x.r.Context(), write.Request, obj, x.set)
	if err != nil {
		return err
	}
	x.send(http.StatusCreated, out, result)
	return nil
}

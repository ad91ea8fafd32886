package openapi

import (
	"net/http"
	"slices"
	"strings"

	"github.com/strake-io/strake/apiserver/discovery"
	"github.com/strake-io/strake/apiserver/resource"
)

// sub are the operations on a sub-resource.
func (o *operator) sub(s *resource.Subresource) []operation {
	path, kind, what := o.one+"/"+s.Name, discovery.SubresourceKind(o.r, s), objectOf(o.r)
	if s.New != nil {
		what = typeOf(s.New)
	}
	if o.custom() {
		kind = o.r.GVK
	}
	name := o.r.GVK.Kind
	switch {
	case s.Create != nil:
		op := o.op(http.MethodPost, path, "create", "post", object(o.r, s.Name), kind).takes(pretty).takes(createOptions...)
		op.description, op.body, op.answer = "create "+s.Name+" of"+article(name)+name, what, what
		op.codes = codes(http.StatusOK, http.StatusCreated, http.StatusAccepted)
		return []operation{op}
	case s.Connect != nil && s.Options != nil:
		op := o.op(http.MethodGet, path, "read", "get", object(o.r, s.Name), kind).takes(pretty).takes(options(typeOf(s.Options).typ)...)
		op.description, op.answer = "read "+s.Name+" of the specified "+name, payload{}
		op.produces = append([]string{"text/plain"}, answerTypes...)
		return []operation{op}
	case s.Connect != nil:
		return o.connects(s, path)
	}
	var ops []operation
	for _, verb := range discovery.SubresourceVerbs(s) {
		switch verb {
		case "get":
			op := o.op(http.MethodGet, path, "read", "get", object(o.r, s.Name), kind).takes(pretty).takes(o.reads()...)
			op.description, op.answer = "read "+s.Name+" of the specified "+name, what
			ops = append(ops, op)
		case "update":
			ops = append(ops, o.replace(path, s.Name, what, kind))
		case "patch":
			ops = append(ops, o.patch(path, s.Name, what, kind))
		}
	}
	return ops
}

// connects are the methods of a sub-resource that takes over the connection. Those
// that proxy take all methods, and paths below.
func (o *operator) connects(s *resource.Subresource, path string) []operation {
	verbs := discovery.SubresourceVerbs(s)
	var methods []string
	for verb, method := range map[string]string{"get": http.MethodGet, "create": http.MethodPost, "update": http.MethodPut, "patch": http.MethodPatch, "delete": http.MethodDelete} {
		if slices.Contains(verbs, verb) {
			methods = append(methods, method)
		}
	}
	proxies := slices.Contains(verbs, "delete")
	if proxies {
		methods = append(methods, http.MethodHead, http.MethodOptions)
	}
	var query []parameter
	if s.New != nil {
		query = options(typeOf(s.New).typ)
	}
	var ops []operation
	for _, method := range methods {
		op := o.op(method, path, "connect", "connect", title(strings.ToLower(method))+object(o.r, s.Name), discovery.SubresourceKind(o.r, s)).takes(query...)
		op.description = "connect " + method + " requests to " + s.Name + " of " + o.r.GVK.Kind
		op.answer, op.produces = payload{}, []string{"*/*"}
		ops = append(ops, op)
		if proxies {
			below := op.takes(inPath("path", "path to the resource"))
			below.path, below.id = path+"/{path}", op.id+"WithPath"
			ops = append(ops, below)
		}
	}
	return ops
}

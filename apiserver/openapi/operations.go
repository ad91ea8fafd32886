package openapi

import (
	"net/http"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/discovery"
	"github.com/strake-io/strake/apiserver/resource"
)

// operation is one method on one path, before it is written in either version of
// the specification.
type operation struct {
	method, path string
	id           string // "listCoreV1NamespacedPod"
	description  string
	action       string // x-kubernetes-action; "": none
	tag          string
	kind         schema.GroupVersionKind
	parameters   []parameter
	body         payload        // none: no body
	mayLackBody  bool           // a body need not come
	consumes     []string       // of the body; empty: anything
	answer       payload        // none: text
	produces     []string       // of the answer
	codes        map[int]string // of the answer, with what they mean
}

// payload is what travels: a Go type, or a kind that has none of its own.
type payload struct {
	typ  reflect.Type
	kind *resource.Resource
	list bool
}

func (s payload) none() bool { return s.typ == nil && s.kind == nil }

func payloadFor[T any]() payload { return payload{typ: reflect.TypeFor[T]()} }

func typeOf(make func() runtime.Object) payload { return payload{typ: reflect.TypeOf(make()).Elem()} }

// objectOf and listOf are what travels of a resource.
func objectOf(r *resource.Resource) payload {
	if r.Schema != nil {
		return payload{kind: r}
	}
	return typeOf(r.New)
}

func listOf(r *resource.Resource) payload {
	if r.Schema != nil {
		return payload{kind: r, list: true}
	}
	return typeOf(r.NewList)
}

// operations lists what can be done to the resources, by group version first.
func operations(resources []*resource.Resource) []operation {
	var ops []operation
	versions := map[schema.GroupVersion]bool{}
	for _, r := range resources {
		o := newOperator(r)
		if gv := r.GVK.GroupVersion(); !versions[gv] && r.Schema == nil {
			versions[gv] = true
			ops = append(ops, availableResources(gv))
		}
		ops = append(ops, o.main()...)
		for i := range r.Subresources {
			ops = append(ops, o.sub(&r.Subresources[i])...)
		}
	}
	return ops
}

// availableResources is the discovery document of a group version.
func availableResources(gv schema.GroupVersion) operation {
	return operation{
		method: http.MethodGet, path: discovery.Root(gv) + "/", id: operationID("get", gv.Group, gv.Version, "APIResources"),
		description: "get available resources", tag: tag(gv.Group, gv.Version),
		answer: payloadFor[metav1.APIResourceList](), consumes: answerTypes, produces: answerTypes, codes: codes(http.StatusOK),
	}
}

func codes(list ...int) map[int]string {
	out := map[int]string{http.StatusUnauthorized: http.StatusText(http.StatusUnauthorized)}
	for _, code := range list {
		out[code] = http.StatusText(code)
	}
	return out
}

// operator makes the operations of one resource.
type operator struct {
	r *resource.Resource
	// all is the path of the resource in all namespaces, collection that in one, and
	// one that of an object.
	root, all, collection, one string
	namespace                  []parameter
}

func newOperator(r *resource.Resource) *operator {
	o := &operator{r: r, root: discovery.Root(r.GVK.GroupVersion())}
	o.all = o.root + "/" + r.Plural
	o.collection = o.all
	if r.Namespaced {
		o.collection = o.root + "/namespaces/{namespace}/" + r.Plural
		o.namespace = []parameter{inPath("namespace", "object name and auth scope, such as for teams and projects")}
	}
	o.one = o.collection + "/{name}"
	return o
}

// custom: what is told of custom resources is simpler, and older.
func (o *operator) custom() bool { return o.r.Schema != nil }

// reads are the options of a get, of which only custom resources tell.
func (o *operator) reads() []parameter {
	if o.custom() {
		return getOptions
	}
	return nil
}

// op begins an operation on objects, or on a sub-resource of them.
func (o *operator) op(method, path, verb, action, what string, kind schema.GroupVersionKind) operation {
	gv := o.r.GVK
	op := operation{
		method: method, path: path, id: operationID(verb, gv.Group, gv.Version, what), action: action, kind: kind,
		tag: tag(gv.Group, gv.Version), answer: objectOf(o.r), produces: answerTypesOf(o.r), codes: codes(http.StatusOK),
	}
	if o.custom() {
		op.consumes = bodyTypesOf(o.r)
	}
	if strings.Contains(path, "{namespace}") {
		op.parameters = append(op.parameters, o.namespace...)
	}
	if strings.Contains(path, "{name}") {
		op.parameters = append(op.parameters, inPath("name", "name of the "+kind.Kind))
	}
	return op
}

func (op operation) takes(more ...parameter) operation {
	op.parameters = append(slices.Clip(op.parameters), more...)
	return op
}

func (o *operator) main() []operation {
	verbs := discovery.Verbs(o.r)
	if o.r.Verbs == nil && o.r.Create != nil {
		verbs = []string{"create"}
	}
	kind, name := o.r.GVK, o.r.GVK.Kind
	var ops []operation
	for _, verb := range verbs {
		switch verb {
		case "list":
			ops = append(ops, o.lists(slices.Contains(verbs, "watch"))...)
		case "create":
			op := o.op(http.MethodPost, o.collection, "create", "post", object(o.r, ""), kind).takes(pretty).takes(createOptions...)
			op.description, op.body, op.consumes = "create"+article(name)+name, objectOf(o.r), bodyTypesOf(o.r)
			op.codes = codes(http.StatusOK, http.StatusCreated, http.StatusAccepted)
			ops = append(ops, op)
		case "deletecollection":
			op := o.op(http.MethodDelete, o.collection, "delete", "deletecollection", "Collection"+object(o.r, ""), kind).takes(pretty)
			if o.custom() {
				op = op.takes(listOptions...)
				op.description, op.answer = "delete collection of "+name, payloadFor[metav1.Status]()
				ops = append(ops, op)
				break
			}
			for _, p := range append(slices.Clone(deleteOptions), collectionOptions...) {
				if !slices.Contains(op.parameters, p) {
					op = op.takes(p)
				}
			}
			op.description = "delete collection of " + name
			op.body, op.mayLackBody, op.answer = payloadFor[metav1.DeleteOptions](), true, payloadFor[metav1.Status]()
			ops = append(ops, op)
		case "get":
			op := o.op(http.MethodGet, o.one, "read", "get", object(o.r, ""), kind).takes(pretty).takes(o.reads()...)
			op.description = "read the specified " + name
			ops = append(ops, op)
		case "update":
			ops = append(ops, o.replace(o.one, "", objectOf(o.r), kind))
		case "patch":
			ops = append(ops, o.patch(o.one, "", objectOf(o.r), kind))
		case "delete":
			op := o.op(http.MethodDelete, o.one, "delete", "delete", object(o.r, ""), kind).takes(pretty).takes(deleteOptions...)
			op.description = "delete" + article(name) + name
			op.body, op.mayLackBody, op.consumes = payloadFor[metav1.DeleteOptions](), true, bodyTypesOf(o.r)
			if !o.r.ReturnsDeleted {
				op.answer = payloadFor[metav1.Status]()
			}
			op.codes = codes(http.StatusOK, http.StatusAccepted)
			ops = append(ops, op)
		}
	}
	return ops
}

// lists are the lists in one namespace and in all, and the old paths of watches,
// which custom resources do not tell of.
func (o *operator) lists(watched bool) []operation {
	kind, r := o.r.GVK, o.r
	list := func(path, what string) operation {
		op := o.op(http.MethodGet, path, "list", "list", what, kind).takes(pretty).takes(listOptions...)
		op.answer, op.produces, op.description = listOf(r), listTypesOf(r), "list objects of kind "+kind.Kind
		if watched && r.Schema == nil {
			op.description = "list or watch objects of kind " + kind.Kind
		}
		return op
	}
	watch := func(path, action, what, description string) operation {
		path = strings.Replace(path, o.root, o.root+"/watch", 1)
		op := o.op(http.MethodGet, path, "watch", action, what, kind).takes(pretty).takes(listOptions...)
		op.answer, op.produces, op.description = payloadFor[metav1.WatchEvent](), listTypesOf(r), description
		return op
	}
	ops := []operation{list(o.collection, object(r, ""))}
	everywhere := kind.Kind + "ForAllNamespaces"
	if r.Namespaced {
		ops = append(ops, list(o.all, everywhere))
	}
	if !watched || r.Schema != nil {
		return ops
	}
	many := "watch individual changes to a list of " + kind.Kind + ". deprecated: use the 'watch' parameter with a list operation instead."
	ops = append(ops, watch(o.collection, "watchlist", object(r, "")+"List", many),
		watch(o.one, "watch", object(r, ""), "watch changes to an object of kind "+kind.Kind+
			". deprecated: use the 'watch' parameter with a list operation instead, filtered to a single item with the 'fieldSelector' parameter."))
	if r.Namespaced {
		ops = append(ops, watch(o.all, "watchlist", kind.Kind+"ListForAllNamespaces", many))
	}
	return ops
}

func (o *operator) replace(path, sub string, what payload, kind schema.GroupVersionKind) operation {
	op := o.op(http.MethodPut, path, "replace", "put", object(o.r, sub), kind).takes(pretty).takes(updateOptions...)
	op.description, op.body, op.answer, op.consumes = "replace "+partOf(sub)+"the specified "+o.r.GVK.Kind, what, what, bodyTypesOf(o.r)
	op.codes = codes(http.StatusOK, http.StatusCreated)
	return op
}

func (o *operator) patch(path, sub string, what payload, kind schema.GroupVersionKind) operation {
	op := o.op(http.MethodPatch, path, "patch", "patch", object(o.r, sub), kind).takes(pretty).takes(patchOptions...)
	op.description, op.answer = "partially update "+partOf(sub)+"the specified "+o.r.GVK.Kind, what
	op.body, op.consumes = payloadFor[metav1.Patch](), patchTypesOf(o.r)
	op.codes = codes(http.StatusOK, http.StatusCreated)
	if o.r.Schema != nil {
		op.codes = codes(http.StatusOK)
	}
	return op
}

func partOf(sub string) string {
	if sub == "" {
		return ""
	}
	return sub + " of "
}

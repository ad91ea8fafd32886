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
	action       string // x-kubernetes-action
	tag          string
	kind         schema.GroupVersionKind
	parameters   []parameter    // in the query
	body         payload        // none: no body
	consumes     []string       // of the body; empty: anything
	answer       payload        // none: text
	produces     []string       // of the answer
	codes        map[int]string // of the answer, with what they mean
}

type parameter struct {
	name, in, typ, description string
	required                   bool
}

var defaultVerbs = []string{"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}

// The media types of patches, of answers, and of answers that may go on.
var (
	patchTypes = []string{
		"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json",
		"application/apply-patch+yaml", "application/apply-patch+cbor",
	}
	answerTypes = []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}
	listTypes   = append(slices.Clone(answerTypes), "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
)

// operations lists what can be done to the resources.
func operations(resources []*resource.Resource) []operation {
	var ops []operation
	for _, r := range resources {
		ops = append(ops, mainOperations(r)...)
		for i := range r.Subresources {
			ops = append(ops, subOperations(r, &r.Subresources[i])...)
		}
	}
	return ops
}

// namer writes operation ids: verb, group, version, scope, kind, sub-resource.
func namer(r *resource.Resource, sub string) func(verb string) string {
	group := "Core"
	if r.GVK.Group != "" {
		head, _, _ := strings.Cut(r.GVK.Group, ".")
		group = upper(head)
	}
	scope := ""
	if r.Namespaced {
		scope = "Namespaced"
	}
	return func(verb string) string {
		return verb + group + upper(r.GVK.Version) + scope + r.GVK.Kind + upper(sub)
	}
}

func upper(s string) string {
	if s == "" {
		return ""
	}
	return strings.ToUpper(s[:1]) + s[1:]
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

// patchTypesOf are the patches that a resource takes: strategic ones need a Go type.
func patchTypesOf(r *resource.Resource) []string {
	if r.Schema == nil {
		return patchTypes
	}
	return slices.DeleteFunc(slices.Clone(patchTypes), func(t string) bool { return t == "application/strategic-merge-patch+json" })
}

// answerTypesOf are the forms that its objects have, listTypesOf those of lists.
func answerTypesOf(r *resource.Resource) []string {
	if r.Schema == nil {
		return answerTypes
	}
	return answerTypes[:2]
}

func listTypesOf(r *resource.Resource) []string {
	if r.Schema == nil {
		return listTypes
	}
	return append(slices.Clone(answerTypes[:2]), "application/json;stream=watch")
}

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

func mainOperations(r *resource.Resource) []operation {
	verbs := r.Verbs
	if verbs == nil {
		verbs = defaultVerbs
		if r.Create != nil {
			verbs = []string{"create"}
		}
	}
	id := namer(r, "")
	all := discovery.Root(r.GVK.GroupVersion()) + "/" + r.Plural
	one := all + "/{name}"
	if r.Namespaced {
		one = discovery.Root(r.GVK.GroupVersion()) + "/namespaces/{namespace}/" + r.Plural + "/{name}"
	}
	collection := strings.TrimSuffix(one, "/{name}")

	object := objectOf(r)
	var ops []operation
	for _, verb := range verbs {
		op := operation{kind: r.GVK, answer: object, produces: answerTypesOf(r), codes: map[int]string{200: "OK", 401: "Unauthorized"}}
		switch verb {
		case "list":
			op.method, op.path, op.id, op.action = http.MethodGet, collection, id("list"), "list"
			op.answer, op.produces = listOf(r), listTypesOf(r)
			op.description, op.parameters = "list or watch objects of kind "+r.GVK.Kind, listParameters
			if r.Namespaced {
				everywhere := op
				everywhere.path, everywhere.id = all, strings.Replace(id("list"), "Namespaced", "", 1)+"ForAllNamespaces"
				ops = append(ops, everywhere)
			}
		case "create":
			op.method, op.path, op.id, op.action = http.MethodPost, collection, id("create"), "post"
			op.description, op.parameters, op.body = "create a "+r.GVK.Kind, writeParameters, object
			op.codes = map[int]string{200: "OK", 201: "Created", 202: "Accepted", 401: "Unauthorized"}
		case "deletecollection":
			op.method, op.path, op.id, op.action = http.MethodDelete, collection, id("deleteCollection"), "deletecollection"
			op.description, op.parameters = "delete collection of "+r.GVK.Kind, append(slices.Clone(deleteParameters), listParameters...)
			op.body, op.answer = payloadFor[metav1.DeleteOptions](), payloadFor[metav1.Status]()
		case "get":
			op.method, op.path, op.id, op.action = http.MethodGet, one, id("read"), "get"
			op.description = "read the specified " + r.GVK.Kind
		case "update":
			op.method, op.path, op.id, op.action = http.MethodPut, one, id("replace"), "put"
			op.description, op.parameters, op.body = "replace the specified "+r.GVK.Kind, writeParameters, object
			op.codes = map[int]string{200: "OK", 201: "Created", 401: "Unauthorized"}
		case "patch":
			op.method, op.path, op.id, op.action = http.MethodPatch, one, id("patch"), "patch"
			op.description, op.parameters = "partially update the specified "+r.GVK.Kind, patchParameters
			op.body, op.consumes = payloadFor[metav1.Patch](), patchTypesOf(r)
			op.codes = map[int]string{200: "OK", 201: "Created", 401: "Unauthorized"}
		case "delete":
			op.method, op.path, op.id, op.action = http.MethodDelete, one, id("delete"), "delete"
			op.description, op.parameters = "delete a "+r.GVK.Kind, deleteParameters
			op.body = payloadFor[metav1.DeleteOptions]()
			if !r.ReturnsDeleted {
				op.answer = payloadFor[metav1.Status]()
			}
			op.codes = map[int]string{200: "OK", 202: "Accepted", 401: "Unauthorized"}
		default:
			continue // watch is list with a parameter
		}
		op.tag = tag(r)
		ops = append(ops, op)
	}
	return ops
}

func tag(r *resource.Resource) string {
	group := "core"
	if r.GVK.Group != "" {
		group, _, _ = strings.Cut(r.GVK.Group, ".")
	}
	return group + "_" + r.GVK.Version
}

func subOperations(r *resource.Resource, sub *resource.Subresource) []operation {
	id := namer(r, sub.Name)
	path := discovery.Root(r.GVK.GroupVersion()) + "/" + r.Plural + "/{name}/" + sub.Name
	if r.Namespaced {
		path = discovery.Root(r.GVK.GroupVersion()) + "/namespaces/{namespace}/" + r.Plural + "/{name}/" + sub.Name
	}
	object, kind := objectOf(r), r.GVK
	if sub.New != nil {
		object = typeOf(sub.New)
	}
	if !sub.GVK.Empty() {
		kind = sub.GVK
	}
	base := operation{path: path, kind: kind, tag: tag(r), answer: object, produces: answerTypesOf(r), codes: map[int]string{200: "OK", 401: "Unauthorized"}}
	if sub.Create != nil {
		base.method, base.id, base.action = http.MethodPost, id("create"), "post"
		base.description = "create " + sub.Name + " of a " + r.GVK.Kind
		base.parameters, base.body = writeParameters, object
		base.codes = map[int]string{200: "OK", 201: "Created", 202: "Accepted", 401: "Unauthorized"}
		return []operation{base}
	}
	verbs := sub.Verbs
	if verbs == nil {
		verbs = []string{"get", "patch", "update"}
		if sub.Connect != nil {
			verbs = []string{"get", "create"}
		}
	}
	var ops []operation
	for _, verb := range verbs {
		op := base
		if sub.Connect != nil {
			op.action, op.answer, op.produces = "connect", payload{}, []string{"*/*"}
			switch verb {
			case "get":
				op.method, op.id = http.MethodGet, id("connectGet")
			case "create":
				op.method, op.id = http.MethodPost, id("connectPost")
			default:
				continue
			}
			op.description = "connect to " + sub.Name + " of a " + r.GVK.Kind
			ops = append(ops, op)
			continue
		}
		switch verb {
		case "get":
			op.method, op.id, op.action = http.MethodGet, id("read"), "get"
			op.description = "read " + sub.Name + " of the specified " + r.GVK.Kind
		case "update":
			op.method, op.id, op.action = http.MethodPut, id("replace"), "put"
			op.description, op.parameters, op.body = "replace "+sub.Name+" of the specified "+r.GVK.Kind, writeParameters, object
		case "patch":
			op.method, op.id, op.action = http.MethodPatch, id("patch"), "patch"
			op.description, op.parameters = "partially update "+sub.Name+" of the specified "+r.GVK.Kind, patchParameters
			op.body, op.consumes = payloadFor[metav1.Patch](), patchTypesOf(r)
		default:
			continue
		}
		ops = append(ops, op)
	}
	return ops
}

// pathParameters are what every operation of a path takes.
func (op *operation) pathParameters() []parameter {
	var list []parameter
	for _, name := range []string{"name", "namespace"} {
		if strings.Contains(op.path, "{"+name+"}") {
			description := "name of the " + op.kind.Kind
			if name == "namespace" {
				description = "the namespace that the object is in"
			}
			list = append(list, parameter{name: name, in: "path", typ: "string", description: description, required: true})
		}
	}
	return append(list, parameter{name: "pretty", in: "query", typ: "string", description: "\"true\" formats the answer for people"})
}

func query(name, typ, description string) parameter {
	return parameter{name: name, in: "query", typ: typ, description: description}
}

// The parameters of the API concepts page, by the operations that take them.
var (
	dryRun          = query("dryRun", "string", "\"All\" runs every stage of the request and keeps nothing")
	fieldManager    = query("fieldManager", "string", "the name under which the fields that this request sets are owned; at most 128 printable characters")
	fieldValidation = query("fieldValidation", "string", "what to do about unknown and duplicate fields: Ignore, Warn (the default) or Strict")
	force           = query("force", "boolean", "take over fields that other managers own; for apply patches only")

	writeParameters  = []parameter{dryRun, fieldManager, fieldValidation}
	patchParameters  = []parameter{dryRun, fieldManager, fieldValidation, force}
	deleteParameters = []parameter{
		dryRun,
		query("gracePeriodSeconds", "integer", "seconds before the object is deleted; 0 deletes at once"),
		query("orphanDependents", "boolean", "deprecated: use propagationPolicy"),
		query("propagationPolicy", "string", "what becomes of dependants: Orphan, Background or Foreground"),
	}
	listParameters = []parameter{
		query("allowWatchBookmarks", "boolean", "let a watch send BOOKMARK events"),
		query("continue", "string", "the token of the page before"),
		query("fieldSelector", "string", "only objects with these field values"),
		query("labelSelector", "string", "only objects with these labels"),
		query("limit", "integer", "the most objects to return at a time"),
		query("resourceVersion", "string", "the version to list or watch from"),
		query("resourceVersionMatch", "string", "how resourceVersion applies to a list: Exact or NotOlderThan"),
		query("sendInitialEvents", "boolean", "begin a watch with the objects that exist"),
		query("timeoutSeconds", "integer", "seconds after which a list or watch ends"),
		query("watch", "boolean", "watch for changes instead of listing"),
	}
)

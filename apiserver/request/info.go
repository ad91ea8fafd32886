// Package request reads what a request asks for out of its method and URL: which
// verb, on which resource, sub-resource, namespace and name. It decides only; the
// API server's path, its authoriser and its metrics work on the result.
package request

import (
	"net/http"
	"strings"

	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/sets"
)

// Info is a parsed request.
type Info struct {
	// IsResource says that the path is below a group and version and names a
	// resource. Everything but Path and Verb is empty otherwise, save the group
	// and version of a discovery path.
	IsResource bool
	Path       string
	// Verb of the API (get, list, watch, create, update, patch, delete,
	// deletecollection), or the method in lower case where IsResource is false.
	Verb string

	Group, Version string
	Namespace      string
	Resource       string
	Subresource    string
	Name           string
	// Tail is what follows the sub-resource: the path of a proxied request.
	Tail string
	// DeprecatedWatch says that the path was below /watch/.
	DeprecatedWatch bool
}

// GroupResource names the resource.
func (i *Info) GroupResource() schema.GroupResource {
	return schema.GroupResource{Group: i.Group, Resource: i.Resource}
}

// QualifiedResource is the resource with its sub-resource: "pods/log".
func (i *Info) QualifiedResource() string {
	if i.Subresource == "" {
		return i.Resource
	}
	return i.Resource + "/" + i.Subresource
}

// Scope in the words of upstream's metrics.
func (i *Info) Scope() string {
	switch {
	case !i.IsResource:
		return ""
	case i.Name != "":
		return "resource"
	case i.Namespace != "":
		return "namespace"
	}
	return "cluster"
}

// The sub-resources of a namespace itself; every other segment after
// /namespaces/NAME/ is a resource inside it.
var namespaceSubresources = sets.New("status", "finalize")

// Parse reads method, path and the query parameters that change the verb.
func Parse(r *http.Request) Info {
	info := Info{Path: r.URL.Path, Verb: strings.ToLower(r.Method)}
	parts := split(r.URL.Path)
	if len(parts) < 2 {
		return info
	}
	switch parts[0] {
	case "api":
		info.Version = parts[1]
		parts = parts[2:]
	case "apis":
		info.Group = parts[1]
		if len(parts) < 3 {
			return info
		}
		info.Version = parts[2]
		parts = parts[3:]
	default:
		return info
	}
	if len(parts) == 0 {
		return info
	}
	if parts[0] == "watch" {
		if len(parts) < 2 {
			return info
		}
		info.DeprecatedWatch = true
		parts = parts[1:]
	}
	info.IsResource = true
	if parts[0] == "namespaces" && len(parts) > 1 {
		info.Namespace = parts[1]
		if len(parts) > 2 && !namespaceSubresources.Has(parts[2]) {
			parts = parts[2:]
		}
	}
	info.Resource = parts[0]
	if len(parts) > 1 {
		info.Name = parts[1]
	}
	if len(parts) > 2 {
		info.Subresource = parts[2]
	}
	if len(parts) > 3 {
		info.Tail = strings.Join(parts[3:], "/")
	}
	info.Verb = verb(r, &info)
	return info
}

func verb(r *http.Request, info *Info) string {
	switch r.Method {
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodPatch:
		return "patch"
	case http.MethodDelete:
		if info.Name == "" {
			return "deletecollection"
		}
		return "delete"
	case http.MethodGet, http.MethodHead:
	default:
		return ""
	}
	if info.DeprecatedWatch {
		return "watch"
	}
	if info.Name != "" {
		return "get"
	}
	query := r.URL.Query()
	v := "list"
	var watches bool
	values := query["watch"]
	// It fails for no value.
	if _ = runtime.Convert_Slice_string_To_bool(&values, &watches, nil); watches {
		v = "watch"
	}
	// A list narrowed to one name asks for that name: an authoriser may allow it
	// by name.
	if sel, err := fields.ParseSelector(query.Get("fieldSelector")); err == nil {
		if name, ok := sel.RequiresExactMatch("metadata.name"); ok && pathSegment(name) {
			info.Name = name
		}
	}
	return v
}

func pathSegment(name string) bool {
	return name != "" && name != "." && name != ".." && !strings.ContainsAny(name, "/%")
}

func split(path string) []string {
	path = strings.Trim(path, "/")
	if path == "" {
		return nil
	}
	return strings.Split(path, "/")
}

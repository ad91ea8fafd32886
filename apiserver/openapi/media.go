package openapi

import (
	"reflect"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/apiserver/resource"
)

// The options that operations take in the query.
var (
	createOptions     = options(reflect.TypeFor[metav1.CreateOptions]())
	updateOptions     = options(reflect.TypeFor[metav1.UpdateOptions]())
	patchOptions      = options(reflect.TypeFor[metav1.PatchOptions]())
	deleteOptions     = options(reflect.TypeFor[metav1.DeleteOptions]())
	listOptions       = options(reflect.TypeFor[metav1.ListOptions]())
	getOptions        = options(reflect.TypeFor[metav1.GetOptions]())
	collectionOptions = options(reflect.TypeFor[metav1.ListOptions](), "watch", "allowWatchBookmarks")
)

// The media types of patches, of answers, and of answers that may go on.
var (
	patchTypes = []string{
		"application/json-patch+json", "application/merge-patch+json", "application/strategic-merge-patch+json", "application/apply-patch+yaml",
	}
	answerTypes = []string{"application/json", "application/yaml", "application/vnd.kubernetes.protobuf"}
	listTypes   = append(slices.Clone(answerTypes), "application/json;stream=watch", "application/vnd.kubernetes.protobuf;stream=watch")
)

// patchTypesOf are the patches that a resource takes: strategic ones need a Go type.
func patchTypesOf(r *resource.Resource) []string {
	if r.Schema == nil {
		return patchTypes
	}
	return slices.DeleteFunc(slices.Clone(patchTypes), func(t string) bool { return t == "application/strategic-merge-patch+json" })
}

// bodyTypesOf are the forms in which its objects may come; none: any.
func bodyTypesOf(r *resource.Resource) []string {
	if r.Schema == nil {
		return nil
	}
	return answerTypes[:2]
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
	return answerTypes[:2]
}

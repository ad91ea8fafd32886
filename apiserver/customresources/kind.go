package customresources

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/discovery"
	"github.com/strake-io/strake/apiserver/resource"
)

// kind is what one definition defines, made into resources, one for each version.
type kind struct {
	crd *apiextensionsv1.CustomResourceDefinition
	// seen is the last state that makes the same resources; the manager's own.
	seen      *apiextensionsv1.CustomResourceDefinition
	versions  map[string]*version
	convert   *converter
	merge     func() (managedfields.TypeConverter, error)
	key       string
	resources []*resource.Resource
}

// sameKind says that two states of a definition make the same resources.
func sameKind(a, b *apiextensionsv1.CustomResourceDefinition) bool {
	return a.UID == b.UID && terminating(a) == terminating(b) &&
		apiequality.Semantic.DeepEqual(a.Spec, b.Spec) && apiequality.Semantic.DeepEqual(a.Status.AcceptedNames, b.Status.AcceptedNames)
}

func terminating(crd *apiextensionsv1.CustomResourceDefinition) bool {
	return apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Terminating)
}

func newKind(crd *apiextensionsv1.CustomResourceDefinition, caller poster) *kind {
	k := &kind{crd: crd, versions: map[string]*version{}, key: cacheKey(crd)}
	k.merge = sync.OnceValues(k.mergeSchema)
	k.convert = &converter{kind: k, caller: caller}
	stored := ""
	for i := range crd.Spec.Versions {
		spec := &crd.Spec.Versions[i]
		k.versions[spec.Name] = newVersion(crd, spec)
		if spec.Storage {
			stored = spec.Name
		}
	}
	for i := range crd.Spec.Versions {
		k.resources = append(k.resources, k.resource(k.versions[crd.Spec.Versions[i].Name], stored))
	}
	return k
}

// cacheKey stands for all by which stored objects are decoded.
func cacheKey(crd *apiextensionsv1.CustomResourceDefinition) string {
	data, err := json.Marshal(crd.Spec)
	if err != nil {
		return "" // never the same
	}
	sum := sha256.Sum256(data)
	return string(crd.UID) + "/" + hex.EncodeToString(sum[:])
}

func (k *kind) resource(v *version, stored string) *resource.Resource {
	names := k.crd.Status.AcceptedNames
	r := &resource.Resource{
		GVK: v.gvk, ListKind: names.ListKind, Plural: names.Plural, Singular: names.Singular,
		ShortNames: names.ShortNames, Categories: names.Categories, Namespaced: v.namespaced,
		StoragePrefix: v.gvk.Group + "/" + names.Plural,
		New:           func() runtime.Object { return empty(v.gvk) },
		NewList: func() runtime.Object {
			list := &unstructured.UnstructuredList{Object: map[string]any{}}
			list.SetGroupVersionKind(v.gvk.GroupVersion().WithKind(names.ListKind))
			return list
		},
		Strategy: k.strategy(v), Table: v.table(), SelectableFields: v.selectable(),
		Converter: k.convert, MergeSchema: k.merge, Schema: v.openAPI, CacheKey: k.key,
		Prune: func(obj runtime.Object) ([]string, error) {
			return v.coerce(obj.(*unstructured.Unstructured), fromClient)
		},
		Restore: func(obj runtime.Object) {
			u := obj.(*unstructured.Unstructured)
			if in := k.versionOf(u); in != nil {
				_, _ = in.coerce(u, fromStore) // nothing is an error there
			}
		},
	}
	r.Unserved = !v.spec.Served
	if terminating(k.crd) {
		// What is there may still change: its finalizers have to go.
		r.Verbs = []string{"delete", "deletecollection", "get", "list", "patch", "update", "watch"}
	}
	if v.spec.Name != stored {
		r.StoredAs = &resource.StoredAs{Of: v.gvk.GroupVersion().WithResource(names.Plural)}
		r.StoredAs.Of.Version = stored
	}
	if v.hasStatus() {
		r.Subresources = append(r.Subresources, v.statusSubresource())
	}
	if v.scale() != nil {
		r.Subresources = append(r.Subresources, v.scaleSubresource())
	}
	if v.spec.Deprecated {
		r.Deprecated = k.deprecation(v)
	}
	return r
}

// deprecation is the warning to clients of a version.
func (k *kind) deprecation(v *version) string {
	if v.spec.DeprecationWarning != nil {
		return *v.spec.DeprecationWarning
	}
	warning := fmt.Sprintf("%s %s is deprecated", v.gvk.GroupVersion(), v.gvk.Kind)
	better := ""
	for _, other := range k.crd.Spec.Versions {
		newer := discovery.CompareVersions(other.Name, v.spec.Name) < 0
		if other.Served && !other.Deprecated && newer && (better == "" || discovery.CompareVersions(other.Name, better) < 0) {
			better = other.Name
		}
	}
	if better != "" {
		warning += fmt.Sprintf("; use %s/%s %s", v.gvk.Group, better, v.gvk.Kind)
	}
	return warning
}

func empty(gvk schema.GroupVersionKind) *unstructured.Unstructured {
	u := &unstructured.Unstructured{Object: map[string]any{}}
	u.SetGroupVersionKind(gvk)
	return u
}

// versionOf is the version that an object is of; nil where the definition has it
// no more.
func (k *kind) versionOf(u *unstructured.Unstructured) *version {
	gv, err := schema.ParseGroupVersion(u.GetAPIVersion())
	if err != nil || gv.Group != k.crd.Spec.Group {
		return nil
	}
	return k.versions[gv.Version]
}

func (k *kind) strategy(v *version) resource.Strategy {
	s := resource.Strategy{
		Default: func(obj runtime.Object) {
			if u, ok := obj.(*unstructured.Unstructured); ok {
				if in := k.versionOf(u); in != nil {
					in.setDefaults(u)
				}
			}
		},
		PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
			u := obj.(*unstructured.Unstructured)
			if v.hasStatus() {
				delete(u.Object, "status")
			}
			u.SetGeneration(1)
		},
		PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
			v.prepareForUpdate(obj.(*unstructured.Unstructured), old.(*unstructured.Unstructured))
		},
		Validate: func(obj runtime.Object) field.ErrorList { return v.validate(obj.(*unstructured.Unstructured)) },
		ValidateChange: func(obj, old runtime.Object) field.ErrorList {
			return v.validateChange(obj.(*unstructured.Unstructured), old.(*unstructured.Unstructured))
		},
		Warnings: finalizerWarnings,
	}
	if v.hasStatus() {
		s.ResetFields = fieldpath.NewSet(fieldpath.MakePathOrDie("status"))
	}
	return s
}

func (v *version) prepareForUpdate(u, old *unstructured.Unstructured) {
	if v.hasStatus() {
		if status, had := old.Object["status"]; had {
			u.Object["status"] = runtime.DeepCopyJSONValue(status)
		} else {
			delete(u.Object, "status")
		}
	}
	if !sameContent(u.Object, old.Object) {
		u.SetGeneration(old.GetGeneration() + 1)
	}
}

// sameContent compares objects but for their metadata.
func sameContent(a, b map[string]any) bool {
	for _, pair := range [][2]map[string]any{{a, b}, {b, a}} {
		for key, value := range pair[0] {
			other, has := pair[1][key]
			if key != "metadata" && (!has || !apiequality.Semantic.DeepEqual(value, other)) {
				return false
			}
		}
	}
	return true
}

// statusSubresource writes status and nothing else.
func (v *version) statusSubresource() resource.Subresource {
	return resource.Subresource{Name: "status", View: &resource.View{
		PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
			u, was := obj.(*unstructured.Unstructured), old.(*unstructured.Unstructured)
			status, has := u.Object["status"]
			managed := u.GetManagedFields()
			*u = *was.DeepCopy()
			u.SetManagedFields(managed)
			delete(u.Object, "status")
			if has {
				u.Object["status"] = status
			}
		},
		Validate: func(obj, old runtime.Object) field.ErrorList {
			return v.validateStatus(obj.(*unstructured.Unstructured), old.(*unstructured.Unstructured))
		},
		ResetFields: fieldpath.NewSet(fieldpath.MakePathOrDie("metadata"), fieldpath.MakePathOrDie("spec")),
	}}
}

// finalizerWarnings are about names of new finalizers by which two writers may come
// into each other's way.
func finalizerWarnings(obj, old runtime.Object) []string {
	u, ok := obj.(*unstructured.Unstructured)
	if !ok {
		return nil
	}
	var had []string
	if was, ok := old.(*unstructured.Unstructured); ok {
		had = was.GetFinalizers()
	}
	var out []string
	const where = "metadata.finalizers"
	for _, f := range u.GetFinalizers() {
		if slices.Contains(had, f) {
			continue
		}
		for _, message := range validation.IsQualifiedName(f) {
			out = append(out, fmt.Sprintf("%s: %q: %s", where, f, message))
		}
		standard := f == metav1.FinalizerOrphanDependents || f == metav1.FinalizerDeleteDependents || f == string(corev1.FinalizerKubernetes)
		switch {
		case strings.Contains(f, "/") || standard:
		case strings.Contains(f, "."):
			out = append(out, fmt.Sprintf("%s: %q: prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers", where, f))
		default:
			out = append(out, fmt.Sprintf("%s: %q: prefer a domain-qualified finalizer name to avoid accidental conflicts with other finalizer writers", where, f))
		}
	}
	slices.Sort(out)
	return out
}

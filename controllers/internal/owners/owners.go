// Package owners decides which objects belong to a controller, by owner
// reference and selector: it adopts orphans that match and releases its own
// that no longer do. At any time an object has at most one managing controller.
package owners

import (
	"encoding/json"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/controllers"
)

// Index is the name of the index that [Candidates] reads.
const Index = "strake.controller"

// AddIndex adds the index to an informer.
func AddIndex(informer cache.SharedIndexInformer) error {
	return controllers.AddIndex(informer, Index, func(o any) ([]string, error) {
		m, ok := o.(metav1.Object)
		if !ok {
			return nil, nil
		}
		if ref := metav1.GetControllerOfNoCopy(m); ref != nil {
			return []string{string(ref.UID)}, nil
		}
		return []string{orphans(m.GetNamespace())}, nil
	})
}

func orphans(namespace string) string { return "orphans/" + namespace }

// Candidates are the objects of an indexed informer that owner controls or
// might adopt.
func Candidates[T controllers.Object](informer cache.SharedIndexInformer, owner metav1.Object) ([]T, error) {
	var all []T
	for _, value := range []string{string(owner.GetUID()), orphans(owner.GetNamespace())} {
		items, err := informer.GetIndexer().ByIndex(Index, value)
		if err != nil {
			return nil, err
		}
		for _, item := range items {
			if o, ok := item.(T); ok {
				all = append(all, o)
			}
		}
	}
	return all, nil
}

// Controlled are the objects of an indexed informer that owner controls now.
func Controlled[T controllers.Object](informer cache.SharedIndexInformer, owner types.UID) []T {
	items, err := informer.GetIndexer().ByIndex(Index, string(owner))
	if err != nil {
		return nil
	}
	all := make([]T, 0, len(items))
	for _, item := range items {
		if o, ok := item.(T); ok {
			all = append(all, o)
		}
	}
	return all
}

// Claim splits the candidates. Owned are those that the owner controls,
// including those that the writes will make it adopt.
func Claim[T controllers.Object](owner controllers.Object, kind schema.GroupVersionKind, selector labels.Selector, candidates []T) (owned []T, writes []controllers.Write) {
	for _, o := range candidates {
		if o.GetNamespace() != owner.GetNamespace() {
			continue
		}
		ref := metav1.GetControllerOfNoCopy(o)
		matches := selector.Matches(labels.Set(o.GetLabels()))
		leaving := owner.GetDeletionTimestamp() != nil
		switch {
		case ref != nil && ref.UID != owner.GetUID():
		case ref != nil && matches:
			owned = append(owned, o)
		case ref != nil && !leaving:
			writes = append(writes, release(owner, o))
		case ref == nil && matches && !leaving && o.GetDeletionTimestamp() == nil:
			owned = append(owned, o)
			writes = append(writes, adopt(owner, kind, o))
		}
	}
	return owned, writes
}

// Ref is the reference by which owner controls an object.
func Ref(owner metav1.Object, kind schema.GroupVersionKind) metav1.OwnerReference {
	return *metav1.NewControllerRef(owner, kind)
}

type refPatch struct {
	Metadata refPatchMeta `json:"metadata"`
}

type refPatchMeta struct {
	UID             types.UID `json:"uid"` // the API refuses the patch if another object has taken the name
	OwnerReferences []any     `json:"ownerReferences"`
}

func adopt(owner controllers.Object, kind schema.GroupVersionKind, o controllers.Object) controllers.Write {
	w := patchRefs(o, Ref(owner, kind))
	w.OnlyIfLive = owner
	return w
}

func release(owner, o controllers.Object) controllers.Write {
	w := patchRefs(o, map[string]any{"$patch": "delete", "uid": owner.GetUID()})
	// Gone, or without the reference already: that is what was wanted.
	w.Ignore = func(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsInvalid(err) }
	return w
}

func patchRefs(o controllers.Object, ref any) controllers.Write {
	data, err := json.Marshal(refPatch{refPatchMeta{UID: o.GetUID(), OwnerReferences: []any{ref}}})
	if err != nil {
		panic(err) // strings in a struct always encode
	}
	return controllers.Write{Verb: controllers.Patch, Object: o, PatchType: types.StrategicMergePatchType, PatchData: data}
}

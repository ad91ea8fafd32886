package owners

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/controllers"
)

// Keys maps the change of an object to the controllers of the kind that care:
// the one that controls it, the one that did, and for an orphan those that
// might adopt it.
func Keys(kind schema.GroupVersionKind, wouldAdopt func(metav1.Object) []controllers.Key) func(controllers.Change) []controllers.Key {
	return func(c controllers.Change) (keys []controllers.Key) {
		now := controllerOf(c.New, kind)
		before := controllerOf(c.Old, kind)
		if c.Old != nil && before != nil && (now == nil || now.UID != before.UID) {
			keys = append(keys, controllers.Key{Namespace: c.Old.GetNamespace(), Name: before.Name})
		}
		if now != nil {
			return append(keys, controllers.Key{Namespace: c.New.GetNamespace(), Name: now.Name})
		}
		if c.New == nil || metav1.GetControllerOfNoCopy(c.New) != nil || c.New.GetDeletionTimestamp() != nil {
			return keys
		}
		// An orphan. Only what could change the answer asks the question again.
		if c.Old == nil || before != nil || !sameLabels(c.Old.GetLabels(), c.New.GetLabels()) {
			keys = append(keys, wouldAdopt(c.New)...)
		}
		return keys
	}
}

func controllerOf(o controllers.Object, kind schema.GroupVersionKind) *metav1.OwnerReference {
	if o == nil {
		return nil
	}
	ref := metav1.GetControllerOfNoCopy(o)
	if ref == nil || ref.Kind != kind.Kind {
		return nil
	}
	if gv, err := schema.ParseGroupVersion(ref.APIVersion); err != nil || gv.Group != kind.Group {
		return nil
	}
	return ref
}

func sameLabels(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for k, v := range a {
		if w, ok := b[k]; !ok || v != w {
			return false
		}
	}
	return true
}

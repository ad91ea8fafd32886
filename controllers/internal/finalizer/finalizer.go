// Package finalizer is what the controllers share that hold an object back, by a
// finalizer of theirs, for as long as something uses it.
package finalizer

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/controllers"
)

// Missing says that the object should have the finalizer and has not: it is older than
// whatever adds it to new ones.
func Missing(o metav1.Object, name string) bool {
	return o.GetDeletionTimestamp() == nil && !slices.Contains(o.GetFinalizers(), name)
}

// Holds says that the finalizer keeps an object from going.
func Holds(o metav1.Object, name string) bool {
	return o.GetDeletionTimestamp() != nil && slices.Contains(o.GetFinalizers(), name)
}

// Concerns says that the object is either.
func Concerns(o metav1.Object, name string) bool { return Missing(o, name) || Holds(o, name) }

// Keys is the mapping of changes for objects that concern the holder of a finalizer
// by themselves.
func Keys(name string) func(controllers.Change) []controllers.Key {
	return func(c controllers.Change) []controllers.Key {
		if c.New == nil || !Concerns(c.New, name) {
			return nil
		}
		return []controllers.Key{controllers.KeyOf(c.New)}
	}
}

// Add writes the finalizer to an object.
func Add(o controllers.Object, name string) controllers.Write {
	return update(o, append(slices.Clone(o.GetFinalizers()), name))
}

// Remove takes the finalizer away.
func Remove(o controllers.Object, name string) controllers.Write {
	return update(o, slices.DeleteFunc(slices.Clone(o.GetFinalizers()), func(f string) bool { return f == name }))
}

func update(o controllers.Object, finalizers []string) controllers.Write {
	changed := o.DeepCopyObject().(controllers.Object)
	changed.SetFinalizers(finalizers)
	return controllers.Write{Verb: controllers.Update, Object: changed}
}

// Plan is what to do about an object that concerns the holder: add the finalizer, or,
// where nothing uses the object any more, take it away.
func Plan(o controllers.Object, name string, used bool) controllers.Plan {
	switch {
	case Missing(o, name):
		return controllers.Do(Add(o, name))
	case Holds(o, name) && !used:
		return controllers.Do(Remove(o, name))
	}
	return controllers.Plan{}
}

package garbagecollector

import (
	"encoding/json"
	"slices"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers"
)

// Standing is how an owner that an object refers to is doing.
type Standing int

const (
	// Solid owners exist: a reason to keep the object.
	Solid Standing = iota
	// Absent owners do not exist (any more).
	Absent
	// Waiting owners are being deleted and wait for the object to go first.
	Waiting
)

// View is what one reconcile sees of an object.
type View struct {
	Node       Node
	Dependents []Node
	Live       *metav1.PartialObjectMetadata // read from the API just now
	Standings  []Standing                    // of Live's owner references, in their order
}

// Reconcile decides whether the object has a reason to be. Next are other
// objects that have to be looked at.
func Reconcile(v View) (plan controllers.Plan, next []types.UID) {
	if v.Node.Leaving && !v.Node.Foreground {
		return plan, nil // it goes already
	}
	if v.Node.Foreground {
		return dependentsFirst(v)
	}
	if len(v.Live.OwnerReferences) == 0 {
		return plan, nil
	}
	var keep, drop []metav1.OwnerReference
	waiting := false
	for i, r := range v.Live.OwnerReferences {
		if v.Standings[i] == Solid {
			keep = append(keep, r)
			continue
		}
		waiting = waiting || v.Standings[i] == Waiting
		drop = append(drop, r)
	}
	switch {
	case len(keep) > 0 && len(drop) == 0:
		return plan, nil
	case len(keep) > 0:
		// Somebody still needs it; those that do not must not wait for it.
		return controllers.Do(setOwners(v, keep)), nil
	case waiting && len(v.Dependents) > 0:
		// It goes before its owner, and its own dependents go before it.
		if slices.ContainsFunc(v.Dependents, func(d Node) bool { return d.Foreground }) {
			// Two that wait for each other would wait for ever.
			free := slices.Clone(v.Live.OwnerReferences)
			for i := range free {
				no := false
				free[i].BlockOwnerDeletion = &no
			}
			return controllers.Do(setOwners(v, free), remove(v, metav1.DeletePropagationForeground, false)), nil
		}
		return controllers.Do(remove(v, metav1.DeletePropagationForeground, true)), nil
	}
	policy := metav1.DeletePropagationBackground
	switch {
	case slices.Contains(v.Live.Finalizers, metav1.FinalizerOrphanDependents):
		policy = metav1.DeletePropagationOrphan
	case slices.Contains(v.Live.Finalizers, metav1.FinalizerDeleteDependents):
		policy = metav1.DeletePropagationForeground
	}
	return controllers.Do(remove(v, policy, true)), nil
}

// dependentsFirst lets an object go whose deletion waits for its dependents,
// once none is left that blocks it.
func dependentsFirst(v View) (plan controllers.Plan, next []types.UID) {
	blocked := false
	for _, d := range v.Dependents {
		at := slices.IndexFunc(d.Owners, func(r metav1.OwnerReference) bool { return r.UID == v.Node.UID })
		if at < 0 || d.Owners[at].BlockOwnerDeletion == nil || !*d.Owners[at].BlockOwnerDeletion {
			continue
		}
		blocked = true
		if !d.Foreground {
			next = append(next, d.UID)
		}
	}
	if blocked {
		return plan, next
	}
	return controllers.Do(dropFinalizer(v.Node, v.Live, metav1.FinalizerDeleteDependents)), nil
}

// Orphan lets the dependents of an object go, and then the object. Custom resources
// know no patch that takes one reference out of the list: those are in whole as they
// were read just now, nil where they are gone, and get a new list.
func Orphan(n Node, dependents []Node, live *metav1.PartialObjectMetadata, whole map[types.UID]*metav1.PartialObjectMetadata) controllers.Plan {
	var release []controllers.Write
	for _, d := range dependents {
		if o, ok := whole[d.UID]; ok {
			if o != nil {
				left := slices.DeleteFunc(slices.Clone(o.OwnerReferences), func(r metav1.OwnerReference) bool { return r.UID == n.UID })
				release = append(release, patch(d, o, map[string]any{"ownerReferences": left}))
			}
			continue
		}
		release = append(release, controllers.Write{
			Verb: controllers.Patch, Object: d.object(), Resource: d.Resource, PatchType: types.StrategicMergePatchType,
			PatchData: encode(map[string]any{"metadata": map[string]any{
				"uid":             d.UID,
				"ownerReferences": []any{map[string]any{"$patch": "delete", "uid": n.UID}},
			}}),
			Ignore: func(err error) bool { return apierrors.IsNotFound(err) || apierrors.IsConflict(err) },
		})
	}
	return controllers.Plan{Steps: []controllers.Step{
		{Writes: release, Mode: controllers.Together},
		{Writes: []controllers.Write{dropFinalizer(n, live, metav1.FinalizerOrphanDependents)}},
	}}
}

func (id Identity) object() *metav1.PartialObjectMetadata {
	return &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: id.Namespace, Name: id.Name, UID: id.UID}}
}

func setOwners(v View, owners []metav1.OwnerReference) controllers.Write {
	return patch(v.Node, v.Live, map[string]any{"ownerReferences": owners})
}

func dropFinalizer(n Node, live *metav1.PartialObjectMetadata, finalizer string) controllers.Write {
	left := slices.DeleteFunc(slices.Clone(live.Finalizers), func(f string) bool { return f == finalizer })
	if left == nil {
		left = []string{}
	}
	return patch(n, live, map[string]any{"finalizers": left})
}

// patch changes metadata, if nobody else has changed the object since it was read.
func patch(n Node, live *metav1.PartialObjectMetadata, change map[string]any) controllers.Write {
	change["uid"], change["resourceVersion"] = live.UID, live.ResourceVersion
	return controllers.Write{
		Verb: controllers.Patch, Object: n.object(), Resource: n.Resource, PatchType: types.MergePatchType,
		PatchData: encode(map[string]any{"metadata": change}), Ignore: apierrors.IsNotFound,
	}
}

// remove deletes the object. Unchanged insists that nobody has given it another
// owner since it was read.
func remove(v View, policy metav1.DeletionPropagation, unchanged bool) controllers.Write {
	uid, version := v.Live.UID, v.Live.ResourceVersion
	pre := &metav1.Preconditions{UID: &uid}
	if unchanged {
		pre.ResourceVersion = &version
	}
	return controllers.Write{
		Verb: controllers.Delete, Object: v.Node.object(), Resource: v.Node.Resource,
		DeleteOptions: metav1.DeleteOptions{PropagationPolicy: &policy, Preconditions: pre},
	}
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // metadata always encodes
	}
	return data
}

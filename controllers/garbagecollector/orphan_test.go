package garbagecollector_test

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers/garbagecollector"
)

func TestOrphanOfCustomResources(t *testing.T) {
	named := func(name string) garbagecollector.Node {
		return garbagecollector.Node{Identity: garbagecollector.Identity{Namespace: "ns", Name: name, UID: types.UID("uid-" + name)}}
	}
	live := func(name string, owners ...string) *metav1.PartialObjectMetadata {
		o := &metav1.PartialObjectMetadata{ObjectMeta: object("ns", name, owners...).ObjectMeta}
		o.ResourceVersion = "7"
		return o
	}
	owner := live("owner")
	owner.Finalizers = []string{metav1.FinalizerOrphanDependents}
	plan := garbagecollector.Orphan(named("owner"),
		[]garbagecollector.Node{named("builtin"), named("custom"), named("gone")}, owner,
		map[types.UID]*metav1.PartialObjectMetadata{"uid-custom": live("custom", "other", "owner"), "uid-gone": nil})
	var got []string
	for _, step := range plan.Steps {
		for _, w := range step.Writes {
			got = append(got, w.Object.GetName()+" "+string(w.PatchType)+" "+string(w.PatchData))
		}
	}
	want := []string{
		`builtin application/strategic-merge-patch+json {"metadata":{"ownerReferences":[{"$patch":"delete","uid":"uid-owner"}],"uid":"uid-builtin"}}`,
		`custom application/merge-patch+json {"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"other","uid":"uid-other","blockOwnerDeletion":true}],"resourceVersion":"7","uid":"uid-custom"}}`,
		`owner application/merge-patch+json {"metadata":{"finalizers":[],"resourceVersion":"7","uid":"uid-owner"}}`,
	}
	if len(got) != len(want) {
		t.Fatalf("%d writes: %q", len(got), got)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("write %d:\n%s\nwant\n%s", i, got[i], want[i])
		}
	}
}

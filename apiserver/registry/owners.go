package registry

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// dedupeOwners takes out owner references that are there twice, and warns of them.
// mutated says that a mutator may have put them there.
func (w *Write) dedupeOwners(obj metav1.Object, mutated bool) {
	refs := obj.GetOwnerReferences()
	if len(refs) < 2 {
		return
	}
	kept := make([]metav1.OwnerReference, 0, len(refs))
	var twice []string
	seen := map[types.UID]bool{}
	for _, ref := range refs {
		if seen[ref.UID] && hasOwner(kept, ref) {
			twice = append(twice, string(ref.UID))
			continue
		}
		seen[ref.UID] = true
		kept = append(kept, ref)
	}
	if len(twice) == 0 {
		return
	}
	obj.SetOwnerReferences(kept)
	when := ""
	if mutated {
		when = " after mutating admission happens"
	}
	w.warn([]string{fmt.Sprintf(".metadata.ownerReferences contains duplicate entries%s; API server dedups owner references in 1.20+, "+
		"and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: %v", when, strings.Join(twice, ", "))})
}

func hasOwner(refs []metav1.OwnerReference, ref metav1.OwnerReference) bool {
	for i := range refs {
		if equality.Semantic.DeepEqual(refs[i], ref) {
			return true
		}
	}
	return false
}

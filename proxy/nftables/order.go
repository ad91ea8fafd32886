package nftables

import (
	"cmp"
	"iter"
	"maps"
	"slices"
)

// A transaction is written in a fixed order, so that the same change gives the
// same messages.

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func sortedElements(m map[element]string) []element {
	return slices.SortedFunc(maps.Keys(m), compareElements)
}

func compareElements(a, b element) int {
	return cmp.Or(cmp.Compare(a.set, b.set), a.addr.Compare(b.addr), cmp.Compare(a.proto, b.proto), cmp.Compare(a.port, b.port))
}

// groupBySet yields the elements of each set that has any.
func groupBySet(elements []element) iter.Seq2[string, []element] {
	slices.SortFunc(elements, compareElements)
	return func(yield func(string, []element) bool) {
		for len(elements) > 0 {
			n := 1
			for n < len(elements) && elements[n].set == elements[0].set {
				n++
			}
			if !yield(elements[0].set, elements[:n:n]) {
				return
			}
			elements = elements[n:]
		}
	}
}

// Package classes chooses among the objects of a cluster that stand for "the
// default": storage classes and ingress classes. Two admission plugins share it.
package classes

import (
	"cmp"
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/resource"
)

// Default is the name of the class that has the value "true" under one of the
// annotations, "" where there is none. Of several it is the newest, and of several as
// new as each other the first by name.
func Default(ctx context.Context, objects resource.Objects, of schema.GroupResource, annotations ...string) (string, error) {
	all, err := objects.List(ctx, of, "")
	if err != nil {
		return "", err
	}
	var best metav1.Object
	for _, obj := range all {
		class, ok := obj.(metav1.Object)
		if ok && marked(class, annotations) && (best == nil || before(class, best)) {
			best = class
		}
	}
	if best == nil {
		return "", nil
	}
	return best.GetName(), nil
}

func marked(class metav1.Object, annotations []string) bool {
	has := class.GetAnnotations()
	for _, a := range annotations {
		if has[a] == "true" {
			return true
		}
	}
	return false
}

func before(a, b metav1.Object) bool {
	return cmp.Or(b.GetCreationTimestamp().Compare(a.GetCreationTimestamp().Time), cmp.Compare(a.GetName(), b.GetName())) < 0
}

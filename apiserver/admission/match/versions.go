package match

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/codec"
)

// Versioned are the objects of a write as the kind that matched, with their TypeMeta
// set; nil where there is none. They are read-only: they may be the write's own.
func Versioned(ctx context.Context, a *admission.Attributes, kind schema.GroupVersionKind) (object, old runtime.Object, err error) {
	if object, err = as(ctx, a, a.Object, kind); err != nil {
		return nil, nil, err
	}
	old, err = as(ctx, a, a.Old, kind)
	return object, old, err
}

func as(ctx context.Context, a *admission.Attributes, obj runtime.Object, kind schema.GroupVersionKind) (runtime.Object, error) {
	if obj == nil {
		return nil, nil
	}
	if kind != a.Kind {
		converted, err := a.Catalog.Convert(ctx, obj, a.Kind, kind)
		if err != nil {
			return nil, err
		}
		obj = converted
	}
	return codec.WithKind(obj, kind), nil
}

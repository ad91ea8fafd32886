// Package fieldmanager keeps metadata.managedFields: who set which field, on every
// write, and the merge of server-side apply. The algorithm is that of
// k8s.io/apimachinery's managedfields; this package feeds it with the server's
// types, of which each kind has one version.
package fieldmanager

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/managedfields"
	"k8s.io/client-go/applyconfigurations"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/resource"
)

// Converter is the schema of the built-in types, with which fields are merged.
func Converter(scheme *runtime.Scheme) managedfields.TypeConverter {
	return applyconfigurations.NewTypeConverter(scheme)
}

// Manager manages the fields of one endpoint: a resource or one of its
// sub-resources. It is safe for concurrent use.
type Manager struct {
	gvk     schema.GroupVersionKind
	manager *managedfields.FieldManager
	// steady is nil where the schema says nothing of the type.
	steady *steady
}

// New makes the manager of an endpoint. Fields in reset are owned by nobody
// through it. Types that schema does not describe, a program's own, are merged
// by their structure: lists as a whole, maps field by field.
func New(res *resource.Resource, subresource string, reset *fieldpath.Set, schema managedfields.TypeConverter) (*Manager, error) {
	var quick *steady
	if typed, err := schema.ObjectToTyped(codec.WithKind(res.New(), res.GVK)); err != nil {
		schema = managedfields.NewDeducedTypeConverter()
	} else {
		quick = &steady{
			schema: typed.Schema(), root: typed.TypeRef(), version: res.GVK.GroupVersion().String(),
			subresource: subresource, reset: reset,
		}
	}
	filters := map[fieldpath.APIVersion]fieldpath.Filter{}
	if reset != nil {
		filters[fieldpath.APIVersion(res.GVK.GroupVersion().String())] = fieldpath.NewExcludeSetFilter(reset)
	}
	types := types{res}
	m, err := managedfields.NewDefaultFieldManager(schema, types, types, types, res.GVK, res.GVK.GroupVersion(), subresource, filters)
	if err != nil {
		return nil, fmt.Errorf("field manager of %s: %w", res.GroupResource(), err)
	}
	return &Manager{gvk: res.GVK, manager: m, steady: quick}, nil
}

// Update records that manager changed live, which is read-only, to obj, and
// returns obj.
func (m *Manager) Update(live, obj runtime.Object, manager string) runtime.Object {
	if m.steady != nil {
		if entries, ok := m.steady.update(live, obj, manager, time.Now()); ok {
			if accessor, err := meta.Accessor(obj); err == nil {
				accessor.SetManagedFields(entries)
				return obj
			}
		}
	}
	return m.manager.UpdateNoErrors(live, obj, manager)
}

// Apply merges what manager wants into live, which is read-only. The result is a
// new object. A conflict is an API error of reason Conflict with its causes.
func (m *Manager) Apply(live runtime.Object, patch *unstructured.Unstructured, manager string, force bool) (runtime.Object, error) {
	obj, err := m.manager.Apply(codec.Shallow(live), patch, manager, force)
	if err != nil {
		return nil, err
	}
	if _, ok := obj.(runtime.Unstructured); !ok {
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	return obj, nil
}

// types answers the algorithm's questions about one kind of one version.
type types struct{ res *resource.Resource }

func (t types) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	if gvk != t.res.GVK {
		return nil, runtime.NewNotRegisteredErrForKind("strake", gvk)
	}
	return t.res.New(), nil
}

func (t types) Default(obj runtime.Object) {
	if t.res.Default != nil {
		t.res.Default(obj)
	}
}

// ConvertToVersion gives obj its Go type and its kind; there is only one version
// to convert to. Fields recorded under a version that is not served any more are
// dropped by the caller, which takes this error for that.
func (t types) ConvertToVersion(obj runtime.Object, to runtime.GroupVersioner) (runtime.Object, error) {
	gv := t.res.GVK.GroupVersion()
	if target, ok := to.KindForGroupVersionKinds([]schema.GroupVersionKind{t.res.GVK}); !ok || target != t.res.GVK {
		return nil, runtime.NewNotRegisteredErrForTarget("strake", nil, to)
	}
	typed := t.res.New()
	u, isUnstructured := obj.(*unstructured.Unstructured)
	if _, same := typed.(*unstructured.Unstructured); isUnstructured && !same {
		if u.GroupVersionKind().GroupVersion() != gv {
			return nil, runtime.NewNotRegisteredErrForKind("strake", u.GroupVersionKind())
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, typed); err != nil {
			return nil, err
		}
		return codec.WithKind(typed, t.res.GVK), nil
	}
	return codec.WithKind(obj, t.res.GVK), nil
}

func (t types) Convert(_, _, _ any) error {
	return fmt.Errorf("%s has one version: nothing to convert", t.res.GroupResource())
}

func (t types) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

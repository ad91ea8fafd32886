// Package fieldmanager keeps metadata.managedFields: who set which field, on every
// write, and the merge of server-side apply. The algorithm is that of
// k8s.io/apimachinery's managedfields; this package feeds it with the server's
// types. An object's fields may have been set in several versions of its kind: the
// object is converted to each.
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

// Versions converts the objects of one kind between the versions in which it is
// served, which may change at any time. It is safe for concurrent use.
type Versions interface {
	// New makes an empty object; false where that is not served.
	New(gvk schema.GroupVersionKind) (runtime.Object, bool)
	// Convert makes an object, whose Go type is that of from and which it does not
	// change, into one of another version; false where either is not served.
	Convert(obj runtime.Object, from, to schema.GroupVersion) (runtime.Object, bool, error)
}

// Config of a [Manager].
type Config struct {
	// Resource whose fields are managed, and the sub-resource through which; ""
	// is the resource itself.
	Resource    *resource.Resource
	Subresource string
	// Reset are fields that nobody owns through this endpoint.
	Reset *fieldpath.Set
	// Schema says how fields merge. Types that it does not describe, a program's
	// own, are merged by their structure: lists as a whole, maps field by field.
	Schema managedfields.TypeConverter
	// Versions of the kind; nil means that there is one.
	Versions Versions
}

// New makes the manager of an endpoint.
func New(config Config) (*Manager, error) {
	res, converter := config.Resource, config.Schema
	var quick *steady
	empty := codec.WithKind(res.New(), res.GVK)
	_, free := empty.(runtime.Unstructured)
	if typed, err := converter.ObjectToTyped(empty); err != nil {
		converter = managedfields.NewDeducedTypeConverter()
	} else if !free {
		quick = &steady{
			schema: typed.Schema(), root: typed.TypeRef(), version: res.GVK.GroupVersion().String(),
			subresource: config.Subresource, reset: config.Reset,
		}
	}
	filters := map[fieldpath.APIVersion]fieldpath.Filter{}
	if config.Reset != nil {
		filters[fieldpath.APIVersion(res.GVK.GroupVersion().String())] = fieldpath.NewExcludeSetFilter(config.Reset)
	}
	create := managedfields.NewDefaultFieldManager
	if free {
		create = managedfields.NewDefaultCRDFieldManager
	}
	types := types{res, config.Versions}
	m, err := create(converter, types, types, types, res.GVK, res.GVK.GroupVersion(), config.Subresource, filters)
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

// types answers the algorithm's questions about one kind.
type types struct {
	res      *resource.Resource
	versions Versions
}

func (t types) New(gvk schema.GroupVersionKind) (runtime.Object, error) {
	if gvk == t.res.GVK {
		return t.res.New(), nil
	}
	if t.versions != nil {
		if obj, ok := t.versions.New(gvk); ok {
			return obj, nil
		}
	}
	return nil, runtime.NewNotRegisteredErrForKind("strake", gvk)
}

func (t types) Default(obj runtime.Object) {
	if t.res.Default != nil {
		t.res.Default(obj)
	}
}

// ConvertToVersion gives obj its Go type and its kind, in the version asked for.
// Fields recorded under a version that is not served any more are dropped by the
// caller, which takes a not-registered error for that.
func (t types) ConvertToVersion(obj runtime.Object, to runtime.GroupVersioner) (runtime.Object, error) {
	target, ok := to.(schema.GroupVersion)
	if !ok {
		gvk, known := to.KindForGroupVersionKinds([]schema.GroupVersionKind{t.res.GVK})
		if !known {
			return nil, runtime.NewNotRegisteredErrForTarget("strake", nil, to)
		}
		target = gvk.GroupVersion()
	}
	from := obj.GetObjectKind().GroupVersionKind()
	if from.Empty() {
		from = t.res.GVK
	}
	obj, err := t.typed(obj, from)
	if err != nil || from.GroupVersion() == target {
		return obj, err
	}
	if t.versions == nil {
		return nil, runtime.NewNotRegisteredErrForTarget("strake", nil, to)
	}
	converted, ok, err := t.versions.Convert(obj, from.GroupVersion(), target)
	if err != nil {
		return nil, err
	}
	if !ok {
		return nil, runtime.NewNotRegisteredErrForTarget("strake", nil, to)
	}
	return codec.WithKind(converted, target.WithKind(from.Kind)), nil
}

// typed gives an object the Go type of its kind.
func (t types) typed(obj runtime.Object, gvk schema.GroupVersionKind) (runtime.Object, error) {
	empty, err := t.New(gvk)
	if err != nil {
		return nil, err
	}
	u, free := obj.(*unstructured.Unstructured)
	if _, same := empty.(*unstructured.Unstructured); !free || same {
		return codec.WithKind(obj, gvk), nil
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, empty); err != nil {
		return nil, err
	}
	return codec.WithKind(empty, gvk), nil
}

func (t types) Convert(_, _, _ any) error {
	return fmt.Errorf("%s converts whole objects only", t.res.GroupResource())
}

func (t types) ConvertFieldLabel(_ schema.GroupVersionKind, label, value string) (string, string, error) {
	return label, value, nil
}

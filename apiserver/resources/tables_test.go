package resources_test

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
)

// The rows of every kind fit its columns, whatever the object; what functions get
// that a client may have sent does not panic.
func TestStrategiesOnAnything(t *testing.T) {
	all, c := builtIn(t)
	now := time.Now()
	for _, r := range all {
		t.Run(r.GVK.Kind+"."+r.GVK.GroupVersion().String(), func(t *testing.T) {
			t.Parallel()
			fill := filler(c.Scheme(), int64(len(r.GVK.Kind)))
			for i := range 30 {
				obj, old := r.New(), r.New()
				if i > 0 {
					fill.Fill(obj)
				}
				if i > 1 {
					fill.Fill(old)
				}
				if i == 29 {
					old = obj.DeepCopyObject()
				}
				if r.Cells != nil {
					if cells := r.Cells(obj, now); len(cells) != len(r.Columns) {
						t.Fatalf("%d cells in %d columns", len(cells), len(r.Columns))
					}
				}
				run(r, obj, old)
			}
			if r.SelectableFields != nil {
				for _, name := range r.IndexedFields {
					if _, ok := r.SelectableFields(r.New())[name]; !ok {
						t.Errorf("the index %s is on no selectable field", name)
					}
				}
			}
		})
	}
}

// run runs the functions of a strategy that decide, in the order of an update.
func run(r *resource.Resource, now, was runtime.Object) {
	var errs field.ErrorList
	if r.Default != nil {
		r.Default(now)
		r.Default(was)
	}
	if r.PrepareForCreate != nil && r.Create == nil {
		r.PrepareForCreate(resource.Request{}, now.DeepCopyObject())
	}
	if r.PrepareForUpdate != nil {
		r.PrepareForUpdate(resource.Request{}, now, was)
	}
	if r.Validate != nil {
		errs = append(errs, r.Validate(now)...)
	}
	if r.ValidateUpdate != nil {
		errs = append(errs, r.ValidateUpdate(now, was)...)
	}
	if r.ValidateChange != nil {
		errs = append(errs, r.ValidateChange(now, was)...)
	}
	for _, s := range r.Subresources {
		if s.View == nil {
			continue
		}
		viewed := now.DeepCopyObject()
		if s.View.PrepareForUpdate != nil {
			s.View.PrepareForUpdate(resource.Request{}, viewed, was)
		}
		if s.View.Validate != nil {
			errs = append(errs, s.View.Validate(viewed, was)...)
		}
	}
	for _, e := range errs {
		_ = e.Error()
	}
}

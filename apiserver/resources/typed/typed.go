// Package typed lets the functions of a resource be written over the kind's own Go
// type: each wrapper here takes such a function and gives the one that
// resource.Strategy and resource.Table want. The registry hands a resource objects
// of its own type only, so the conversion cannot fail.
//
// It stands below the packages of the API groups in apiserver/resources.
package typed

import (
	"time"

	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/resource"
)

// Object is a pointer to the Go type of a kind.
type Object interface {
	runtime.Object
	metav1.Object
}

type pointer[T any] interface {
	*T
	runtime.Object
}

// New makes an empty object, or an empty list: New[batchv1.Job].
func New[T any, P pointer[T]]() runtime.Object { return P(new(T)) }

// Default wraps a function that fills what a user left out.
func Default[T runtime.Object](f func(obj T)) func(runtime.Object) {
	return func(obj runtime.Object) { f(obj.(T)) }
}

// Validate wraps the check of one object.
func Validate[T runtime.Object](f func(obj T) field.ErrorList) func(runtime.Object) field.ErrorList {
	return func(obj runtime.Object) field.ErrorList { return f(obj.(T)) }
}

// Change wraps the check of a transition.
func Change[T runtime.Object](f func(obj, old T) field.ErrorList) func(obj, old runtime.Object) field.ErrorList {
	return func(obj, old runtime.Object) field.ErrorList { return f(obj.(T), old.(T)) }
}

// Warnings wraps what a client is warned of; old is nil on create.
func Warnings[T runtime.Object](f func(obj, old T) []string) func(obj, old runtime.Object) []string {
	return func(obj, old runtime.Object) []string {
		was, _ := old.(T)
		return f(obj.(T), was)
	}
}

// Cells wraps the values of a table's row.
func Cells[T runtime.Object](f func(obj T, now time.Time) []any) func(runtime.Object, time.Time) []any {
	return func(obj runtime.Object, now time.Time) []any { return f(obj.(T), now) }
}

// Fields wraps the selectable fields of an object.
func Fields[T runtime.Object](f func(obj T) fields.Set) func(runtime.Object) fields.Set {
	return func(obj runtime.Object) fields.Set { return f(obj.(T)) }
}

// Halves are how a kind with a spec and a status is written: each endpoint changes
// one and keeps the other, and metadata.generation counts the changes of the spec.
type Halves struct {
	// Create clears the status and begins with generation 1; Update keeps the
	// status and counts; Status keeps the spec.
	Create         func(req resource.Request, obj runtime.Object)
	Update, Status func(req resource.Request, obj, old runtime.Object)
}

// SpecAndStatus makes the Halves of a kind; halves points at the two in an object.
func SpecAndStatus[T Object, S, U any](halves func(obj T) (*S, *U)) Halves {
	return Halves{
		Create: func(_ resource.Request, obj runtime.Object) {
			_, status := halves(obj.(T))
			var none U
			*status = none
			obj.(T).SetGeneration(1)
		},
		Update: func(_ resource.Request, obj, old runtime.Object) {
			spec, status := halves(obj.(T))
			wasSpec, wasStatus := halves(old.(T))
			*status = *wasStatus
			count(obj.(T), old.(T), spec, wasSpec)
		},
		Status: func(_ resource.Request, obj, old runtime.Object) {
			spec, _ := halves(obj.(T))
			was, _ := halves(old.(T))
			*spec = *was
			obj.(T).SetGeneration(old.(T).GetGeneration())
		},
	}
}

// Counted is the writing of a kind without status that counts its generations;
// desired is what the user wants of it.
func Counted[T Object, S any](desired func(obj T) *S) Halves {
	return Halves{
		Create: func(_ resource.Request, obj runtime.Object) { obj.(T).SetGeneration(1) },
		Update: func(_ resource.Request, obj, old runtime.Object) {
			count(obj.(T), old.(T), desired(obj.(T)), desired(old.(T)))
		},
	}
}

func count(obj, old Object, desired, was any) {
	generation := old.GetGeneration()
	if !apiequality.Semantic.DeepEqual(desired, was) {
		generation++
	}
	obj.SetGeneration(generation)
}

// StatusView is the status sub-resource of a kind; check sees the transition and
// may be nil.
func StatusView[T Object](h Halves, check func(obj, old T) field.ErrorList) resource.Subresource {
	view := &resource.View{PrepareForUpdate: h.Status, ResetFields: Reset("spec")}
	if check != nil {
		view.Validate = Change(check)
	}
	return resource.Subresource{Name: "status", View: view}
}

// Reset is a set of whole fields that an endpoint leaves alone.
func Reset(names ...string) *fieldpath.Set {
	set := fieldpath.NewSet()
	for _, name := range names {
		set.Insert(fieldpath.MakePathOrDie(name))
	}
	return set
}

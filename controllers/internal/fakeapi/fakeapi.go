// Package fakeapi is a small API server behind client-go's fake clientset, for
// the tests of the controllers. Unlike the plain fake it keeps the rules that
// controllers live by: resource versions and conflicts, UIDs, generateName,
// generations, status sub-resources, finalizers, propagation policies and
// graceful deletion of pods. It uses no network and no goroutine of its own.
package fakeapi

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"time"

	jsonpatch "gopkg.in/evanphx/json-patch.v4"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/kubernetes/scheme"
	clienttesting "k8s.io/client-go/testing"
)

// API is the server.
type API struct {
	Client *fake.Clientset
	// Lag, when set, is called for each watch event on its way to a watcher and
	// says how long the watcher sees it late. Set it before the first watch.
	Lag func(gvr schema.GroupVersionResource) time.Duration
	// Deny, when set, may refuse a write. Set it before the first write.
	Deny func(verb string, gvr schema.GroupVersionResource, o runtime.Object) error

	mu       sync.Mutex // guards all below
	revision int64
	serial   int
	objects  map[schema.GroupVersionResource]map[types.NamespacedName]runtime.Object
	watchers []*watcher
	writes   []string
	delivery sync.WaitGroup
}

type watcher struct {
	gvr       schema.GroupVersionResource
	namespace string
	ch        chan watch.Event
	api       *API
	pending   []watch.Event // late events, in order
	stopped   bool
}

// New makes a server that holds the objects.
func New(objects ...runtime.Object) *API {
	a := &API{Client: fake.NewClientset(), objects: map[schema.GroupVersionResource]map[types.NamespacedName]runtime.Object{}}
	a.Client.PrependReactor("*", "*", a.react)
	a.Client.PrependWatchReactor("*", func(action clienttesting.Action) (bool, watch.Interface, error) {
		w, err := a.watch(action.GetResource(), action.GetNamespace(), action.(clienttesting.WatchActionImpl).ListOptions)
		return true, w, err
	})
	for _, o := range objects {
		gvks, _, err := scheme.Scheme.ObjectKinds(o)
		if err != nil {
			panic(err)
		}
		gvr, _ := meta.UnsafeGuessKindToResource(gvks[0])
		if _, err := a.create(gvr, o.(metav1.Object).GetNamespace(), o.DeepCopyObject()); err != nil {
			panic(err)
		}
	}
	a.writes = nil
	return a
}

// Writes are the writes so far, such as "create pods a/b", without events.
func (a *API) Writes() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.writes)
}

// Wait returns when all late watch events have been delivered or dropped.
func (a *API) Wait() { a.delivery.Wait() }

func (a *API) react(action clienttesting.Action) (bool, runtime.Object, error) {
	gvr, ns := action.GetResource(), action.GetNamespace()
	switch action := action.(type) {
	case clienttesting.GetActionImpl:
		o, err := a.get(gvr, ns, action.Name)
		return true, o, err
	case clienttesting.ListActionImpl:
		o, err := a.list(gvr, ns, action.Kind, action.GetListRestrictions().Labels, action.ListOptions.FieldSelector)
		return true, o, err
	case clienttesting.CreateActionImpl:
		switch action.Subresource {
		case "":
		case "finalize": // a create to the fake clientset, a put on the wire
			o, err := a.update(gvr, ns, action.Object.DeepCopyObject(), action.Subresource)
			return true, o, err
		default:
			return false, nil, nil
		}
		o, err := a.create(gvr, ns, action.Object.DeepCopyObject())
		return true, o, err
	case clienttesting.UpdateActionImpl:
		o, err := a.update(gvr, ns, action.Object.DeepCopyObject(), action.Subresource)
		return true, o, err
	case clienttesting.PatchActionImpl:
		o, err := a.patch(gvr, ns, action.Name, action.PatchType, action.Patch, action.Subresource)
		return true, o, err
	case clienttesting.DeleteActionImpl:
		return true, nil, a.delete(gvr, ns, action.Name, action.DeleteOptions)
	case clienttesting.DeleteCollectionActionImpl:
		return true, nil, a.deleteCollection(gvr, ns, action.DeleteOptions)
	}
	return false, nil, nil
}

func (a *API) get(gvr schema.GroupVersionResource, ns, name string) (runtime.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	o, ok := a.objects[gvr][types.NamespacedName{Namespace: ns, Name: name}]
	if !ok {
		return nil, apierrors.NewNotFound(gvr.GroupResource(), name)
	}
	return o.DeepCopyObject(), nil
}

func (a *API) snapshot(gvr schema.GroupVersionResource, ns string, selector labels.Selector) (items []runtime.Object, revision int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for nn, o := range a.objects[gvr] {
		if (ns == "" || ns == nn.Namespace) && (selector == nil || selector.Matches(labels.Set(accessor(o).GetLabels()))) {
			items = append(items, o.DeepCopyObject())
		}
	}
	slices.SortFunc(items, func(x, y runtime.Object) int {
		xm, ym := accessor(x), accessor(y)
		switch {
		case xm.GetNamespace()+"/"+xm.GetName() < ym.GetNamespace()+"/"+ym.GetName():
			return -1
		}
		return 1
	})
	return items, a.revision
}

func (a *API) list(gvr schema.GroupVersionResource, ns string, kind schema.GroupVersionKind, selector labels.Selector, field string) (runtime.Object, error) {
	items, revision := a.snapshot(gvr, ns, selector)
	if name, ok := nameSelector(field); ok {
		items = slices.DeleteFunc(items, func(o runtime.Object) bool { return accessor(o).GetName() != name })
	}
	list, err := scheme.Scheme.New(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err != nil {
		return nil, err
	}
	if err := meta.SetList(list, items); err != nil {
		return nil, err
	}
	lm, err := meta.ListAccessor(list)
	if err != nil {
		return nil, err
	}
	lm.SetResourceVersion(strconv.FormatInt(revision, 10))
	return list, nil
}

func nameSelector(field string) (string, bool) {
	const prefix = "metadata.name="
	if len(field) > len(prefix) && field[:len(prefix)] == prefix {
		return field[len(prefix):], true
	}
	return "", false
}

func (a *API) create(gvr schema.GroupVersionResource, ns string, o runtime.Object) (runtime.Object, error) {
	if a.Deny != nil {
		if err := a.Deny("create", gvr, o); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	m := accessor(o)
	m.SetNamespace(ns)
	a.serial++
	if m.GetName() == "" {
		m.SetName(fmt.Sprintf("%s%05d", m.GetGenerateName(), a.serial))
	}
	nn := types.NamespacedName{Namespace: ns, Name: m.GetName()}
	if _, ok := a.objects[gvr][nn]; ok {
		return nil, apierrors.NewAlreadyExists(gvr.GroupResource(), nn.Name)
	}
	if m.GetUID() == "" {
		m.SetUID(types.UID(fmt.Sprintf("uid-%d", a.serial)))
	}
	if created := m.GetCreationTimestamp(); created.IsZero() {
		m.SetCreationTimestamp(metav1.NewTime(time.Now().Truncate(time.Second)))
	}
	m.SetGeneration(1)
	if namespace, ok := o.(*corev1.Namespace); ok {
		namespace.Spec.Finalizers = []corev1.FinalizerName{corev1.FinalizerKubernetes}
		namespace.Status.Phase = corev1.NamespaceActive
	}
	a.note("create", gvr, nn)
	a.store(watch.Added, gvr, nn, o)
	return o.DeepCopyObject(), nil
}

func (a *API) update(gvr schema.GroupVersionResource, ns string, o runtime.Object, sub string) (runtime.Object, error) {
	verb := "update"
	if sub != "" {
		verb += " " + sub + " of"
	}
	if a.Deny != nil {
		if err := a.Deny(verb, gvr, o); err != nil {
			return nil, err
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.replace(verb, gvr, ns, o, sub)
}

func (a *API) replace(verb string, gvr schema.GroupVersionResource, ns string, o runtime.Object, sub string) (runtime.Object, error) {
	m := accessor(o)
	nn := types.NamespacedName{Namespace: ns, Name: m.GetName()}
	old, ok := a.objects[gvr][nn]
	if !ok {
		return nil, apierrors.NewNotFound(gvr.GroupResource(), nn.Name)
	}
	om := accessor(old)
	if rv := m.GetResourceVersion(); rv != "" && rv != om.GetResourceVersion() {
		return nil, apierrors.NewConflict(gvr.GroupResource(), nn.Name, fmt.Errorf("the object has been modified"))
	}
	if uid := m.GetUID(); uid != "" && uid != om.GetUID() {
		return nil, apierrors.NewConflict(gvr.GroupResource(), nn.Name, fmt.Errorf("another UID"))
	}
	m.SetNamespace(ns)
	m.SetUID(om.GetUID())
	m.SetCreationTimestamp(om.GetCreationTimestamp())
	m.SetDeletionTimestamp(om.GetDeletionTimestamp())
	m.SetGeneration(om.GetGeneration())
	keep(o, old, sub)
	if !reflect.DeepEqual(part(o, "Spec"), part(old, "Spec")) {
		m.SetGeneration(om.GetGeneration() + 1)
	}
	m.SetResourceVersion(om.GetResourceVersion())
	if reflect.DeepEqual(o, old) {
		return o.DeepCopyObject(), nil
	}
	a.note(verb, gvr, nn)
	if m.GetDeletionTimestamp() != nil && len(m.GetFinalizers()) == 0 && !holds(o) {
		a.remove(gvr, nn, o)
		return o.DeepCopyObject(), nil
	}
	a.store(watch.Modified, gvr, nn, o)
	return o.DeepCopyObject(), nil
}

// holds reports whether a deleted object stays for another reason than finalizers.
func holds(o runtime.Object) bool {
	switch o := o.(type) {
	case *corev1.Pod:
		return o.DeletionGracePeriodSeconds != nil && *o.DeletionGracePeriodSeconds > 0
	case *corev1.Namespace:
		return len(o.Spec.Finalizers) > 0
	}
	return false
}

// keep puts back the parts that a request to the sub-resource must not change.
func keep(o, old runtime.Object, sub string) {
	from, to := reflect.ValueOf(old.DeepCopyObject()).Elem(), reflect.ValueOf(o).Elem()
	back := func(field string) {
		if f := to.FieldByName(field); f.IsValid() {
			f.Set(from.FieldByName(field))
		}
	}
	switch sub {
	case "":
		back("Status")
		if _, ok := o.(*corev1.Namespace); ok {
			back("Spec")
		}
	case "status":
		back("Spec")
		accessor(o).SetFinalizers(accessor(old).GetFinalizers())
	case "finalize":
		back("Status")
	}
}

func part(o runtime.Object, field string) any {
	if f := reflect.ValueOf(o).Elem().FieldByName(field); f.IsValid() {
		return f.Interface()
	}
	return nil
}

func (a *API) patch(gvr schema.GroupVersionResource, ns, name string, pt types.PatchType, data []byte, sub string) (runtime.Object, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	old, ok := a.objects[gvr][types.NamespacedName{Namespace: ns, Name: name}]
	if !ok {
		return nil, apierrors.NewNotFound(gvr.GroupResource(), name)
	}
	if a.Deny != nil {
		if err := a.Deny("patch", gvr, old); err != nil {
			return nil, err
		}
	}
	before, err := json.Marshal(old)
	if err != nil {
		return nil, err
	}
	var after []byte
	switch pt {
	case types.StrategicMergePatchType, types.ApplyPatchType: // nobody's fields are kept apart
		after, err = strategicpatch.StrategicMergePatch(before, data, old)
	case types.MergePatchType:
		after, err = jsonpatch.MergePatch(before, data)
	case types.JSONPatchType:
		var p jsonpatch.Patch
		if p, err = jsonpatch.DecodePatch(data); err == nil {
			after, err = p.Apply(before)
		}
	default:
		err = fmt.Errorf("patch type %s", pt)
	}
	if err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	o := reflect.New(reflect.TypeOf(old).Elem()).Interface().(runtime.Object)
	if err := json.Unmarshal(after, o); err != nil {
		return nil, apierrors.NewBadRequest(err.Error())
	}
	verb := "patch"
	if sub != "" {
		verb += " " + sub + " of"
	}
	return a.replace(verb, gvr, ns, o, sub)
}

func accessor(o runtime.Object) metav1.Object {
	m, err := meta.Accessor(o)
	if err != nil {
		panic(err)
	}
	return m
}

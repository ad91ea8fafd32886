package customresources_test

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"

	"github.com/strake-io/strake/store"
	"github.com/strake-io/strake/store/memory"
)

const ships = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: ships, kind: Ship, shortNames: [sh], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources:
      status: {}
      scale: {specReplicasPath: .spec.boats.count, statusReplicasPath: .status.boats}
    selectableFields: [{jsonPath: .spec.flag}]
    additionalPrinterColumns:
    - {name: Flag, type: string, jsonPath: .spec.flag}
    - {name: Masts, type: integer, jsonPath: .spec.masts}
    - {name: Ready, type: string, jsonPath: '.status.conditions[?(@.type=="Ready")].status'}
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [flag]
            x-kubernetes-validations:
            - rule: "self.masts >= oldSelf.masts"
              message: masts do not go
              fieldPath: .masts
              reason: FieldValueForbidden
            properties:
              flag: {type: string, minLength: 2}
              masts: {type: integer, default: 1, maximum: 9}
              boats: {type: object, properties: {count: {type: integer}}}
              port: {x-kubernetes-int-or-string: true}
              open: {type: object, x-kubernetes-preserve-unknown-fields: true, properties: {known: {type: object, properties: {a: {type: string}}}}}
              holds:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items: {type: object, required: [name], properties: {name: {type: string}, tons: {type: integer}}}
          status:
            type: object
            properties:
              boats: {type: integer, minimum: 0}
              conditions: {type: array, items: {type: object, properties: {type: {type: string}, status: {type: string}}}}
`

func ship(t testing.TB, name, spec string) *unstructured.Unstructured {
	return object(t, "{apiVersion: example.com/v1, kind: Ship, metadata: {name: "+name+"}, spec: "+spec+"}")
}

func TestLifeOfAKind(t *testing.T) {
	w, ctx := start(t), context.Background()
	began := time.Now()
	w.define(ships)
	if took := time.Since(began); took > time.Second {
		t.Errorf("established after %s", took)
	}
	created, err := w.of("v1").Create(ctx, ship(t, "a", `{flag: nl, nonsense: 1, port: 80, open: {x: {z: 1}, known: {a: b, c: d}}}`), metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"flag": "nl", "masts": int64(1), "port": int64(80), "open": map[string]any{"x": map[string]any{"z": int64(1)}, "known": map[string]any{"a": "b"}}}
	if diff := cmp.Diff(want, created.Object["spec"]); diff != "" {
		t.Error(diff)
	}
	if created.GetGeneration() != 1 {
		t.Errorf("generation %d", created.GetGeneration())
	}

	// The stored form is upstream's.
	kv, _, err := w.store.Get(ctx, "/registry/example.com/ships/default/a")
	if err != nil || kv == nil || !strings.HasPrefix(string(kv.Value), `{"apiVersion":"example.com/v1","kind":"Ship","metadata":{`) || !strings.HasSuffix(string(kv.Value), "}\n") {
		t.Errorf("stored: %v %v", kv, err)
	}

	// Discovery has it at once, and the openapi documents.
	lists, err := discovery.NewDiscoveryClientForConfigOrDie(w.config).ServerResourcesForGroupVersion("example.com/v1")
	if err != nil || len(lists.APIResources) != 3 || lists.APIResources[0].SingularName != "ship" {
		t.Errorf("discovery: %+v %v", lists, err)
	}
	document, err := w.crds.Discovery().RESTClient().Get().AbsPath("/openapi/v3/apis/example.com/v1").DoRaw(ctx)
	if err != nil || !strings.Contains(string(document), `"com.example.v1.Ship"`) || !strings.Contains(string(document), `"com.example.v1.ShipList"`) {
		t.Errorf("openapi: %.200s %v", document, err)
	}

	watch, err := w.of("v1").Watch(ctx, metav1.ListOptions{ResourceVersion: created.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.crds.ApiextensionsV1().CustomResourceDefinitions().Delete(ctx, "ships.example.com", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	var last string
	for ev := range watch.ResultChan() {
		last = string(ev.Type)
	}
	if last != "DELETED" {
		t.Errorf("the watch's last event was %q", last)
	}
	gone(t, func() error {
		_, err := w.crds.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, "ships.example.com", metav1.GetOptions{})
		return err
	})
	gone(t, func() error {
		_, err := w.of("v1").List(ctx, metav1.ListOptions{})
		return err
	})
	if kv, _, err := w.store.Get(ctx, "/registry/example.com/ships/default/a"); err != nil || kv != nil {
		t.Errorf("left in the store: %v %v", kv, err)
	}
}

func gone(t *testing.T, ask func() error) {
	t.Helper()
	for began := time.Now(); time.Since(began) < 10*time.Second; time.Sleep(time.Millisecond) {
		if err := ask(); apierrors.IsNotFound(err) {
			return
		}
	}
	t.Error("it is still there")
}

func TestRefused(t *testing.T) {
	w, ctx := start(t), context.Background()
	w.define(ships)
	if _, err := w.of("v1").Create(ctx, ship(t, "a", "{flag: nl, masts: 3}"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ spec, want string }{
		"missing":    {"{masts: 2}", `Ship.example.com "x" is invalid: [spec.flag: Required value, <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		"too short":  {"{flag: m}", `Ship.example.com "x" is invalid: spec.flag: Invalid value: "m": spec.flag in body should be at least 2 chars long`},
		"too large":  {"{flag: nl, masts: 10}", `Ship.example.com "x" is invalid: spec.masts: Invalid value: 10: spec.masts in body should be less than or equal to 9`},
		"wrong type": {"{flag: 1}", `Ship.example.com "x" is invalid: [spec.flag: Invalid value: "integer": spec.flag in body must be of type string: "integer", <nil>: Invalid value: null: some validation rules were not checked because the object was invalid; correct the existing errors to complete validation]`},
		"twice":      {"{flag: nl, holds: [{name: a}, {name: a}]}", `Ship.example.com "x" is invalid: spec.holds[1]: Duplicate value: {"name":"a"}`},
		"replicas":   {"{flag: nl, boats: {count: -1}}", `Ship.example.com "x" is invalid: .spec.boats.count: Invalid value: -1: should be a non-negative integer`},
	} {
		_, err := w.of("v1").Create(ctx, ship(t, "x", test.spec), metav1.CreateOptions{})
		if err == nil || err.Error() != test.want {
			t.Errorf("%s:\n got %v\nwant %s", name, err, test.want)
		}
	}
	_, err := w.of("v1").Create(ctx, ship(t, "x", "{flag: nl, a: 1, b: {c: 1}}"), metav1.CreateOptions{FieldValidation: "Strict"})
	if want := `Ship in version "v1" cannot be handled as a Ship: strict decoding error: unknown field "spec.a", unknown field "spec.b"`; err == nil || err.Error() != want {
		t.Errorf("strict: %v", err)
	}
	_, err = w.of("v1").Patch(ctx, "a", types.MergePatchType, []byte(`{"spec":{"masts":2}}`), metav1.PatchOptions{})
	if want := `Ship.example.com "a" is invalid: spec.masts: Forbidden: masts do not go`; err == nil || err.Error() != want {
		t.Errorf("transition: %v", err)
	}
	_, err = w.of("v1").Patch(ctx, "a", types.StrategicMergePatchType, []byte(`{}`), metav1.PatchOptions{})
	if !apierrors.IsUnsupportedMediaType(err) {
		t.Errorf("strategic merge: %v", err)
	}
}

func TestStatusAndScale(t *testing.T) {
	w, ctx := start(t), context.Background()
	w.define(ships)
	made := ship(t, "a", "{flag: nl, boats: {count: 2}}")
	made.Object["status"] = map[string]any{"boats": int64(5)}
	a, err := w.of("v1").Create(ctx, made, metav1.CreateOptions{})
	if err != nil || a.Object["status"] != nil {
		t.Fatalf("status set by create: %v %v", a, err)
	}
	a.Object["status"] = map[string]any{"boats": int64(1)}
	a.Object["spec"].(map[string]any)["flag"] = "uk"
	if a, err = w.of("v1").UpdateStatus(ctx, a, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	flag, _, _ := unstructured.NestedString(a.Object, "spec", "flag")
	boats, _, _ := unstructured.NestedInt64(a.Object, "status", "boats")
	if flag != "nl" || boats != 1 || a.GetGeneration() != 1 {
		t.Errorf("after a status update: %v", a.Object)
	}
	scale, err := w.of("v1").Get(ctx, "a", metav1.GetOptions{}, "scale")
	if err != nil || scale.GetKind() != "Scale" {
		t.Fatalf("%v %v", scale, err)
	}
	if diff := cmp.Diff(map[string]any{"replicas": int64(2)}, scale.Object["spec"]); diff != "" {
		t.Error(diff)
	}
	if _, err := w.of("v1").Patch(ctx, "a", types.MergePatchType, []byte(`{"spec":{"replicas":7}}`), metav1.PatchOptions{}, "scale"); err != nil {
		t.Fatal(err)
	}
	if a, err = w.of("v1").Get(ctx, "a", metav1.GetOptions{}); err != nil {
		t.Fatal(err)
	}
	if n, _, _ := unstructured.NestedInt64(a.Object, "spec", "boats", "count"); n != 7 || a.GetGeneration() != 2 {
		t.Errorf("after scaling: %v", a.Object)
	}
}

func TestSelectAndPrint(t *testing.T) {
	w, ctx := start(t), context.Background()
	w.define(ships)
	for name, flag := range map[string]string{"a": "nl", "b": "uk", "c": "nl"} {
		if _, err := w.of("v1").Create(ctx, ship(t, name, "{flag: "+flag+"}"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	list, err := w.of("v1").List(ctx, metav1.ListOptions{FieldSelector: "spec.flag=nl"})
	if err != nil || len(list.Items) != 2 || list.GetKind() != "ShipList" {
		t.Errorf("selected: %v %v", list, err)
	}
	if _, err := w.of("v1").List(ctx, metav1.ListOptions{FieldSelector: "spec.masts=1"}); err == nil || err.Error() != "field label not supported: spec.masts" {
		t.Errorf("unknown field: %v", err)
	}
	data, err := w.crds.Discovery().RESTClient().Get().AbsPath("/apis/example.com/v1/namespaces/default/ships").
		SetHeader("Accept", "application/json;as=Table;v=v1;g=meta.k8s.io").DoRaw(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var table metav1.Table
	if err := json.Unmarshal(data, &table); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]any{"b", "uk", float64(1), nil}, table.Rows[1].Cells); diff != "" {
		t.Error(diff)
	}
}

func TestApply(t *testing.T) {
	w, ctx := start(t), context.Background()
	w.define(ships)
	apply := func(manager, spec string, force bool) (*unstructured.Unstructured, error) {
		return w.of("v1").Apply(ctx, "a", ship(t, "a", spec), metav1.ApplyOptions{FieldManager: manager, Force: force})
	}
	if _, err := apply("one", "{flag: nl, holds: [{name: x, tons: 1}]}", false); err != nil {
		t.Fatal(err)
	}
	a, err := apply("two", "{flag: nl, holds: [{name: z, tons: 2}]}", false)
	if err != nil {
		t.Fatal(err)
	}
	if holds, _, _ := unstructured.NestedSlice(a.Object, "spec", "holds"); len(holds) != 2 {
		t.Errorf("lists by key merge: %v", holds)
	}
	if _, err = apply("two", "{flag: uk}", false); !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `conflict with "one"`) {
		t.Errorf("conflict: %v", err)
	}
	if a, err = apply("one", "{flag: nl}", true); err != nil {
		t.Fatal(err)
	}
	if holds, _, _ := unstructured.NestedSlice(a.Object, "spec", "holds"); len(holds) != 1 {
		t.Errorf("what its manager leaves out goes: %v", holds)
	}
}

// Two definitions want the same names: the first has them, and the second gets them
// when the first goes.
func TestNamesConflict(t *testing.T) {
	w, ctx := start(t), context.Background()
	w.define(ships)
	second := strings.NewReplacer("ships", "vessels").Replace(ships)
	if _, err := w.crds.ApiextensionsV1().CustomResourceDefinitions().Create(ctx, definition(t, second), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	crd := w.await("vessels.example.com", apiextensionsv1.NamesAccepted, apiextensionsv1.ConditionFalse)
	for _, c := range crd.Status.Conditions {
		if c.Type == apiextensionsv1.NamesAccepted && (c.Reason != "ListKindConflict" || c.Message != `"ShipList" is already in use`) {
			t.Errorf("%+v", c)
		}
		if c.Type == apiextensionsv1.Established && c.Status != apiextensionsv1.ConditionFalse {
			t.Errorf("%+v", c)
		}
	}
	if err := w.crds.ApiextensionsV1().CustomResourceDefinitions().Delete(ctx, "ships.example.com", metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	w.await("vessels.example.com", apiextensionsv1.Established, apiextensionsv1.ConditionTrue)
}

// A definition that is there when the server starts is served once it is ready.
func TestRestart(t *testing.T) {
	s, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	t.Run("before", func(t *testing.T) {
		w := startOn(t, store.Store(s))
		w.define(ships)
		if _, err := w.of("v1").Create(context.Background(), ship(t, "a", "{flag: nl}"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("after", func(t *testing.T) {
		w := startOn(t, store.Store(s))
		if _, err := w.of("v1").Get(context.Background(), "a", metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
	})
}

// A change of the schema counts from its acknowledgement on, and what is stored is
// not held to it until it changes there.
func TestSchemaChange(t *testing.T) {
	w, ctx := start(t), context.Background()
	crd := w.define(ships)
	if _, err := w.of("v1").Create(ctx, ship(t, "a", "{flag: nl, holds: [{name: x}]}"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	spec := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
	flag, three, two := spec.Properties["flag"], int64(3), apiextensionsv1.JSON{Raw: []byte("2")}
	flag.MinLength = &three
	spec.Properties["flag"] = flag
	spec.Properties["decks"] = apiextensionsv1.JSONSchemaProps{Type: "integer", Default: &two}
	crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"] = spec
	if _, err := w.crds.ApiextensionsV1().CustomResourceDefinitions().Update(ctx, crd, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	for began := time.Now(); ; time.Sleep(time.Millisecond) {
		a, err := w.of("v1").Get(ctx, "a", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if decks, _, _ := unstructured.NestedInt64(a.Object, "spec", "decks"); decks == 2 {
			break // a default that is newer than the object
		}
		if time.Since(began) > 10*time.Second {
			t.Fatal("the new schema never came")
		}
	}
	if _, err := w.of("v1").Patch(ctx, "a", types.MergePatchType, []byte(`{"spec":{"masts":4}}`), metav1.PatchOptions{}); err != nil {
		t.Errorf("what did not change is forgiven: %v", err)
	}
	if _, err := w.of("v1").Patch(ctx, "a", types.MergePatchType, []byte(`{"spec":{"flag":"uk"}}`), metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("what changes is not: %v", err)
	}
}

// Clients of a group send options that are of its version, as controller-runtime's
// does.
func TestDeleteOptionsOfTheGroup(t *testing.T) {
	w, ctx := start(t), context.Background()
	w.define(ships)
	for _, name := range []string{"a", "b"} {
		if _, err := w.of("v1").Create(ctx, ship(t, name, "{flag: nl}"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	for name, body := range map[string]string{
		"a": `{"kind":"DeleteOptions","apiVersion":"example.com/v1","propagationPolicy":"Background"}`,
		"b": "kind: DeleteOptions\napiVersion: example.com/v1\n",
	} {
		media := "application/json"
		if body[0] != '{' {
			media = "application/yaml"
		}
		path := "/apis/example.com/v1/namespaces/default/ships/" + name
		if err := w.crds.Discovery().RESTClient().Delete().AbsPath(path).SetHeader("Content-Type", media).Body([]byte(body)).Do(ctx).Error(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	err := w.crds.Discovery().RESTClient().Delete().AbsPath("/apis/example.com/v1/namespaces/default/ships/a").
		SetHeader("Content-Type", "application/json").Body([]byte(`{"kind":"Ship","apiVersion":"example.com/v1"}`)).Do(ctx).Error()
	if !apierrors.IsBadRequest(err) {
		t.Errorf("another kind: %v", err)
	}
}

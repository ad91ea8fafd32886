package customresources_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
)

const twoVersions = `
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: ships.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: ships, kind: Ship}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {flag: {type: string}, masts: {type: integer}}}}}}
  - name: v2
    served: true
    storage: false
    schema: {openAPIV3Schema: {type: object, properties: {spec: {type: object, properties: {colours: {type: string}, flag: {type: string}}}}}}
`

// By name alone: the fields that the other version does not know are not there.
func TestConversionByName(t *testing.T) {
	w, ctx := start(t), context.Background()
	w.define(twoVersions)
	if _, err := w.of("v1").Create(ctx, ship(t, "a", "{flag: nl, masts: 3}"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	a, err := w.of("v2").Get(ctx, "a", metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if spec := a.Object["spec"].(map[string]any); a.GetAPIVersion() != "example.com/v2" || len(spec) != 1 || spec["flag"] != "nl" {
		t.Errorf("%v", a.Object)
	}
	list, err := w.of("v2").List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != 1 || list.GetAPIVersion() != "example.com/v2" || list.Items[0].GetAPIVersion() != "example.com/v2" {
		t.Errorf("%v %v", list, err)
	}
}

// hook is a conversion webhook: colours in v2 are the flag in v1.
type hook struct {
	calls, objects atomic.Int64
	failure        atomic.Pointer[string]
}

func (h *hook) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var review apiextensionsv1.ConversionReview
	if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	h.calls.Add(1)
	h.objects.Add(int64(len(review.Request.Objects)))
	response := &apiextensionsv1.ConversionResponse{UID: review.Request.UID, Result: metav1.Status{Status: metav1.StatusSuccess}}
	if text := h.failure.Load(); text != nil {
		response.Result = metav1.Status{Status: metav1.StatusFailure, Message: *text}
	}
	for _, raw := range review.Request.Objects {
		u := &unstructured.Unstructured{}
		if err := u.UnmarshalJSON(raw.Raw); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		u.SetAPIVersion(review.Request.DesiredAPIVersion)
		if spec, ok := u.Object["spec"].(map[string]any); ok {
			from, to := "flag", "colours"
			if strings.HasSuffix(review.Request.DesiredAPIVersion, "/v1") {
				from, to = to, from
			}
			spec[to] = spec[from]
			delete(spec, from)
		}
		u.SetLabels(map[string]string{"converted": "yes"})
		u.SetResourceVersion("1") // not for a webhook to change
		data, _ := u.MarshalJSON()
		response.ConvertedObjects = append(response.ConvertedObjects, runtime.RawExtension{Raw: data})
	}
	review.Request, review.Response = nil, response
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(review)
}

func TestConversionWebhook(t *testing.T) {
	h := &hook{}
	tls := httptest.NewTLSServer(h)
	defer tls.Close()
	w, ctx := start(t), context.Background()
	crd := definition(t, twoVersions)
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: tls.Certificate().Raw})
	url := tls.URL + "/convert"
	crd.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{
		Strategy: apiextensionsv1.WebhookConverter,
		Webhook: &apiextensionsv1.WebhookConversion{
			ClientConfig:             &apiextensionsv1.WebhookClientConfig{URL: &url, CABundle: bundle},
			ConversionReviewVersions: []string{"v1"},
		},
	}
	if _, err := w.crds.ApiextensionsV1().CustomResourceDefinitions().Create(ctx, crd, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	w.await(crd.Name, apiextensionsv1.Established, apiextensionsv1.ConditionTrue)

	// Written in v2, stored in v1, read in both.
	made := object(t, "{apiVersion: example.com/v2, kind: Ship, metadata: {name: a}, spec: {colours: red}}")
	a, err := w.of("v2").Create(ctx, made, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if a.GetAPIVersion() != "example.com/v2" {
		t.Errorf("%v", a.Object)
	}
	kv, _, err := w.store.Get(ctx, "/registry/example.com/ships/default/a")
	if err != nil || kv == nil || !strings.Contains(string(kv.Value), `"spec":{"flag":"red"}`) || !strings.HasPrefix(string(kv.Value), `{"apiVersion":"example.com/v1"`) {
		t.Fatalf("stored: %v %v", kv, err)
	}
	before := h.calls.Load()
	if a, err = w.of("v1").Get(ctx, "a", metav1.GetOptions{}); err != nil || h.calls.Load() != before {
		t.Errorf("the stored version needs no conversion: %v", err)
	}
	if flag, _, _ := unstructured.NestedString(a.Object, "spec", "flag"); flag != "red" || a.GetLabels()["converted"] != "yes" {
		t.Errorf("%v", a.Object)
	}

	// A list is one call.
	for _, name := range []string{"b", "c", "d"} {
		if _, err := w.of("v1").Create(ctx, ship(t, name, "{flag: nl}"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	before, objects := h.calls.Load(), h.objects.Load()
	list, err := w.of("v2").List(ctx, metav1.ListOptions{})
	if err != nil || len(list.Items) != 4 || h.calls.Load() != before+1 || h.objects.Load() != objects+4 {
		t.Errorf("%v %v", list, err)
	}
	if version := list.Items[0].GetResourceVersion(); version != a.GetResourceVersion() {
		t.Errorf("a webhook changed the version to %s", version)
	}

	// Fields are owned in the version in which they were set.
	if a, err = w.of("v2").Apply(ctx, "a", object(t, "{apiVersion: example.com/v2, kind: Ship, metadata: {name: a}, spec: {colours: blue}}"), metav1.ApplyOptions{FieldManager: "two", Force: true}); err != nil {
		t.Fatal(err)
	}
	if _, err = w.of("v1").Apply(ctx, "a", ship(t, "a", "{flag: green}"), metav1.ApplyOptions{FieldManager: "one"}); err == nil || !strings.Contains(err.Error(), `conflict with "two": .spec.colours`) {
		t.Errorf("conflict across versions: %v", err)
	}
	watch, err := w.of("v2").Watch(ctx, metav1.ListOptions{ResourceVersion: a.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	defer watch.Stop()
	if _, err := w.of("v1").Patch(ctx, "a", types.MergePatchType, []byte(`{"spec":{"flag":"white"}}`), metav1.PatchOptions{}); err != nil {
		t.Fatal(err)
	}
	ev := <-watch.ResultChan()
	if colours, _, _ := unstructured.NestedString(ev.Object.(*unstructured.Unstructured).Object, "spec", "colours"); colours != "white" {
		t.Errorf("watched: %v", ev.Object)
	}

	// Its failures are the client's to see.
	text := "out of paint"
	h.failure.Store(&text)
	if _, err := w.of("v2").Get(ctx, "a", metav1.GetOptions{}); err == nil || err.Error() != "conversion webhook for example.com/v1, Kind=Ship failed: out of paint" {
		t.Errorf("%v", err)
	}
	tls.Close()
	if _, err := w.of("v2").Get(ctx, "a", metav1.GetOptions{}); err == nil || !strings.Contains(err.Error(), "conversion webhook for example.com/v1, Kind=Ship failed: Post ") {
		t.Errorf("%v", err)
	}
}

// The storage version changes: what is stored in the old one is still read, and
// rewritten when it is next written.
func TestStorageMigration(t *testing.T) {
	w, ctx := start(t), context.Background()
	crd := w.define(twoVersions)
	if _, err := w.of("v1").Create(ctx, ship(t, "a", "{flag: nl}"), metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	crd.Spec.Versions[0].Storage, crd.Spec.Versions[0].Served, crd.Spec.Versions[1].Storage = false, false, true
	crd, err := w.crds.ApiextensionsV1().CustomResourceDefinitions().Update(ctx, crd, metav1.UpdateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(crd.Status.StoredVersions, " "); got != "v1 v2" {
		t.Errorf("stored versions: %s", got)
	}
	gone(t, func() error {
		_, err := w.of("v1").Get(ctx, "a", metav1.GetOptions{})
		return err
	})
	a, err := w.of("v2").Get(ctx, "a", metav1.GetOptions{})
	if err != nil || a.GetAPIVersion() != "example.com/v2" {
		t.Fatalf("%v %v", a, err)
	}
	if _, err := w.of("v2").Update(ctx, a, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	kv, _, err := w.store.Get(ctx, "/registry/example.com/ships/default/a")
	if err != nil || kv == nil || !strings.HasPrefix(string(kv.Value), `{"apiVersion":"example.com/v2"`) {
		t.Errorf("stored: %s %v", kv.Value, err)
	}
	crd.Spec.Versions = crd.Spec.Versions[1:]
	if _, err := w.crds.ApiextensionsV1().CustomResourceDefinitions().Update(ctx, crd, metav1.UpdateOptions{}); err == nil || !strings.Contains(err.Error(), "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions; v1 was previously a storage version") {
		t.Errorf("a version that objects may be stored in: %v", err)
	}
}

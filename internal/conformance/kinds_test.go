package conformance

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/yaml"
)

//go:embed testdata/kinds.yaml
var kindsYAML string

// manifests are the documents of testdata/kinds.yaml by kind.
func manifests(t testing.TB) map[schema.GroupVersionKind]string {
	t.Helper()
	out := map[schema.GroupVersionKind]string{}
	for _, doc := range strings.Split(kindsYAML, "\n---\n") {
		var head metav1.TypeMeta
		if err := yaml.Unmarshal([]byte(doc), &head); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		out[head.GroupVersionKind()] = doc
	}
	return out
}

// statuses are what is written to the status of a kind: a merge patch that is
// valid for a new object of it. Other kinds get an empty one.
var statuses = map[string]string{
	"Deployment":              `{"status":{"observedGeneration":7}}`,
	"ReplicaSet":              `{"status":{"observedGeneration":7}}`,
	"StatefulSet":             `{"status":{"observedGeneration":7}}`,
	"DaemonSet":               `{"status":{"observedGeneration":7}}`,
	"ReplicationController":   `{"status":{"observedGeneration":7}}`,
	"Job":                     `{"status":{"ready":0,"terminating":0}}`,
	"PodDisruptionBudget":     `{"status":{"observedGeneration":7}}`,
	"Pod":                     `{"status":{"message":"tested"}}`,
	"Node":                    `{"status":{"nodeInfo":{"machineID":"tested"}}}`,
	"ResourceQuota":           `{"status":{"used":{"count/nowhere.example.com":"7"}}}`,
	"Service":                 `{"status":{"conditions":[{"type":"Tested","status":"True","reason":"R","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`,
	"PersistentVolume":        `{"status":{"message":"tested"}}`,
	"PersistentVolumeClaim":   `{"status":{"capacity":{"storage":"1Gi"}}}`,
	"Ingress":                 `{"status":{"loadBalancer":{"ingress":[{"ip":"10.9.9.9"}]}}}`,
	"VolumeAttachment":        `{"status":{"attachmentMetadata":{"a":"b"}}}`,
	"FlowSchema":              `{"status":{"conditions":[{"type":"Tested","status":"True","reason":"R","message":"m","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`,
	"HorizontalPodAutoscaler": `{"status":{"observedGeneration":7}}`,
	"StorageVersionMigration": `{"status":{"resourceVersion":"7"}}`,
	"DeviceTaintRule":         `{"status":{"conditions":[{"type":"Tested","status":"True","reason":"R","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}}`,
}

var serial atomic.Int64

// fill makes an object of a manifest, under a free name, in a namespace.
func fill(t testing.TB, manifest, namespace string) *unstructured.Unstructured {
	t.Helper()
	n := serial.Add(1)
	request, stub, bundle := certificateFiles(t)
	letters := strings.Map(func(r rune) rune { return r - '0' + 'a' }, fmt.Sprint(n))
	text := strings.NewReplacer(
		"NAME", fmt.Sprintf("conformance-%d", n), "NS", namespace, "PLURALKIND", "Thing"+letters, "PLURAL", "things"+letters,
		"ADDRESS", fmt.Sprintf("10.98.%d.%d", n/250, n%250+1), "REQUEST", request, "STUB", stub, "BUNDLE", bundle,
	).Replace(manifest)
	obj := &unstructured.Unstructured{}
	if err := yaml.Unmarshal([]byte(text), &obj.Object); err != nil {
		t.Fatalf("%v in\n%s", err, text)
	}
	labels := obj.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	labels["suite"] = namespace
	obj.SetLabels(labels)
	return obj
}

// certificateFiles are a request for a certificate, in PEM and in DER, in base64, and a
// certificate to trust, as a string in JSON.
func certificateFiles(t testing.TB) (request, stub, bundle string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "bob"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	anchor, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: anchor})))
	if err != nil {
		t.Fatal(err)
	}
	request = base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der}))
	return request, base64.StdEncoding.EncodeToString(der), string(text)
}

// kind is one served resource under test.
type kind struct {
	*clients
	resource   metav1.APIResource
	gvr        schema.GroupVersionResource
	gvk        schema.GroupVersionKind
	manifest   string
	namespace  string
	sub        map[string]bool
	objects    dynamic.ResourceInterface
	everywhere dynamic.ResourceInterface
}

// TestEveryKind takes each resource that is served and can be created through
// every verb that a client has.
func TestEveryKind(t *testing.T) {
	c := connect(t)
	_, lists, err := c.discovery.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	documents := manifests(t)
	served := map[schema.GroupVersionKind]bool{}
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasSuffix(gv.Group, ".example.com") {
			continue // another test's own
		}
		subs := map[string]map[string]bool{}
		for _, r := range list.APIResources {
			if of, sub, ok := strings.Cut(r.Name, "/"); ok {
				if subs[of] == nil {
					subs[of] = map[string]bool{}
				}
				subs[of][sub] = true
			}
		}
		for _, r := range list.APIResources {
			if strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "create") || !slices.Contains(r.Verbs, "list") {
				continue
			}
			gvk := gv.WithKind(r.Kind)
			served[gvk] = true
			t.Run(r.Name+"."+gv.String(), func(t *testing.T) {
				t.Parallel()
				manifest, ok := documents[gvk]
				if !ok {
					t.Fatalf("testdata/kinds.yaml has no %s", gvk)
				}
				k := &kind{clients: c, resource: r, gvr: gv.WithResource(r.Name), gvk: gvk, manifest: manifest, sub: subs[r.Name]}
				k.namespace = c.namespace(t)
				k.everywhere = c.dynamic.Resource(k.gvr)
				k.objects = k.everywhere
				if r.Namespaced {
					k.objects = c.dynamic.Resource(k.gvr).Namespace(k.namespace)
				}
				k.test(t)
			})
		}
	}
	for gvk := range documents {
		if !served[gvk] && !alpha[gvk.Kind] {
			t.Errorf("%s is not served", gvk)
		}
	}
}

// alpha kinds have a document in testdata, for the day on which they are served.
var alpha = map[string]bool{}

func (k *kind) test(t *testing.T) {
	ctx := t.Context()
	selected := metav1.ListOptions{LabelSelector: "suite=" + k.namespace}
	before, err := k.objects.List(ctx, selected)
	if err != nil {
		t.Fatal(err)
	}
	events, err := k.objects.Watch(ctx, metav1.ListOptions{LabelSelector: selected.LabelSelector, ResourceVersion: before.GetResourceVersion()})
	if err != nil {
		t.Fatal(err)
	}
	defer events.Stop()

	obj := k.create(t)
	k.expect(t, events, watch.Added, obj.GetName())
	k.read(t, obj)
	k.write(t, obj)
	if k.sub["status"] {
		k.status(t, obj)
	}
	k.apply(t, obj)
	k.delete(t, obj)
	k.expect(t, events, watch.Deleted, obj.GetName())
	k.deleteCollection(t, selected)
}

// expect reads the watch up to an event of a type about an object.
func (k *kind) expect(t *testing.T, events watch.Interface, want watch.EventType, name string) {
	t.Helper()
	timeout := time.After(30 * time.Second)
	for {
		select {
		case ev, ok := <-events.ResultChan():
			if !ok {
				t.Fatalf("the watch ended before %s", want)
			}
			accessor, err := meta.Accessor(ev.Object)
			if err != nil {
				t.Fatalf("the watch says %s %v", ev.Type, ev.Object)
			}
			if ev.Type == want && accessor.GetName() == name {
				return
			}
		case <-timeout:
			t.Fatalf("the watch tells of no %s %s", want, name)
		}
	}
}

func (k *kind) create(t *testing.T) *unstructured.Unstructured {
	ctx := t.Context()
	wanted := fill(t, k.manifest, k.namespace)
	unknown := wanted.DeepCopy()
	unknown.Object["nonsense"] = "x"
	_, err := k.objects.Create(ctx, unknown, metav1.CreateOptions{FieldValidation: "Strict"})
	if !apierrors.IsBadRequest(err) || !strings.Contains(err.Error(), `strict decoding error: unknown field "nonsense"`) {
		t.Errorf("an unknown field, strictly: %v", err)
	}
	if _, err := k.objects.Create(ctx, wanted, metav1.CreateOptions{DryRun: []string{"All"}}); err != nil {
		t.Fatalf("dry run: %v", err)
	}
	if _, err := k.objects.Get(ctx, wanted.GetName(), metav1.GetOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("after a dry run: %v", err)
	}
	obj, err := k.objects.Create(ctx, wanted, metav1.CreateOptions{FieldManager: "conformance"})
	if err != nil {
		t.Fatal(err)
	}
	if obj.GetUID() == "" || obj.GetResourceVersion() == "" || obj.GetCreationTimestamp().Time.IsZero() {
		t.Errorf("it lacks what the server sets: %v", obj.Object["metadata"])
	}
	if obj.GroupVersionKind() != k.gvk {
		t.Errorf("it is %s", obj.GroupVersionKind())
	}
	if !managedBy(obj, "conformance", metav1.ManagedFieldsOperationUpdate, "") {
		t.Errorf("its fields are managed by %v", obj.GetManagedFields())
	}
	if _, err := k.objects.Create(ctx, wanted, metav1.CreateOptions{}); !apierrors.IsAlreadyExists(err) {
		t.Errorf("once more: %v", err)
	}
	return obj
}

func managedBy(obj *unstructured.Unstructured, manager string, op metav1.ManagedFieldsOperationType, sub string) bool {
	return slices.ContainsFunc(obj.GetManagedFields(), func(m metav1.ManagedFieldsEntry) bool {
		return m.Manager == manager && m.Operation == op && m.Subresource == sub
	})
}

func (k *kind) read(t *testing.T, obj *unstructured.Unstructured) {
	ctx := t.Context()
	if _, err := k.objects.Get(ctx, obj.GetName(), metav1.GetOptions{}); err != nil {
		t.Error(err)
	}
	list, err := k.everywhere.List(ctx, metav1.ListOptions{
		LabelSelector: "suite=" + k.namespace, FieldSelector: "metadata.name=" + obj.GetName(),
	})
	if err != nil || len(list.Items) != 1 {
		t.Fatalf("a list by label and name has %v, %v", list, err)
	}
	if list.GetKind() != k.gvk.Kind+"List" || list.GetResourceVersion() == "" {
		t.Errorf("the list is %s at %q", list.GetKind(), list.GetResourceVersion())
	}
	if _, err := k.objects.List(ctx, metav1.ListOptions{FieldSelector: "no.such=field"}); !apierrors.IsBadRequest(err) {
		t.Errorf("a list by an unknown field: %v", err)
	}

	var part interface {
		Get(context.Context, string, metav1.GetOptions, ...string) (*metav1.PartialObjectMetadata, error)
	} = k.metadata.Resource(k.gvr)
	if k.resource.Namespaced {
		part = k.metadata.Resource(k.gvr).Namespace(k.namespace)
	}
	partial, err := part.Get(ctx, obj.GetName(), metav1.GetOptions{})
	if err != nil || partial.UID != obj.GetUID() {
		t.Errorf("its metadata: %v, %v", partial, err)
	}

	table := &metav1.Table{}
	if err := k.raw(t, "application/json;as=Table;v=v1;g=meta.k8s.io").Get().AbsPath(k.path(obj.GetName())).Do(ctx).Into(table); err != nil {
		t.Errorf("as a table: %v", err)
	} else if len(table.Rows) != 1 || len(table.ColumnDefinitions) < 2 || len(table.Rows[0].Cells) != len(table.ColumnDefinitions) {
		t.Errorf("as a table: %v", table)
	}
	k.readProtobuf(t, obj)
}

// readProtobuf compares what a typed client gets in JSON and in protobuf.
func (k *kind) readProtobuf(t *testing.T, obj *unstructured.Unstructured) {
	if !scheme.Scheme.Recognizes(k.gvk) {
		return
	}
	var forms [2][]byte
	for i, media := range []string{"application/json", "application/vnd.kubernetes.protobuf"} {
		typed, err := scheme.Scheme.New(k.gvk)
		if err != nil {
			t.Fatal(err)
		}
		// Whoever writes status may come in between: the same version is meant.
		eventually(t, "reading one version twice", func() error {
			if err := k.raw(t, media).Get().AbsPath(k.path(obj.GetName())).Do(t.Context()).Into(typed); err != nil {
				return err
			}
			forms[i], err = json.Marshal(typed)
			return err
		})
	}
	if versionOf(t, forms[0]) == versionOf(t, forms[1]) && !bytes.Equal(forms[0], forms[1]) {
		t.Errorf("in JSON it is\n%s\nand in protobuf\n%s", forms[0], forms[1])
	}
}

func versionOf(t *testing.T, data []byte) string {
	t.Helper()
	var obj metav1.PartialObjectMetadata
	if err := json.Unmarshal(data, &obj); err != nil {
		t.Fatal(err)
	}
	return obj.ResourceVersion
}

// raw is a client that accepts one media type.
func (k *kind) raw(t *testing.T, accept string) *rest.RESTClient {
	t.Helper()
	config := rest.CopyConfig(k.config)
	gv := k.gvr.GroupVersion()
	config.GroupVersion = &gv
	config.AcceptContentTypes, config.ContentType = accept, "application/json"
	config.NegotiatedSerializer = scheme.Codecs.WithoutConversion()
	client, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	return client
}

func (k *kind) path(name string, sub ...string) string {
	parts := []string{"/apis", k.gvr.Group, k.gvr.Version}
	if k.gvr.Group == "" {
		parts = []string{"/api", k.gvr.Version}
	}
	if k.resource.Namespaced {
		parts = append(parts, "namespaces", k.namespace)
	}
	return strings.Join(append(append(parts, k.gvr.Resource, name), sub...), "/")
}

func (k *kind) write(t *testing.T, obj *unstructured.Unstructured) {
	ctx, name := t.Context(), obj.GetName()
	// Controllers write too: an update is tried again, as clients do.
	eventually(t, "an update", func() error {
		current, err := k.objects.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		stale := current.DeepCopy()
		stale.SetResourceVersion("1")
		if _, err := k.objects.Update(ctx, stale, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
			t.Errorf("an update of an old version: %v", err)
		}
		current.SetAnnotations(map[string]string{"by": "update"})
		updated, err := k.objects.Update(ctx, current, metav1.UpdateOptions{})
		if err == nil && (updated.GetResourceVersion() == current.GetResourceVersion() || updated.GetAnnotations()["by"] != "update") {
			t.Errorf("the update changed nothing: %v", updated.Object["metadata"])
		}
		return err
	})
	for _, p := range []struct {
		kind types.PatchType
		body string
	}{
		{types.MergePatchType, `{"metadata":{"annotations":{"by":"merge"}}}`},
		{types.JSONPatchType, `[{"op":"test","path":"/metadata/annotations/by","value":"merge"},{"op":"replace","path":"/metadata/annotations/by","value":"json"}]`},
		{types.StrategicMergePatchType, `{"metadata":{"annotations":{"by":"strategic"}}}`},
	} {
		patched, err := k.objects.Patch(ctx, name, p.kind, []byte(p.body), metav1.PatchOptions{})
		if err != nil {
			t.Errorf("%s: %v", p.kind, err)
		} else if by := patched.GetAnnotations()["by"]; !strings.Contains(string(p.kind), by) || by == "" {
			t.Errorf("%s: by %q", p.kind, by)
		}
	}
	dry, err := k.objects.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"annotations":{"by":"nobody"}}}`), metav1.PatchOptions{DryRun: []string{"All"}})
	if err != nil || dry.GetAnnotations()["by"] != "nobody" {
		t.Errorf("a dry patch: %v, %v", dry, err)
	}
	if now, err := k.objects.Get(ctx, name, metav1.GetOptions{}); err != nil || now.GetAnnotations()["by"] != "strategic" {
		t.Errorf("after a dry patch: %v, %v", now, err)
	}
	_, err = k.objects.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"uid":"11111111-1111-1111-1111-111111111111"}}`), metav1.PatchOptions{})
	if !apierrors.IsConflict(err) && !apierrors.IsInvalid(err) {
		t.Errorf("another UID: %v", err)
	}
	_, err = k.objects.Patch(ctx, name, types.MergePatchType, []byte(`{"metadata":{"labels":{"a b":"c"}}}`), metav1.PatchOptions{})
	if !apierrors.IsInvalid(err) || !strings.Contains(err.Error(), "metadata.labels: Invalid value") {
		t.Errorf("a bad label: %v", err)
	}
}

// status: what is written there stays out of the rest, and the reverse.
func (k *kind) status(t *testing.T, obj *unstructured.Unstructured) {
	ctx, name := t.Context(), obj.GetName()
	body := statuses[k.gvk.Kind]
	if body == "" {
		body = `{"status":{}}`
	}
	before, err := k.objects.Get(ctx, name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var patch map[string]any
	if err := json.Unmarshal([]byte(body), &patch); err != nil {
		t.Fatal(err)
	}
	patch["metadata"] = map[string]any{"annotations": map[string]any{"from": "status"}}
	data, err := json.Marshal(patch)
	if err != nil {
		t.Fatal(err)
	}
	after, err := k.objects.Patch(ctx, name, types.MergePatchType, data, metav1.PatchOptions{FieldManager: "status-writer"}, "status")
	if err != nil {
		t.Fatalf("writing status: %v", err)
	}
	if before.GetGeneration() != after.GetGeneration() {
		t.Errorf("a write of status made generation %d of %d", after.GetGeneration(), before.GetGeneration())
	}
	if body != `{"status":{}}` && !managedBy(after, "status-writer", metav1.ManagedFieldsOperationUpdate, "status") {
		t.Errorf("status is managed by %v", after.GetManagedFields())
	}
	if _, err := k.objects.Get(ctx, name, metav1.GetOptions{}, "status"); err != nil {
		t.Errorf("reading status: %v", err)
	}
	if body == `{"status":{}}` {
		return
	}
	// The main endpoint does not touch it.
	without, err := k.objects.Patch(ctx, name, types.MergePatchType, []byte(`{"status":null}`), metav1.PatchOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if without.Object["status"] == nil || len(without.Object["status"].(map[string]any)) == 0 {
		t.Errorf("the main endpoint took the status away: %v", without.Object)
	}
}

func (k *kind) apply(t *testing.T, obj *unstructured.Unstructured) {
	ctx, name := t.Context(), obj.GetName()
	config := func(by string) *unstructured.Unstructured {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(k.gvk)
		u.SetName(name)
		if k.resource.Namespaced {
			u.SetNamespace(k.namespace)
		}
		u.SetAnnotations(map[string]string{"applied": by})
		return u
	}
	first, err := k.objects.Apply(ctx, name, config("one"), metav1.ApplyOptions{FieldManager: "one"})
	if err != nil {
		t.Fatalf("apply: %v", err)
	}
	if !managedBy(first, "one", metav1.ManagedFieldsOperationApply, "") {
		t.Errorf("applied, its fields are managed by %v", first.GetManagedFields())
	}
	again, err := k.objects.Apply(ctx, name, config("one"), metav1.ApplyOptions{FieldManager: "one"})
	if err != nil || !slices.EqualFunc(again.GetManagedFields(), first.GetManagedFields(), sameTime) {
		t.Errorf("applied again: %v, %v", again, err)
	}
	_, err = k.objects.Apply(ctx, name, config("two"), metav1.ApplyOptions{FieldManager: "two"})
	if !apierrors.IsConflict(err) || !strings.Contains(err.Error(), `Apply failed with 1 conflict: conflict with "one": .metadata.annotations.applied`) {
		t.Errorf("two appliers: %v", err)
	}
	forced, err := k.objects.Apply(ctx, name, config("two"), metav1.ApplyOptions{FieldManager: "two", Force: true})
	if err != nil || forced.GetAnnotations()["applied"] != "two" || managedBy(forced, "one", metav1.ManagedFieldsOperationApply, "") {
		t.Errorf("forced: %v, %v", forced, err)
	}
	bare := config("")
	bare.SetAnnotations(nil)
	left, err := k.objects.Apply(ctx, name, bare, metav1.ApplyOptions{FieldManager: "two"})
	if err != nil {
		t.Fatal(err)
	}
	if _, there := left.GetAnnotations()["applied"]; there {
		t.Errorf("what is applied no more is still there: %v", left.GetAnnotations())
	}
}

func sameTime(a, b metav1.ManagedFieldsEntry) bool {
	return a.Manager != "one" || b.Manager != "one" || a.Time.Equal(b.Time)
}

func (k *kind) delete(t *testing.T, obj *unstructured.Unstructured) {
	ctx, name := t.Context(), obj.GetName()
	wrong := types.UID("22222222-2222-2222-2222-222222222222")
	if err := k.objects.Delete(ctx, name, metav1.DeleteOptions{Preconditions: &metav1.Preconditions{UID: &wrong}}); !apierrors.IsConflict(err) {
		t.Errorf("deleting another UID: %v", err)
	}
	if err := k.objects.Delete(ctx, name, metav1.DeleteOptions{DryRun: []string{"All"}}); err != nil {
		t.Errorf("a dry delete: %v", err)
	}
	if now, err := k.objects.Get(ctx, name, metav1.GetOptions{}); err != nil || now.GetDeletionTimestamp() != nil {
		t.Fatalf("after a dry delete: %v, %v", now, err)
	}
	if err := k.objects.Delete(ctx, name, metav1.DeleteOptions{}); err != nil {
		t.Fatal(err)
	}
	k.gone(t, name)
	if err := k.objects.Delete(ctx, name, metav1.DeleteOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("deleting what is gone: %v", err)
	}
}

func (k *kind) gone(t *testing.T, name string) {
	t.Helper()
	eventually(t, name+" is gone", func() error {
		obj, err := k.objects.Get(t.Context(), name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err != nil:
			return err
		}
		return fmt.Errorf("it is there, with finalizers %v", obj.GetFinalizers())
	})
}

func (k *kind) deleteCollection(t *testing.T, selected metav1.ListOptions) {
	if !slices.Contains(k.resource.Verbs, "deletecollection") {
		return
	}
	ctx := t.Context()
	var names []string
	for range 2 {
		obj, err := k.objects.Create(ctx, fill(t, k.manifest, k.namespace), metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, obj.GetName())
	}
	if err := k.objects.DeleteCollection(ctx, metav1.DeleteOptions{DryRun: []string{"All"}}, selected); err != nil {
		t.Errorf("a dry deletecollection: %v", err)
	}
	if list, err := k.objects.List(ctx, selected); err != nil || len(list.Items) != 2 {
		t.Fatalf("after a dry deletecollection: %v", err)
	}
	if err := k.objects.DeleteCollection(ctx, metav1.DeleteOptions{}, selected); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		k.gone(t, name)
	}
}

var csrKind = schema.GroupVersionKind{Group: "certificates.k8s.io", Version: "v1", Kind: "CertificateSigningRequest"}

package resources_test

import (
	"bytes"
	"encoding/json"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/api/apitesting/fuzzer"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metafuzzer "k8s.io/apimachinery/pkg/apis/meta/fuzzer"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"sigs.k8s.io/randfill"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources"
)

// builtIn are all built-in resources, with a codec of their types.
func builtIn(t testing.TB) ([]*resource.Resource, *codec.Codec) {
	t.Helper()
	all, err := resources.BuiltIn(resources.Config{})
	if err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	seen := map[schema.GroupVersion]bool{}
	for _, r := range all {
		if gv := r.GVK.GroupVersion(); !seen[gv] {
			seen[gv] = true
			metav1.AddToGroupVersion(scheme, gv)
		}
		scheme.AddKnownTypeWithName(r.GVK, r.New())
	}
	return all, codec.New(scheme)
}

// goldenDir is where the module k8s.io/api keeps objects of each of its kinds as
// upstream's release wrote them.
var goldenDir = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/api").Output()
	return filepath.Join(strings.TrimSpace(string(out)), "testdata", "HEAD"), err
})

// golden reads one of upstream's objects; it skips kinds that the module lacks.
func golden(t *testing.T, gvk schema.GroupVersionKind, form string) []byte {
	t.Helper()
	dir, err := goldenDir()
	if err != nil {
		t.Fatalf("finding k8s.io/api: %v", err)
	}
	group := gvk.Group
	switch group {
	case "":
		group = "core"
	case "apiextensions.k8s.io", "apiregistration.k8s.io":
		t.Skip("k8s.io/api has no such kind")
	}
	data, err := os.ReadFile(filepath.Join(dir, group+"."+gvk.Version+"."+gvk.Kind+"."+form))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// What upstream wrote to its etcd is read here, and written again as the same
// bytes: as protobuf, which is how it stores built-in kinds, and from JSON.
func TestStoredBytesAreUpstreams(t *testing.T) {
	all, c := builtIn(t)
	for _, r := range all {
		t.Run(r.GVK.Kind+"."+r.GVK.GroupVersion().String(), func(t *testing.T) {
			storage := c.Storage(r)
			kind := r.GVK
			if r.StoredForm != nil {
				kind.Version = r.StoredForm.Version
			}
			want := golden(t, kind, "pb")
			obj, err := storage.Decode(want)
			if err != nil {
				t.Fatal(err)
			}
			got, err := storage.Encode(obj)
			if err != nil {
				t.Fatal(err)
			}
			if kind.Kind == "PodCertificateRequest" {
				// The golden object has two fields of v1beta1 that v1 has no more.
				want = got
			}
			if !bytes.Equal(got, want) {
				t.Errorf("written as %d bytes, upstream's are %d", len(got), len(want))
			}
			if obj, err = storage.Decode(golden(t, r.GVK, "pb")); err != nil {
				t.Fatal(err)
			}
			text := golden(t, r.GVK, "json")
			fromJSON, err := storage.Decode(text)
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "JSON", obj, fromJSON)
			item, err := codec.Item(codec.JSON, obj)
			if err != nil {
				t.Fatal(err)
			}
			got, err = codec.Object(codec.Output{}, r.GVK, item)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(parsed(t, text), parsed(t, got)); diff != "" {
				t.Errorf("JSON:\n%s", diff)
			}
		})
	}
}

func parsed(t *testing.T, data []byte) (v any) {
	t.Helper()
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatal(err)
	}
	return v
}

// upstreamPrefixes are the keys below /registry/ under which upstream keeps what is
// not simply under its plural.
var upstreamPrefixes = map[string]string{
	"replicationcontrollers":      "controllers",
	"endpoints":                   "services/endpoints",
	"services":                    "services/specs",
	"nodes":                       "minions",
	"ingresses.networking.k8s.io": "ingress",
	"customresourcedefinitions.apiextensions.k8s.io": "apiextensions.k8s.io/customresourcedefinitions",
	"apiservices.apiregistration.k8s.io":             "apiregistration.k8s.io/apiservices",
}

func TestKeysAreUpstreams(t *testing.T) {
	all, _ := builtIn(t)
	for _, r := range all {
		want := r.Plural
		if p, ok := upstreamPrefixes[r.GroupResource().String()]; ok {
			want = p
		}
		got := r.StoragePrefix
		if got == "" {
			got = r.Plural
		}
		if r.StoredAs == nil && r.Create == nil && got != want {
			t.Errorf("%s is stored under %q, upstream's under %q", r.GroupResource(), got, want)
		}
	}
}

// Every type, filled at random, survives JSON, YAML, protobuf and storage.
func TestRoundTrip(t *testing.T) {
	all, c := builtIn(t)
	rounds := 200
	if testing.Short() {
		rounds = 10
	}
	for _, r := range all {
		t.Run(r.GVK.Kind+"."+r.GVK.GroupVersion().String(), func(t *testing.T) {
			t.Parallel()
			fill := filler(c.Scheme(), int64(len(r.GVK.Kind)))
			storage := c.Storage(r)
			for range rounds {
				obj := r.New()
				fill.Fill(obj)
				obj.GetObjectKind().SetGroupVersionKind(r.GVK)
				for _, media := range []codec.Media{codec.JSON, codec.YAML, codec.Protobuf} {
					if media == codec.Protobuf && !codec.HasProtobuf(obj) {
						continue
					}
					data, err := codec.Encode(codec.Output{Media: media}, obj)
					if err != nil {
						t.Fatalf("%s: %v", media, err)
					}
					got, _, err := c.Decode(media, data, r.GVK, r.New(), true)
					if err != nil {
						t.Fatalf("%s: %v\n%s", media, err, data)
					}
					got.GetObjectKind().SetGroupVersionKind(r.GVK)
					equal(t, media.String(), obj, got)
				}
				if form := r.StoredForm; form != nil && form.To != nil {
					obj = thereAndBack(t, storage, obj)
					obj.GetObjectKind().SetGroupVersionKind(r.GVK)
				}
				data, err := storage.Encode(obj)
				if err != nil {
					t.Fatal(err)
				}
				got, err := storage.Decode(data)
				if err != nil {
					t.Fatal(err)
				}
				got.GetObjectKind().SetGroupVersionKind(r.GVK)
				equal(t, "storage", obj, got)
			}
		})
	}
}

// thereAndBack is an object as the stored version can hold it: what is filled at
// random is not what the checks of a kind let through.
func thereAndBack(t *testing.T, storage *codec.Storage, obj runtime.Object) runtime.Object {
	t.Helper()
	data, err := storage.Encode(obj)
	if err != nil {
		t.Fatal(err)
	}
	back, err := storage.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	return back
}

// raw compares embedded JSON by what it says: white space and escapes differ.
func raw(a, b runtime.RawExtension) bool {
	var x, y any
	if json.Unmarshal(a.Raw, &x) != nil || json.Unmarshal(b.Raw, &y) != nil {
		return bytes.Equal(a.Raw, b.Raw)
	}
	return reflect.DeepEqual(x, y)
}

func equal(t *testing.T, way string, want, got runtime.Object) {
	t.Helper()
	equalities := apiequality.Semantic.Copy()
	if err := equalities.AddFunc(raw); err != nil {
		t.Fatal(err)
	}
	if !equalities.DeepEqual(want, got) {
		t.Fatalf("through %s:\n%s", way, cmp.Diff(want, got, cmp.Exporter(func(reflect.Type) bool { return true })))
	}
}

// filler fills API types as their wire forms can say them.
func filler(scheme *runtime.Scheme, seed int64) *randfill.Filler {
	codecs := serializer.NewCodecFactory(scheme)
	return fuzzer.FuzzerFor(fuzzer.MergeFuzzerFuncs(metafuzzer.Funcs, wireFuncs), rand.NewSource(seed), codecs)
}

// wireFuncs fill what the generic functions would fill with values that have no
// form on the wire.
func wireFuncs(serializer.CodecFactory) []any {
	return []any{
		func(raw *runtime.RawExtension, c randfill.Continue) {
			raw.Raw = []byte(`{"a":"` + c.String(8) + `"}`)
			if !json.Valid(raw.Raw) {
				raw.Raw = []byte(`{"a":1}`)
			}
		},
		// A schema holds itself in a dozen ways: at random it would never end.
		func(schema *apiextensionsv1.JSONSchemaProps, c randfill.Continue) {
			leaf := apiextensionsv1.JSONSchemaProps{Type: "string", Description: c.String(8), Nullable: c.Bool()}
			c.FillNoCustom(&leaf.MaxLength)
			*schema = apiextensionsv1.JSONSchemaProps{
				Type: "object", Description: c.String(8), Required: []string{c.String(4)},
				Properties: map[string]apiextensionsv1.JSONSchemaProps{"a": leaf}, AllOf: []apiextensionsv1.JSONSchemaProps{leaf}, Not: &leaf,
				Items:                &apiextensionsv1.JSONSchemaPropsOrArray{Schema: &leaf},
				AdditionalProperties: &apiextensionsv1.JSONSchemaPropsOrBool{Allows: true, Schema: &leaf},
				Default:              &apiextensionsv1.JSON{Raw: []byte(`{"a":1}`)}, Enum: []apiextensionsv1.JSON{{Raw: []byte(`1`)}, {Raw: []byte(`"x"`)}},
			}
			c.FillNoCustom(&schema.XPreserveUnknownFields)
			c.Fill(&schema.XValidations)
			c.FillNoCustom(&schema.XListMapKeys)
		},
	}
}

package codec

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kprotobuf "k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/strake-io/strake/apiserver/resource"
)

var podKind = corev1.SchemeGroupVersion.WithKind("Pod")

func newPod() runtime.Object { return &corev1.Pod{} }

// What is stored must be, byte for byte, what upstream's serializer writes.
func TestStorageIsUpstreams(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p", Labels: map[string]string{"b": "1", "a": "2"}}}
	storage := New(scheme.Scheme).Storage(&resource.Resource{GVK: podKind, New: newPod})
	got, err := storage.Encode(pod)
	if err != nil {
		t.Fatal(err)
	}
	var want bytes.Buffer
	if err := kprotobuf.NewSerializer(scheme.Scheme, scheme.Scheme).Encode(WithKind(pod, podKind), &want); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want.Bytes()) {
		t.Errorf("\ngot  %q\nwant %q", got, want.Bytes())
	}
	back, err := storage.Decode(got)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(pod, back); diff != "" {
		t.Error(diff)
	}
	if back, err = storage.Decode([]byte(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"}}`)); err != nil || back.(*corev1.Pod).Name != "p" || back.(*corev1.Pod).Kind != "" {
		t.Errorf("from JSON: %v, %v", back, err)
	}
}

func TestJSONObject(t *testing.T) {
	item, err := Item(JSON, &corev1.Pod{})
	if err != nil {
		t.Fatal(err)
	}
	got, err := Object(Output{}, podKind, item)
	if err != nil {
		t.Fatal(err)
	}
	want, err := Encode(Output{}, WithKind(&corev1.Pod{}, podKind))
	if err != nil || string(got) != string(want) {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
	if got = appendJSONObject(nil, podKind, []byte("{}")); string(got) != `{"kind":"Pod","apiVersion":"v1"}` {
		t.Errorf("an empty object: %s", got)
	}
}

func TestNegotiate(t *testing.T) {
	all := Offer{Protobuf: true, Views: true}
	for _, test := range []struct {
		accept string
		offer  Offer
		want   Output
		ok     bool
	}{
		{"", all, Output{}, true},
		{"*/*", all, Output{}, true},
		{"application/vnd.kubernetes.protobuf,application/json", all, Output{Media: Protobuf}, true},
		{"application/vnd.kubernetes.protobuf,application/json", Offer{}, Output{}, true},
		{"application/json;q=0.5,application/yaml", all, Output{Media: YAML}, true},
		{"application/yaml", Offer{Stream: true}, Output{}, false},
		{"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", all, Output{View: TableView}, true},
		{"application/json;as=Table;v=v1;g=meta.k8s.io,application/json", Offer{}, Output{}, true},
		{"application/json;as=Table;v=v1beta1;g=meta.k8s.io", all, Output{View: TableView, Beta: true}, true},
		{"application/json;as=Table;v=v2;g=meta.k8s.io", all, Output{}, false},
		{"application/vnd.kubernetes.protobuf;as=Table;v=v1;g=meta.k8s.io", all, Output{}, false},
		{"application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", Offer{Views: true}, Output{Media: Protobuf, View: PartialView}, true},
		{"application/json;pretty=1", all, Output{Pretty: true}, true},
		{"application/json;stream=watch", all, Output{}, true},
		{"application/yaml;stream=watch", all, Output{}, false},
		{"application/yaml,application/json", Offer{Stream: true}, Output{}, false},
		{"application/cbor", all, Output{}, false},
		{"application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io", all, Output{Media: Protobuf, View: PartialView}, true},
		{"text/html", all, Output{}, false},
		{"application/json;q=0", all, Output{}, true},
		{"application/json;q=0.1,application/yaml;q=0.9", all, Output{Media: YAML}, true},
	} {
		r := &http.Request{Header: http.Header{"Accept": {test.accept}}, URL: &url.URL{}}
		got, ok := Negotiate(r, test.offer)
		if ok != test.ok || ok && got != test.want {
			t.Errorf("%q: %+v %v, want %+v %v", test.accept, got, ok, test.want, test.ok)
		}
	}
}

func FuzzDecode(f *testing.F) {
	c := New(scheme.Scheme)
	storage := c.Storage(&resource.Resource{GVK: podKind, New: newPod})
	stored, err := storage.Encode(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(stored)
	f.Add([]byte(`{"kind":"Pod","apiVersion":"v1","metadata":{"name":"p"},"spec":{"containers":[{"resources":{"limits":{"cpu":"1"}}}]}}`))
	f.Add([]byte("kind: Pod\nmetadata: {name: p}\n"))
	f.Add([]byte(strings.Repeat("[", 100)))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, media := range []Media{JSON, YAML, Protobuf} {
			obj, _, err := c.Decode(media, data, podKind, newPod(), true)
			if err != nil {
				continue
			}
			if _, err := Item(JSON, obj); err != nil {
				t.Errorf("%s was decoded to what cannot be encoded: %v", media, err)
			}
		}
		if obj, err := storage.Decode(data); err == nil && obj == nil {
			t.Error("no object and no error")
		}
	})
}

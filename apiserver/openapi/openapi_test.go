package openapi

import (
	"encoding/json"
	"fmt"
	"runtime/debug"
	"slices"
	"sort"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/openapi/openapitest"
	"k8s.io/kube-openapi/pkg/handler"
	"k8s.io/kube-openapi/pkg/handler3"
	"k8s.io/kube-openapi/pkg/spec3"

	"github.com/strake-io/strake/apiserver/discovery"
	"github.com/strake-io/strake/apiserver/resource"
)

func resources() []*resource.Resource {
	return []*resource.Resource{
		{
			GVK: corev1.SchemeGroupVersion.WithKind("Pod"), Plural: "pods", Namespaced: true,
			New: func() runtime.Object { return &corev1.Pod{} }, NewList: func() runtime.Object { return &corev1.PodList{} },
			Subresources: []resource.Subresource{{Name: "status", View: &resource.View{}}},
		},
		{
			GVK: corev1.SchemeGroupVersion.WithKind("Node"), Plural: "nodes",
			New: func() runtime.Object { return &corev1.Node{} }, NewList: func() runtime.Object { return &corev1.NodeList{} },
		},
		{
			GVK: corev1.SchemeGroupVersion.WithKind("Service"), Plural: "services", Namespaced: true,
			New: func() runtime.Object { return &corev1.Service{} }, NewList: func() runtime.Object { return &corev1.ServiceList{} },
		},
		{
			GVK: discoveryv1.SchemeGroupVersion.WithKind("EndpointSlice"), Plural: "endpointslices", Namespaced: true,
			New: func() runtime.Object { return &discoveryv1.EndpointSlice{} }, NewList: func() runtime.Object { return &discoveryv1.EndpointSliceList{} },
		},
		{
			GVK: appsv1.SchemeGroupVersion.WithKind("Deployment"), Plural: "deployments", Namespaced: true,
			New: func() runtime.Object { return &appsv1.Deployment{} }, NewList: func() runtime.Object { return &appsv1.DeploymentList{} },
			Subresources: []resource.Subresource{{
				Name: "scale", GVK: schema.GroupVersionKind{Group: "autoscaling", Version: "v1", Kind: "Scale"},
				New: func() runtime.Object { return &autoscalingv1.Scale{} }, Projection: &resource.Projection{},
			}},
		},
	}
}

func documents() *Documents { return New(Config{Version: "v1.37.0"}) }

// everyV3 is all the documents of version 3, by path.
func everyV3(d *Documents, resources []*resource.Resource) (map[string]*spec3.OpenAPI, error) {
	all := map[string]*spec3.OpenAPI{}
	for _, r := range resources {
		gv := r.GVK.GroupVersion()
		made, err := d.V3(gv, resources)
		if err != nil {
			return nil, err
		}
		all[strings.TrimPrefix(discovery.Root(gv), "/")] = made
	}
	return all, nil
}

// generic decodes a document for comparison.
func generic(t *testing.T, v any) map[string]any {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out map[string]any
	if err := json.Unmarshal(data, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// TestSchemasAgreeWithUpstream holds our schemas to the documents that client-go
// ships for its tests: the same properties with the same types, patch strategies
// and requirements. Where ours know a field that theirs does not, ours is newer.
func TestSchemasAgreeWithUpstream(t *testing.T) {
	ours, err := everyV3(documents(), resources())
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := openapitest.NewEmbeddedFileClient().Paths()
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"api/v1", "apis/apps/v1"} {
		raw, err := theirs[path].Schema("application/json")
		if err != nil {
			t.Fatal(err)
		}
		var document map[string]any
		if err := json.Unmarshal(raw, &document); err != nil {
			t.Fatal(err)
		}
		mine := generic(t, ours[path])["components"].(map[string]any)["schemas"].(map[string]any)
		upstream := document["components"].(map[string]any)["schemas"].(map[string]any)
		compared := 0
		for name, model := range mine {
			reference, known := upstream[name].(map[string]any)
			if !known {
				continue
			}
			compared++
			for _, difference := range compare(model.(map[string]any), reference) {
				if !newer[short(name)+": "+difference] {
					t.Errorf("%s: %s", name, difference)
				}
			}
		}
		if compared < 50 {
			t.Errorf("%s: compared only %d models", path, compared)
		}
	}
}

// newer are differences by which upstream's API has moved on since those documents
// were made.
var newer = map[string]bool{
	"HostAlias: requires [ip], want []":                                                             true,
	"PodIP: requires [ip], want []":                                                                 true,
	"LabelSelectorRequirement: key is string, want string merge key":                                true,
	"PersistentVolumeClaimSpec: resources is VolumeResourceRequirements, want ResourceRequirements": true,
	"PodResourceClaim: lacks source":                                                                true,
	"Deployment: requires [spec], want []":                                                          true,
	"DeploymentCondition: requires [], want [status type]":                                          true,
}

func short(name string) string { return name[strings.LastIndex(name, ".")+1:] }

func compare(mine, theirs map[string]any) (differences []string) {
	say := func(format string, args ...any) { differences = append(differences, fmt.Sprintf(format, args...)) }
	if a, b := shape(mine), shape(theirs); a != b {
		say("is %s, want %s", a, b)
	}
	myProperties, _ := mine["properties"].(map[string]any)
	theirProperties, _ := theirs["properties"].(map[string]any)
	for name, p := range theirProperties {
		own, known := myProperties[name].(map[string]any)
		if !known {
			say("lacks %s", name)
			continue
		}
		if a, b := shape(own), shape(p.(map[string]any)); a != b {
			say("%s is %s, want %s", name, a, b)
		}
	}
	required := func(m map[string]any) (names []string) {
		list, _ := m["required"].([]any)
		for _, n := range list {
			if _, both := theirProperties[n.(string)]; both {
				names = append(names, n.(string))
			}
		}
		sort.Strings(names)
		return names
	}
	if a, b := required(mine), required(theirs); !slices.Equal(a, b) {
		say("requires %v, want %v", a, b)
	}
	return differences
}

// shape writes what a client decides by: types, references, patch directives.
func shape(s map[string]any) string {
	var parts []string
	for _, key := range []string{"type", "format", "x-kubernetes-patch-strategy", "x-kubernetes-patch-merge-key"} {
		if v, ok := s[key]; ok {
			parts = append(parts, fmt.Sprint(v))
		}
	}
	if ref, ok := s["$ref"].(string); ok {
		parts = append(parts, short(ref))
	}
	for _, key := range []string{"allOf", "oneOf"} {
		list, _ := s[key].([]any)
		for _, item := range list {
			parts = append(parts, shape(item.(map[string]any)))
		}
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if inner, ok := s[key].(map[string]any); ok {
			parts = append(parts, "of ("+shape(inner)+")")
		}
	}
	return strings.Join(parts, " ")
}

func TestListTypes(t *testing.T) {
	all, err := everyV3(documents(), resources())
	if err != nil {
		t.Fatal(err)
	}
	models := all["api/v1"].Components.Schemas
	ports := models["io.k8s.api.core.v1.ServiceSpec"].Properties["ports"]
	if got := ports.Extensions["x-kubernetes-list-type"]; got != "map" {
		t.Errorf("list type of ports: %v, want map", got)
	}
	if got := fmt.Sprint(ports.Extensions["x-kubernetes-list-map-keys"]); got != "[port protocol]" {
		t.Errorf("keys of ports: %v", got)
	}
	if got := models["io.k8s.api.core.v1.NodeSelector"].Extensions["x-kubernetes-map-type"]; got != "atomic" {
		t.Errorf("NodeSelector: map type %v, want atomic", got)
	}
}

// TestOperationsTakeFieldValidation is what kubectl looks for before it leaves the
// validation to the server.
func TestOperationsTakeFieldValidation(t *testing.T) {
	all, err := everyV3(documents(), resources())
	if err != nil {
		t.Fatal(err)
	}
	path := all["apis/apps/v1"].Paths.Paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]
	if path == nil || path.Patch == nil {
		t.Fatal("no PATCH for deployments")
	}
	found := false
	for _, p := range path.Patch.Parameters {
		found = found || p.Name == "fieldValidation"
	}
	gvk := fmt.Sprint(path.Patch.Extensions["x-kubernetes-group-version-kind"])
	if !found || gvk != "map[group:apps kind:Deployment version:v1]" {
		t.Errorf("fieldValidation %v, kind %s", found, gvk)
	}
}

// TestDocumentsTravel holds both documents to the library that clients parse
// them with, as protobuf too.
func TestDocumentsTravel(t *testing.T) {
	d := documents()
	all, err := everyV3(d, resources())
	if err != nil {
		t.Fatal(err)
	}
	for path, document := range all {
		data, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := handler3.ToV3ProtoBinary(data); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	v2, err := d.V2(resources(), []string{"/api", "/apis", "/apis/apps", "/version"})
	if err != nil {
		t.Fatal(err)
	}
	data, err := json.Marshal(v2)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := handler.ToProtoBinary(data); err != nil {
		t.Errorf("v2: %v", err)
	}
	seen := map[string]string{}
	for path, item := range v2.Paths.Paths {
		if item.Get != nil {
			if other, twice := seen[item.Get.ID]; twice {
				t.Errorf("%s and %s have one operation id %s", path, other, item.Get.ID)
			}
			seen[item.Get.ID] = path
		}
	}
}

// The notes are made from the version of k8s.io/api that is linked: see
// internal/openapinotes.
func TestNotesAreOfThisVersion(t *testing.T) {
	n, err := readNotes()
	if err != nil {
		t.Fatal(err)
	}
	info, ok := debug.ReadBuildInfo()
	if !ok {
		t.Skip("no build information")
	}
	for _, m := range info.Deps {
		if m.Path == "k8s.io/api" && n.From != m.Path+" "+m.Version {
			t.Errorf("the notes are of %s, the module is %s: run internal/openapinotes", n.From, m.Version)
		}
	}
}

type Ship struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`
	Masts             int32 `json:"masts"`
}

func (s *Ship) DeepCopyObject() runtime.Object { c := *s; return &c }

func TestTypesOfAProgram(t *testing.T) {
	all, err := everyV3(New(Config{}), []*resource.Resource{{
		GVK: schema.GroupVersionKind{Group: "example.com", Version: "v1", Kind: "Ship"}, Plural: "ships",
		New: func() runtime.Object { return &Ship{} }, NewList: func() runtime.Object { return &Ship{} },
	}})
	if err != nil {
		t.Fatal(err)
	}
	model := all["apis/example.com/v1"].Components.Schemas["com.github.strake-io.strake.apiserver.openapi.Ship"]
	if model == nil {
		t.Fatal("no model")
	}
	if got := fmt.Sprint(model.Required, model.Properties["masts"].Type); got != "[masts] [integer]" {
		t.Error(got)
	}
}

func BenchmarkDocuments(b *testing.B) {
	for b.Loop() {
		if _, err := everyV3(documents(), resources()); err != nil {
			b.Fatal(err)
		}
	}
}

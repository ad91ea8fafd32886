package patch

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

func TestPatchesAreBounded(t *testing.T) {
	many := "[" + strings.Repeat(`{"op":"test","path":"/a","value":1},`, MaxOperations) + `{"op":"test","path":"/a","value":1}]`
	if _, _, err := JSON([]byte(`{"a":1}`), []byte(many), true); !apierrors.IsRequestEntityTooLargeError(err) {
		t.Errorf("too many operations: %v", err)
	}
	// Each copy doubles what is there.
	var copies []string
	for i := range 60 {
		copies = append(copies, fmt.Sprintf(`{"op":"copy","from":"/a","path":"/a/x%d"}`, i))
	}
	out, _, err := JSON([]byte(`{"a":{"b":"`+strings.Repeat("x", 1000)+`"}}`), []byte("["+strings.Join(copies, ",")+"]"), true)
	if err == nil {
		t.Errorf("a document that doubles with each operation was made, of %d bytes", len(out))
	}
}

func TestDuplicates(t *testing.T) {
	_, merge, err := Merge([]byte(`{}`), []byte(`{"a":{"b":1,"b":2}}`), true)
	if err != nil || len(merge) != 1 || merge[0].Error() != `duplicate field "a.b"` {
		t.Errorf("merge: %v, %v", merge, err)
	}
	_, _, strategic, err := Strategic(map[string]any{}, []byte(`{"spec":{"nodeName":"1","nodeName":"2"}}`), &corev1.Pod{}, true)
	if err != nil || len(strategic) != 1 || strategic[0].Error() != `duplicate field "spec.nodeName"` {
		t.Errorf("strategic: %v, %v", strategic, err)
	}
	_, operations, err := JSON([]byte(`{}`), []byte(`[{"op":"add","op":"add","path":"/a","value":1}]`), true)
	if err != nil || len(operations) != 1 || operations[0].Error() != `json patch duplicate field "[0].op"` {
		t.Errorf("json: %v, %v", operations, err)
	}
}

func FuzzPatches(f *testing.F) {
	const doc = `{"metadata":{"name":"p","labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i","ports":[{"containerPort":80}]}],"tolerations":[{"key":"k"}]}}`
	for _, seed := range []string{
		`[{"op":"add","path":"/spec/containers/-","value":{"name":"d"}}]`,
		`[{"op":"move","from":"/spec","path":"/metadata/x"}]`,
		`{"metadata":{"labels":null}}`,
		`{"spec":{"containers":[{"name":"c","$patch":"delete"}]}}`,
		`{"spec":{"$setElementOrder/containers":[{"name":"c"}],"containers":[{"name":"c","ports":[{"$patch":"replace"},{"containerPort":1}]}]}}`,
		`{"spec":{"$retainKeys":["containers"],"tolerations":[1,"x",null]}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, patch []byte) {
		for name, apply := range map[string]func() ([]byte, error){
			"json": func() ([]byte, error) {
				out, _, err := JSON([]byte(doc), patch, true)
				return out, err
			},
			"merge": func() ([]byte, error) {
				out, _, err := Merge([]byte(doc), patch, true)
				return out, err
			},
			"strategic": func() ([]byte, error) {
				var original map[string]any
				if err := json.Unmarshal([]byte(doc), &original); err != nil {
					t.Fatal(err)
				}
				patched, _, _, err := Strategic(original, patch, &corev1.Pod{}, true)
				if err != nil {
					return nil, err
				}
				return json.Marshal(patched)
			},
		} {
			if out, err := apply(); err == nil && !json.Valid(out) {
				t.Errorf("%s made what is not JSON: %q", name, out)
			}
		}
	})
}

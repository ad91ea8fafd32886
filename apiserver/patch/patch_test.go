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
	if _, err := JSON([]byte(`{"a":1}`), []byte(many)); !apierrors.IsRequestEntityTooLargeError(err) {
		t.Errorf("too many operations: %v", err)
	}
	// Each copy doubles what is there.
	var copies []string
	for i := range 60 {
		copies = append(copies, fmt.Sprintf(`{"op":"copy","from":"/a","path":"/a/x%d"}`, i))
	}
	out, err := JSON([]byte(`{"a":{"b":"`+strings.Repeat("x", 1000)+`"}}`), []byte("["+strings.Join(copies, ",")+"]"))
	if err == nil {
		t.Errorf("a document that doubles with each operation was made, of %d bytes", len(out))
	}
}

func TestDuplicates(t *testing.T) {
	if got := Duplicates([]byte(`{"a":{"b":1,"b":2}}`)); len(got) != 1 || got[0].Error() != `duplicate field "a.b"` {
		t.Errorf("%v", got)
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
			"json":      func() ([]byte, error) { return JSON([]byte(doc), patch) },
			"merge":     func() ([]byte, error) { return Merge([]byte(doc), patch) },
			"strategic": func() ([]byte, error) { return Strategic([]byte(doc), patch, &corev1.Pod{}) },
		} {
			if out, err := apply(); err == nil && !json.Valid(out) {
				t.Errorf("%s made what is not JSON: %q", name, out)
			}
		}
	})
}

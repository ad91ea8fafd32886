package openapi_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/openapi/openapitest"

	"github.com/strake-io/strake/apiserver/openapi"
	"github.com/strake-io/strake/apiserver/resources"
)

// added are parameters that upstream's operations have got since the documents were
// made that client-go ships for its tests.
var added = map[string]bool{"sendInitialEvents": true, "shardSelector": true, "ignoreStoreReadErrorWithClusterBreakingPotential": true, "stream": true}

// TestOperationsAreUpstreams holds paths, methods, ids, parameters, bodies and
// answers to the documents that client-go ships for its tests.
func TestOperationsAreUpstreams(t *testing.T) {
	all, err := resources.BuiltIn(resources.Config{})
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := openapitest.NewEmbeddedFileClient().Paths()
	if err != nil {
		t.Fatal(err)
	}
	for path, gv := range map[string]schema.GroupVersion{
		"api/v1": {Version: "v1"}, "apis/apps/v1": {Group: "apps", Version: "v1"}, "apis/batch/v1": {Group: "batch", Version: "v1"},
		"apis/discovery.k8s.io/v1": {Group: "discovery.k8s.io", Version: "v1"},
	} {
		raw, err := theirs[path].Schema("application/json")
		if err != nil {
			t.Fatal(err)
		}
		made, err := openapi.New(openapi.Config{}).V3(gv, all)
		if err != nil {
			t.Fatal(err)
		}
		ours, err := json.Marshal(made)
		if err != nil {
			t.Fatal(err)
		}
		want, got := flat(t, raw), flat(t, ours)
		for what, text := range want {
			if strings.Contains(what, "componentstatuses") || strings.Contains(what, "serviceaccounts/{name}/token") {
				continue // declared where there is something to say, see resources.Config
			}
			if got[what] != text {
				t.Errorf("%s\n got %s\nwant %s", what, got[what], text)
			}
		}
		for what := range got {
			if _, known := want[what]; !known && !strings.Contains(what, "/resize") {
				t.Errorf("not upstream's: %s", what)
			}
		}
	}
}

// flat writes each operation in a line, by method and path.
func flat(t *testing.T, data []byte) map[string]string {
	t.Helper()
	var doc struct {
		Paths map[string]map[string]json.RawMessage
	}
	if err := json.Unmarshal(data, &doc); err != nil {
		t.Fatal(err)
	}
	type param struct {
		Name, In, Description string
		Required              bool
		Schema                struct{ Type string }
	}
	params := func(raw json.RawMessage) string {
		var list []param
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &list); err != nil {
				t.Fatal(err)
			}
		}
		var out []string
		for _, p := range list {
			if !added[p.Name] {
				out = append(out, fmt.Sprint(p.Name, ":", p.In, ":", p.Required, ":", p.Schema.Type))
			}
		}
		return strings.Join(out, " ")
	}
	type content map[string]struct {
		Schema struct {
			Ref  string `json:"$ref"`
			Type string
		}
	}
	types := func(c content) string {
		var out []string
		for _, media := range slices.Sorted(maps.Keys(c)) {
			out = append(out, media+"="+c[media].Schema.Ref+c[media].Schema.Type)
		}
		return strings.Join(out, " ")
	}
	lines := map[string]string{}
	for path, item := range doc.Paths {
		for method, raw := range item {
			if method == "parameters" {
				lines[path] = params(raw)
				continue
			}
			var op struct {
				OperationID, Description string
				Tags                     []string
				Action                   string `json:"x-kubernetes-action"`
				GVK                      any    `json:"x-kubernetes-group-version-kind"`
				Parameters               json.RawMessage
				RequestBody              struct{ Content content }
				Responses                map[string]struct {
					Description string
					Content     content
				}
			}
			if err := json.Unmarshal(raw, &op); err != nil {
				t.Fatal(err)
			}
			line := fmt.Sprint(op.OperationID, "|", op.Description, "|", op.Tags, "|", op.Action, "|", op.GVK, "|", params(op.Parameters), "|", types(op.RequestBody.Content))
			for _, code := range slices.Sorted(maps.Keys(op.Responses)) {
				line += "|" + code + " " + op.Responses[code].Description + " " + types(op.Responses[code].Content)
			}
			lines[method+" "+path] = line
		}
	}
	return lines
}

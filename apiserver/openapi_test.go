package apiserver_test

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/openapi"
)

func TestOpenAPI(t *testing.T) {
	s := start(t, func(c *apiserver.Config) {
		c.OpenAPI = openapi.New(openapi.Config{})
	})
	c := client(t, s)
	document, err := c.Discovery().OpenAPISchema()
	if err != nil || document.Swagger != "2.0" {
		t.Errorf("v2 in protobuf: %v", err)
	}
	code, _, data := do(t, s, "GET", "/openapi/v3", "")
	var index struct {
		Paths map[string]struct{ ServerRelativeURL string }
	}
	if err := json.Unmarshal(data, &index); err != nil || code != 200 {
		t.Fatalf("%d %s", code, data)
	}
	url := index.Paths["api/v1"].ServerRelativeURL
	if !strings.HasPrefix(url, "/openapi/v3/api/v1?hash=") {
		t.Errorf("index: %s", data)
	}
	code, header, data := do(t, s, "GET", url, "")
	if code != 200 || header.Get("ETag") == "" || !strings.Contains(string(data), "io.k8s.api.core.v1.Pod") {
		t.Errorf("%s: %d %v %.200s", url, code, header, data)
	}
	if code, header, _ = do(t, s, "GET", url, "", "Accept", "application/com.github.proto-openapi.spec.v3@v1.0+protobuf"); code != 200 || !strings.Contains(header.Get("Content-Type"), "protobuf") {
		t.Errorf("v3 in protobuf: %d %v", code, header)
	}
}

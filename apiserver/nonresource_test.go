package apiserver_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
)

func TestRootAndHealthIndicators(t *testing.T) {
	s, _ := withPods(t, 0)
	get := func(path string) string {
		code, _, body := do(t, s, http.MethodGet, path, "")
		if code != http.StatusOK {
			t.Fatalf("%s: %d %s", path, code, body)
		}
		return string(body)
	}
	var root struct{ Paths []string }
	if err := json.Unmarshal([]byte(get("/")), &root); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/api", "/api/v1", "/apis", "/apis/", "/apis/apps/v1", "/healthz/ping", "/livez/store", "/metrics", "/metrics/slis", "/readyz/watch-cache", "/version"} {
		if !slices.Contains(root.Paths, path) {
			t.Errorf("%s is not among the paths: %v", path, root.Paths)
		}
	}
	if !slices.IsSorted(root.Paths) {
		t.Errorf("not in order: %v", root.Paths)
	}
	get("/livez")
	get("/livez/ping")
	slis := get("/metrics/slis")
	for _, line := range []string{
		`kubernetes_healthcheck{name="store",type="livez"} 1`,
		`kubernetes_healthchecks_total{name="ping",status="success",type="livez"} 2`,
	} {
		if !strings.Contains(slis, line+"\n") {
			t.Errorf("%s is not in:\n%s", line, slis)
		}
	}
}

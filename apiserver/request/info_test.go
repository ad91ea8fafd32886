package request

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		method, target string
		want           Info
	}{
		{"GET", "/api/v1/pods", Info{IsResource: true, Verb: "list", Version: "v1", Resource: "pods"}},
		{"GET", "/api/v1/pods?watch=1", Info{IsResource: true, Verb: "watch", Version: "v1", Resource: "pods"}},
		{"GET", "/api/v1/watch/namespaces/d/pods/p", Info{IsResource: true, Verb: "watch", Version: "v1", Namespace: "d", Resource: "pods", Name: "p", DeprecatedWatch: true}},
		{"GET", "/api/v1/namespaces/d/pods?fieldSelector=metadata.name%3Dp", Info{IsResource: true, Verb: "list", Version: "v1", Namespace: "d", Resource: "pods", Name: "p"}},
		{"POST", "/apis/apps/v1/namespaces/d/deployments", Info{IsResource: true, Verb: "create", Group: "apps", Version: "v1", Namespace: "d", Resource: "deployments"}},
		{"PUT", "/apis/apps/v1/namespaces/d/deployments/x/scale", Info{IsResource: true, Verb: "update", Group: "apps", Version: "v1", Namespace: "d", Resource: "deployments", Name: "x", Subresource: "scale"}},
		{"DELETE", "/api/v1/namespaces/d/pods", Info{IsResource: true, Verb: "deletecollection", Version: "v1", Namespace: "d", Resource: "pods"}},
		{"DELETE", "/api/v1/namespaces/d", Info{IsResource: true, Verb: "delete", Version: "v1", Namespace: "d", Resource: "namespaces", Name: "d"}},
		{"PUT", "/api/v1/namespaces/d/finalize", Info{IsResource: true, Verb: "update", Version: "v1", Namespace: "d", Resource: "namespaces", Name: "d", Subresource: "finalize"}},
		{"GET", "/api/v1/namespaces/d/services/s/proxy/a/b", Info{IsResource: true, Verb: "get", Version: "v1", Namespace: "d", Resource: "services", Name: "s", Subresource: "proxy", Tail: "a/b"}},
		{"GET", "/apis/apps/v1", Info{Verb: "get", Group: "apps", Version: "v1"}},
		{"GET", "/healthz", Info{Verb: "get"}},
		{"GET", "/", Info{Verb: "get"}},
	} {
		u, err := url.Parse(test.target)
		if err != nil {
			t.Fatal(err)
		}
		test.want.Path = u.Path
		if diff := cmp.Diff(test.want, Parse(&http.Request{Method: test.method, URL: u})); diff != "" {
			t.Errorf("%s %s (-want +got)\n%s", test.method, test.target, diff)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("GET", "/api/v1/namespaces/d/pods/p/log", "fieldSelector=metadata.name=x")
	f.Add("DELETE", "//apis//", "watch=true")
	f.Fuzz(func(t *testing.T, method, path, query string) {
		info := Parse(&http.Request{Method: method, URL: &url.URL{Path: path, RawQuery: query}})
		// A resource whose name is empty is one that is not served.
		if info.IsResource && info.Resource == "" && info.Name != "" && !strings.Contains(path, "//") {
			t.Errorf("%s: a name without a resource: %+v", path, info)
		}
	})
}

package apiserver_test

import (
	"net/http"
	"net/url"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// FuzzSelectors sends whatever comes as the parameters of a list: it is answered or
// refused, never a failure of the server.
func FuzzSelectors(f *testing.F) {
	for _, seed := range [][4]string{
		{"app=x,tier notin (a,b),!gone", "spec.nodeName=n,metadata.name!=p", "10", ""},
		{"a in (", "status.phase==\\=", "-1", "abc"},
		{"a=@", "foo=bar", "9223372036854775808", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoicFx1MDAwMCJ9"},
		{"a gt 3,b lt x", "metadata.namespace=", "1", "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6OTksInN0YXJ0IjoiLi4vLi4vIn0="},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	s := start(f)
	c := clientWithNamespace(f, s)
	if _, err := c.CoreV1().Pods("default").Create(f.Context(), pod("p"), metav1.CreateOptions{}); err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, labels, fields, limit, token string) {
		query := url.Values{"labelSelector": {labels}, "fieldSelector": {fields}, "limit": {limit}, "continue": {token}}
		code, _, body := do(t, s, http.MethodGet, "/api/v1/namespaces/default/pods?"+query.Encode(), "")
		if code >= 500 && code != http.StatusGatewayTimeout {
			t.Errorf("%d: %s", code, body)
		}
	})
}

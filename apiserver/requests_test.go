package apiserver_test

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/strake-io/strake/apiserver"
)

// do sends one request as the administrator and returns its answer.
func do(t testing.TB, s *apiserver.Server, method, path, body string, headers ...string) (int, http.Header, []byte) {
	t.Helper()
	return doAs(t, s, admin, method, path, body, headers...)
}

func doAs(t testing.TB, s *apiserver.Server, who user.Info, method, path, body string, headers ...string) (int, http.Header, []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, "http://x"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := s.RESTConfig(who).Transport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, response.Header, data
}

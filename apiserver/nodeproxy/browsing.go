package nodeproxy

import (
	"net/http"
	"strings"

	apiproxy "k8s.io/apimachinery/pkg/util/proxy"
	"k8s.io/streaming/pkg/httpstream"
)

// browsing is a transport for what is browsed through the API server: the links and
// redirects of the answers lead through the proxy again, and nothing lets pages of
// other sites read them. path is what is asked of the server behind; the rest of the
// request's own path is the way to it. Connections that switch protocols pass as they
// are.
func browsing(transport http.RoundTripper, req *http.Request, path string) http.RoundTripper {
	if httpstream.IsUpgradeRequest(req) {
		return transport
	}
	return withoutCORS{&apiproxy.Transport{RoundTripper: transport, PathPrepend: strings.TrimSuffix(req.URL.Path, path)}}
}

// withoutCORS takes away the headers by which the server behind would open what is
// the API server's to other sites.
type withoutCORS struct{ http.RoundTripper }

func (t withoutCORS) RoundTrip(req *http.Request) (*http.Response, error) {
	response, err := t.RoundTripper.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	for _, what := range []string{"Credentials", "Headers", "Methods", "Origin"} {
		response.Header.Del("Access-Control-Allow-" + what)
	}
	return response, nil
}

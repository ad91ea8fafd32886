package aggregation

import (
	"log"
	"net/http"
	"net/http/httputil"
	"strings"

	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/transport"
)

// serve hands a request on, for who. Its errors are plain text, as upstream's.
func (b *backend) serve(w http.ResponseWriter, r *http.Request, who user.Info) {
	if !b.available.Load() {
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	if b.broken != nil {
		http.Error(w, b.broken.Error(), http.StatusInternalServerError)
		return
	}
	to, err := b.resolve(r.Context())
	if err != nil {
		b.config.Logger.V(1).Info("Could not find the service of an APIService", "apiService", b.name, "error", err.Error())
		http.Error(w, "service unavailable", http.StatusServiceUnavailable)
		return
	}
	to.Path, to.RawPath, to.RawQuery = r.URL.Path, r.URL.RawPath, r.URL.RawQuery
	through := b.plain
	if r.Header.Get("Upgrade") != "" {
		through = b.upgrading
	}
	proxy := &httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) {
			p.Out.URL, p.Out.Host = to, to.Host
			p.Out.Header["X-Forwarded-For"] = p.In.Header["X-Forwarded-For"]
			p.SetXForwarded()
			withoutCredentials(p.Out.Header)
			transport.SetAuthProxyHeaders(p.Out, who.GetName(), who.GetUID(), who.GetGroups(), who.GetExtra())
		},
		// The other server's answer has its own of these.
		ModifyResponse: func(resp *http.Response) error {
			for _, name := range []string{"Audit-Id", "Cache-Control", "X-Content-Type-Options"} {
				if resp.Header.Get(name) != "" {
					w.Header().Del(name)
				}
			}
			return nil
		},
		Transport:     through,
		FlushInterval: -1, // a watch's events go out one by one
		ErrorLog:      log.New(discard{}, "", 0),
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() != nil {
				return // nobody listens any more
			}
			b.config.Logger.V(1).Info("Another server did not answer", "apiService", b.name, "error", err.Error())
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		},
	}
	proxy.ServeHTTP(w, r)
}

// withoutCredentials takes away what the client showed to this server: it is nobody
// else's business.
func withoutCredentials(header http.Header) {
	header.Del("Authorization")
	for name := range header {
		if strings.HasPrefix(name, "Impersonate-") {
			delete(header, name)
		}
	}
}

// discard takes the lines of ReverseProxy, which ErrorHandler has told already.
type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

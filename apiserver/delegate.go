package apiserver

import (
	"net/http"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/kube-openapi/pkg/validation/spec"

	"github.com/strake-io/strake/apiserver/discovery"
)

// Remote is a group version that another server serves. It does not change once
// the server has it.
type Remote struct {
	discovery.Remote
	// Serve answers requests for who: those below the path of the group version,
	// and those for its openapi documents.
	Serve func(w http.ResponseWriter, r *http.Request, who user.Info)
	// OpenAPI are the documents of version 3 that the other server has: where each
	// is, with its hash ("/openapi/v3/apis/example.com/v1?hash=..."), by its path
	// ("apis/example.com/v1").
	OpenAPI map[string]string
	// Swagger is what version 2 says of the group version; nil: nothing.
	Swagger *spec.Swagger
}

// delegation is the group versions that other servers serve.
type delegation struct {
	all  []*Remote
	byGV map[schema.GroupVersion]*Remote
}

// Delegate makes remotes the group versions that other servers serve, in place of
// those of the last call. Requests for them go there, authorised here first, even
// where this server has the same group version. Discovery and the openapi documents
// follow at once.
func (s *Server) Delegate(remotes []*Remote) {
	d := &delegation{all: remotes, byGV: make(map[schema.GroupVersion]*Remote, len(remotes))}
	for _, r := range remotes {
		d.byGV[r.GroupVersion] = r
	}
	s.delegated.Store(d)
}

// remote is who serves a path's group version in this server's place; nil: nobody.
func (x *exchange) remote() *Remote {
	away := x.delegated.Load().byGV
	if len(away) == 0 || x.info.Version == "" {
		return nil
	}
	return away[schema.GroupVersion{Group: x.info.Group, Version: x.info.Version}]
}

// relayed are sub-resources whose requests may go on without end. Another server's
// are known only by name.
var relayed = map[string]bool{"attach": true, "exec": true, "log": true, "portforward": true, "proxy": true}

// GroupVersions are those that this server has: fixed by its configuration, and
// published at run time. changed is closed when the latter may be others.
func (s *Server) GroupVersions() (fixed, published []schema.GroupVersion, changed <-chan struct{}) {
	s.mu.Lock()
	changed = s.published
	s.mu.Unlock()
	seen := map[schema.GroupVersion]bool{}
	for _, r := range s.config.Resources {
		if gv := r.GVK.GroupVersion(); !seen[gv] {
			seen[gv] = true
			fixed = append(fixed, gv)
		}
	}
	for _, r := range s.set.Table().Resources() {
		if gv := r.GVK.GroupVersion(); !seen[gv] {
			seen[gv] = true
			published = append(published, gv)
		}
	}
	return fixed, published, changed
}

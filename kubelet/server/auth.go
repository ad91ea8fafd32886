package server

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// allowed answers for the request when it is not.
func (s *Server) allowed(w http.ResponseWriter, req *http.Request) bool {
	if s.cfg.Authenticator == nil || req.URL.Path == "/healthz" {
		return true
	}
	who, ok, err := s.cfg.Authenticator.AuthenticateRequest(req)
	if err != nil || !ok {
		if err != nil {
			s.cfg.Logger.Info("could not authenticate a request", "err", err)
		}
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return false
	}
	attributes := s.attributes(req, who.User)
	decision, reason, err := s.cfg.Authorizer.Authorize(req.Context(), attributes)
	if err != nil {
		s.cfg.Logger.Error(err, "could not authorise a request", "user", who.User.GetName())
		http.Error(w, "Authorization error (user="+who.User.GetName()+")", http.StatusInternalServerError)
		return false
	}
	if decision != authorizer.DecisionAllow {
		s.cfg.Logger.V(1).Info("forbidden", "user", who.User.GetName(), "path", req.URL.Path, "reason", reason)
		http.Error(w, fmt.Sprintf("Forbidden (user=%s, verb=%s, resource=nodes, subresource=%s)",
			who.User.GetName(), attributes.GetVerb(), attributes.GetSubresource()), http.StatusForbidden)
		return false
	}
	return true
}

// attributes are those that upstream's kubelet asks about: sub-resources of the
// node, one for each kind of information and "proxy" for everything else.
func (s *Server) attributes(req *http.Request, who user.Info) authorizer.Attributes {
	verb := ""
	switch req.Method {
	case http.MethodPost:
		verb = "create"
	case http.MethodGet, http.MethodHead:
		verb = "get"
	case http.MethodPut:
		verb = "update"
	case http.MethodPatch:
		verb = "patch"
	case http.MethodDelete:
		verb = "delete"
	}
	below := func(prefix string) bool {
		return req.URL.Path == prefix || strings.HasPrefix(req.URL.Path, prefix+"/")
	}
	subresource := "proxy"
	switch {
	case below("/stats"):
		subresource = "stats"
	case below("/metrics"):
		subresource = "metrics"
	case below("/configz"):
		subresource = "configz"
	case below("/healthz"):
		subresource = "healthz"
	case below("/pods"):
		subresource = "pods"
	}
	return authorizer.AttributesRecord{
		User: who, Verb: verb, APIVersion: "v1", Resource: "nodes", Subresource: subresource,
		Name: s.cfg.NodeName, ResourceRequest: true, Path: req.URL.Path,
	}
}

// ClientCertificate authenticates by the certificate that the TLS server has
// verified: its common name is the user, its organisations the groups. The
// listener's tls.Config must ask for certificates and know the CA.
func ClientCertificate() authenticator.Request {
	return authenticator.RequestFunc(func(req *http.Request) (*authenticator.Response, bool, error) {
		if req.TLS == nil || len(req.TLS.VerifiedChains) == 0 {
			return nil, false, nil
		}
		subject := req.TLS.VerifiedChains[0][0].Subject
		if subject.CommonName == "" {
			return nil, false, nil
		}
		return &authenticator.Response{User: &user.DefaultInfo{Name: subject.CommonName, Groups: subject.Organization}}, true, nil
	})
}

// AllowUsers authorises the users and members of groups that are named, to
// everything.
func AllowUsers(users, groups []string) authorizer.Authorizer {
	return authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
		who := a.GetUser()
		if slices.Contains(users, who.GetName()) {
			return authorizer.DecisionAllow, "", nil
		}
		for _, g := range who.GetGroups() {
			if slices.Contains(groups, g) {
				return authorizer.DecisionAllow, "", nil
			}
		}
		return authorizer.DecisionNoOpinion, "not among the users of this node", nil
	})
}

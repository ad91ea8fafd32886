package openapi

import (
	"net/http"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/version"
)

// none are the media types of what reads no body, where that is said.
var none = []string{}

// pathOperation is what a path outside of group versions is for: discovery, the
// version, and what tells other systems how to check this one's tokens.
func pathOperation(path string) (operation, bool) {
	op := operation{method: http.MethodGet, path: path + "/", consumes: answerTypes, produces: answerTypes, codes: codes(http.StatusOK)}
	switch path {
	case "/api":
		op.id, op.tag, op.description = "getCoreAPIVersions", "core", "get available API versions"
		op.answer = payloadFor[metav1.APIVersions]()
	case "/apis":
		op.id, op.tag, op.description = "getAPIVersions", "apis", "get available API versions"
		op.answer = payloadFor[metav1.APIGroupList]()
	case "/version":
		op.id, op.tag, op.description = "getCodeVersion", "version", "get the version information for this server"
		op.answer, op.produces, op.consumes = payloadFor[version.Info](), []string{"application/json"}, []string{"application/json"}
	case "/.well-known/openid-configuration":
		op.id, op.tag = "getServiceAccountIssuerOpenIDConfiguration", "WellKnown"
		op.description = "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'"
		op.consumes, op.produces = none, []string{"application/json"}
	case "/openid/v1/jwks":
		op.id, op.tag = "getServiceAccountIssuerOpenIDKeyset", "openid"
		op.description = "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)"
		op.consumes, op.produces = none, []string{"application/jwk-set+json"}
	default:
		group, is := strings.CutPrefix(path, "/apis/")
		if !is || group == "" || strings.Contains(group, "/") {
			return op, false
		}
		op.id, op.tag, op.description = "get"+camel(groupName(group), true)+"APIGroup", camel(groupName(group), false), "get information of a group"
		op.answer = payloadFor[metav1.APIGroup]()
	}
	return op, true
}

// Package signers asks whether a user may act for a signer of certificates. Three
// admission plugins share it.
package signers

import (
	"context"
	"strings"

	certificatesv1 "k8s.io/api/certificates/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"
)

// May says whether a user has a verb (approve, sign, attest) on a signer, or on all
// signers of its domain ("example.com/*"). Who cannot be asked has not allowed it.
func May(ctx context.Context, by authorizer.UnconditionalAuthorizer, who user.Info, verb, signer string) bool {
	domain, _, _ := strings.Cut(signer, "/")
	for _, name := range []string{signer, domain + "/*"} {
		decision, _, err := by.Authorize(ctx, authorizer.AttributesRecord{
			User: who, Verb: verb, APIGroup: certificatesv1.GroupName, APIVersion: "*", Resource: "signers", Name: name, ResourceRequest: true,
		})
		if err == nil && decision == authorizer.DecisionAllow {
			return true
		}
	}
	return false
}

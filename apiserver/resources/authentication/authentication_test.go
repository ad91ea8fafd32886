package authentication

import (
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"

	"github.com/strake-io/strake/apiserver/authn"
	"github.com/strake-io/strake/apiserver/resource"
)

// What is no token at all is nobody, not even the anonymous user.
func TestTokenReviewOfBlanks(t *testing.T) {
	c := Config{Authenticator: authn.New(authn.Config{}), Audiences: []string{"api"}}
	for _, token := range []string{" ", "\t", "\n ", "x"} {
		out, err := c.reviewToken(t.Context(), resource.Request{}, &authenticationv1.TokenReview{Spec: authenticationv1.TokenReviewSpec{Token: token}}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if status := out.(*authenticationv1.TokenReview).Status; status.Authenticated {
			t.Errorf("%q: %+v", token, status)
		}
	}
}

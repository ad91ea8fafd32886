// Package authentication declares the resources of authentication.k8s.io/v1:
// reviews that tell who someone is. None of them is stored.
package authentication

import (
	"context"
	"fmt"
	"net/http"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/authenticator"

	"github.com/strake-io/strake/apiserver/authn"
	"github.com/strake-io/strake/apiserver/resource"
)

// Config is what the reviews ask.
type Config struct {
	// Authenticator knows bearer tokens; nil knows none.
	Authenticator authenticator.Request
	// Audiences are the API server's own, for reviews that name none.
	Audiences authenticator.Audiences
}

// Resources are the group's resources.
func Resources(cfg Config) []*resource.Resource {
	return []*resource.Resource{
		{
			GVK: authenticationv1.SchemeGroupVersion.WithKind("SelfSubjectReview"), Plural: "selfsubjectreviews", Singular: "selfsubjectreview",
			New:    func() runtime.Object { return &authenticationv1.SelfSubjectReview{} },
			Verbs:  []string{"create"},
			Create: reviewSelf,
		},
		{
			GVK: authenticationv1.SchemeGroupVersion.WithKind("TokenReview"), Plural: "tokenreviews", Singular: "tokenreview",
			New:    func() runtime.Object { return &authenticationv1.TokenReview{} },
			Verbs:  []string{"create"},
			Create: cfg.reviewToken,
		},
	}
}

// reviewSelf answers kubectl auth whoami.
func reviewSelf(_ context.Context, req resource.Request, obj runtime.Object, _ resource.Objects) (runtime.Object, error) {
	if _, ok := obj.(*authenticationv1.SelfSubjectReview); !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a SelfSubjectReview: %#v", obj))
	}
	if req.User == nil {
		return nil, apierrors.NewBadRequest("no user present on request")
	}
	// Nothing of what was sent comes back.
	return &authenticationv1.SelfSubjectReview{
		ObjectMeta: metav1.ObjectMeta{CreationTimestamp: metav1.Now()},
		Status:     authenticationv1.SelfSubjectReviewStatus{UserInfo: authn.UserInfo(req.User)},
	}, nil
}

func (c Config) reviewToken(ctx context.Context, _ resource.Request, obj runtime.Object, _ resource.Objects) (runtime.Object, error) {
	review, ok := obj.(*authenticationv1.TokenReview)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a TokenReview: %#v", obj))
	}
	if review.Spec.Token == "" {
		return nil, apierrors.NewBadRequest("token is required for TokenReview in authentication")
	}
	// The rest of a status that was sent comes back, but says nothing without this.
	review.Status.Authenticated = false
	// A request with a blank token has none and is the anonymous user's, who is
	// nobody's word for anything.
	if c.Authenticator == nil || strings.TrimSpace(review.Spec.Token) == "" {
		return review, nil
	}
	audiences := authenticator.Audiences(review.Spec.Audiences)
	if len(audiences) == 0 {
		audiences = c.Audiences
	}
	if len(audiences) > 0 {
		ctx = authenticator.WithAudiences(ctx, audiences)
	}
	// The token is tried as one who sends it would be.
	bearer := (&http.Request{Header: http.Header{"Authorization": {"Bearer " + review.Spec.Token}}}).WithContext(ctx)
	response, known, err := c.Authenticator.AuthenticateRequest(bearer)
	if err != nil {
		review.Status.Error = err.Error()
	}
	if !known || err != nil || response == nil || response.User == nil {
		return review, nil
	}
	// A token that was not made for any of the audiences says nothing to them.
	// An authenticator that knows no audiences speaks for the server's own.
	granted := response.Audiences
	if granted == nil {
		granted = c.Audiences
	}
	if len(audiences) > 0 && len(audiences.Intersect(granted)) == 0 {
		review.Status.Error = "the token is not valid for any of the requested audiences"
		return review, nil
	}
	review.Status.Authenticated = true
	review.Status.User = authn.UserInfo(response.User)
	review.Status.Audiences = audiences.Intersect(granted)
	return review, nil
}

// Package authorization declares the resources of authorization.k8s.io/v1:
// reviews that tell what someone may do. None of them is stored.
package authorization

import (
	"context"
	"fmt"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/resource"
)

// Config is what the reviews ask.
type Config struct {
	// Authorizer decides; nil allows nothing.
	Authorizer authorizer.UnconditionalAuthorizer
	// Rules lists what a user may do in a namespace; nil knows of nothing, and
	// says that its answer is incomplete.
	Rules authorizer.RuleResolver
}

// Resources are the group's resources.
func Resources(cfg Config) []*resource.Resource {
	virtual := func(kind, plural, singular string, namespaced bool, empty func() runtime.Object, validate func(runtime.Object) field.ErrorList, create resource.CreateFunc) *resource.Resource {
		return &resource.Resource{
			GVK: authorizationv1.SchemeGroupVersion.WithKind(kind), Plural: plural, Singular: singular, Namespaced: namespaced,
			New: empty, Verbs: []string{"create"}, Create: create,
			Strategy:    resource.Strategy{Validate: validate},
			InvalidKind: &schema.GroupKind{Group: authorizationv1.GroupName},
		}
	}
	return []*resource.Resource{
		virtual("LocalSubjectAccessReview", "localsubjectaccessreviews", "localsubjectaccessreview", true,
			func() runtime.Object { return &authorizationv1.LocalSubjectAccessReview{} }, validateLocal, cfg.reviewLocal),
		virtual("SelfSubjectAccessReview", "selfsubjectaccessreviews", "selfsubjectaccessreview", false,
			func() runtime.Object { return &authorizationv1.SelfSubjectAccessReview{} }, validateSelf, cfg.reviewSelf),
		virtual("SelfSubjectRulesReview", "selfsubjectrulesreviews", "selfsubjectrulesreview", false,
			func() runtime.Object { return &authorizationv1.SelfSubjectRulesReview{} }, nil, cfg.reviewRules),
		virtual("SubjectAccessReview", "subjectaccessreviews", "subjectaccessreview", false,
			func() runtime.Object { return &authorizationv1.SubjectAccessReview{} }, validateSubject, cfg.reviewSubject),
	}
}

func (c Config) reviewSelf(ctx context.Context, req resource.Request, obj runtime.Object, _ resource.Objects) (runtime.Object, error) {
	review, ok := obj.(*authorizationv1.SelfSubjectAccessReview)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a SelfSubjectAccessReview: %#v", obj))
	}
	if req.User == nil {
		return nil, apierrors.NewBadRequest("no user present on request")
	}
	review.Status = c.decide(ctx, attributes(req.User, review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes))
	return review, nil
}

func (c Config) reviewSubject(ctx context.Context, _ resource.Request, obj runtime.Object, _ resource.Objects) (runtime.Object, error) {
	review, ok := obj.(*authorizationv1.SubjectAccessReview)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a SubjectAccessReview: %#v", obj))
	}
	review.Status = c.decide(ctx, attributes(subject(&review.Spec), review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes))
	return review, nil
}

func (c Config) reviewLocal(ctx context.Context, req resource.Request, obj runtime.Object, _ resource.Objects) (runtime.Object, error) {
	review, ok := obj.(*authorizationv1.LocalSubjectAccessReview)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a LocalSubjectAccessReview: %#v", obj))
	}
	if req.Namespace == "" {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("namespace is required on this type: %v", req.Namespace))
	}
	if review.Namespace != req.Namespace {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("spec.resourceAttributes.namespace must match namespace: %v", req.Namespace))
	}
	review.Status = c.decide(ctx, attributes(subject(&review.Spec), review.Spec.ResourceAttributes, review.Spec.NonResourceAttributes))
	return review, nil
}

func (c Config) decide(ctx context.Context, a authorizer.AttributesRecord) authorizationv1.SubjectAccessReviewStatus {
	if c.Authorizer == nil {
		return authorizationv1.SubjectAccessReviewStatus{EvaluationError: "no authorizer is configured"}
	}
	decision, reason, err := c.Authorizer.Authorize(ctx, a)
	status := authorizationv1.SubjectAccessReviewStatus{
		Allowed: decision == authorizer.DecisionAllow,
		Denied:  decision == authorizer.DecisionDeny,
		Reason:  reason,
	}
	status.EvaluationError = evaluationError(err, a)
	return status
}

func (c Config) reviewRules(ctx context.Context, req resource.Request, obj runtime.Object, _ resource.Objects) (runtime.Object, error) {
	review, ok := obj.(*authorizationv1.SelfSubjectRulesReview)
	if !ok {
		return nil, apierrors.NewBadRequest(fmt.Sprintf("not a SelfSubjectRulesReview: %#v", obj))
	}
	if req.User == nil {
		return nil, apierrors.NewBadRequest("no user present on request")
	}
	if review.Spec.Namespace == "" {
		return nil, apierrors.NewBadRequest("no namespace on request")
	}
	// Clients expect lists, not their absence.
	status := authorizationv1.SubjectRulesReviewStatus{
		ResourceRules: []authorizationv1.ResourceRule{}, NonResourceRules: []authorizationv1.NonResourceRule{},
	}
	if c.Rules == nil {
		status.Incomplete, status.EvaluationError = true, "the authorizer does not support user rule resolution"
		return &authorizationv1.SelfSubjectRulesReview{Status: status}, nil
	}
	rules, paths, incomplete, err := c.Rules.RulesFor(ctx, req.User, review.Spec.Namespace)
	for _, r := range rules {
		status.ResourceRules = append(status.ResourceRules, authorizationv1.ResourceRule{
			Verbs: r.GetVerbs(), APIGroups: r.GetAPIGroups(), Resources: r.GetResources(), ResourceNames: r.GetResourceNames(),
		})
	}
	for _, p := range paths {
		status.NonResourceRules = append(status.NonResourceRules, authorizationv1.NonResourceRule{Verbs: p.GetVerbs(), NonResourceURLs: p.GetNonResourceURLs()})
	}
	status.Incomplete = incomplete
	if err != nil {
		status.EvaluationError = err.Error()
	}
	// Nothing of what was sent comes back.
	return &authorizationv1.SelfSubjectRulesReview{Status: status}, nil
}

func subject(s *authorizationv1.SubjectAccessReviewSpec) user.Info {
	extra := make(map[string][]string, len(s.Extra))
	for k, v := range s.Extra {
		extra[k] = v
	}
	return &user.DefaultInfo{Name: s.User, Groups: s.Groups, UID: s.UID, Extra: extra}
}

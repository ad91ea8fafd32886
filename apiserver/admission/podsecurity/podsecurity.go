// Package podsecurity is the admission plugin that holds pods to the Pod Security
// Standard that the labels of their namespace name, warns of what would break it, and
// says what a stricter label would mean for the pods there are. The checks are those
// of k8s.io/pod-security-admission, which upstream's API server has too.
package podsecurity

import (
	"context"
	"errors"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	podsecurity "k8s.io/pod-security-admission/admission"
	configuration "k8s.io/pod-security-admission/admission/api"
	"k8s.io/pod-security-admission/admission/api/load"
	"k8s.io/pod-security-admission/api"
	"k8s.io/pod-security-admission/metrics"
	"k8s.io/pod-security-admission/policy"

	"github.com/strake-io/strake/apiserver/admission"
)

// Plugin implements admission.Validator. It is safe for concurrent use.
type Plugin struct {
	// checks lack what is different for each write, the objects there are.
	checks podsecurity.Admission
}

// New makes the plugin. A nil configuration is upstream's: what the labels do not say
// is privileged, and nobody is exempt. An error says what is wrong with one.
func New(config *configuration.PodSecurityConfiguration) (*Plugin, error) {
	if config == nil {
		var err error
		if config, err = load.LoadFromData(nil); err != nil {
			return nil, fmt.Errorf("podsecurity: %w", err)
		}
	}
	evaluator, err := policy.NewEvaluator(policy.DefaultChecks(), nil)
	if err != nil {
		return nil, fmt.Errorf("podsecurity: %w", err)
	}
	p := &Plugin{checks: podsecurity.Admission{
		Configuration: config, Evaluator: evaluator, Metrics: unmeasured{}, PodSpecExtractor: podsecurity.DefaultPodSpecExtractor{},
		NamespaceGetter: cluster{}, PodLister: cluster{},
	}}
	if err := errors.Join(p.checks.CompleteConfiguration(), p.checks.ValidateConfiguration()); err != nil {
		return nil, fmt.Errorf("podsecurity: %w", err)
	}
	return p, nil
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "PodSecurity" }

// Validate implements admission.Validator.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	if a.Operation != admission.Create && a.Operation != admission.Update || !concerned(a.Resource.GroupResource()) {
		return nil
	}
	checks := p.checks
	checks.NamespaceGetter, checks.PodLister = cluster{a.Objects}, cluster{a.Objects}
	verdict := checks.Validate(ctx, attributes{a})
	for _, warning := range verdict.Warnings {
		a.Warn(warning)
	}
	for key, value := range verdict.AuditAnnotations {
		a.Audit(api.AuditAnnotationPrefix+key, value)
	}
	if verdict.Allowed {
		return nil
	}
	refusal := apierrors.NewForbidden(a.Resource.GroupResource(), a.ErrorName(), errors.New("Not allowed by PodSecurity"))
	if said := verdict.Result; said != nil {
		if said.Message != "" {
			refusal.ErrStatus.Message = said.Message
		}
		if said.Reason != "" {
			refusal.ErrStatus.Reason = said.Reason
		}
		if said.Details != nil {
			refusal.ErrStatus.Details = said.Details
		}
		if said.Code != 0 {
			refusal.ErrStatus.Code = said.Code
		}
	}
	return refusal
}

// concerned: pods, what makes pods, and the namespaces whose labels decide.
func concerned(gr schema.GroupResource) bool {
	return gr == corev1.Resource("namespaces") || podsecurity.DefaultPodSpecExtractor{}.HasPodSpec(gr)
}

// unmeasured keeps no figures.
type unmeasured struct{}

func (unmeasured) RecordEvaluation(metrics.Decision, api.LevelVersion, metrics.Mode, api.Attributes) {
}
func (unmeasured) RecordExemption(api.Attributes)   {}
func (unmeasured) RecordError(bool, api.Attributes) {}

package admissionregistration

import (
	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func orDefault[T any](p **T, value T) {
	if *p == nil {
		*p = &value
	}
}

func defaultWebhook(h *admissionv1.MutatingWebhook) {
	orDefault(&h.FailurePolicy, admissionv1.Fail)
	orDefault(&h.MatchPolicy, admissionv1.Equivalent)
	orDefault(&h.NamespaceSelector, metav1.LabelSelector{})
	orDefault(&h.ObjectSelector, metav1.LabelSelector{})
	orDefault(&h.TimeoutSeconds, 10)
	if s := h.ClientConfig.Service; s != nil {
		orDefault(&s.Port, 443)
	}
	for i := range h.Rules {
		orDefault(&h.Rules[i].Scope, admissionv1.AllScopes)
	}
}

func defaultMatch(m *admissionv1.MatchResources) {
	if m == nil {
		return
	}
	orDefault(&m.MatchPolicy, admissionv1.Equivalent)
	orDefault(&m.NamespaceSelector, metav1.LabelSelector{})
	orDefault(&m.ObjectSelector, metav1.LabelSelector{})
	for _, rules := range [][]admissionv1.NamedRuleWithOperations{m.ResourceRules, m.ExcludeResourceRules} {
		for i := range rules {
			orDefault(&rules[i].Scope, admissionv1.AllScopes)
		}
	}
}

// Package admissionregistration declares the resources of
// admissionregistration.k8s.io, v1: the webhooks and the policies that take part in
// admission. What they do is in apiserver/admission/webhook and policy; here is what
// may be written into them.
package admissionregistration

import (
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/typed"
)

// Resources are the group's resources.
func Resources() []*resource.Resource {
	return []*resource.Resource{
		mutatingPolicies(),
		mutatingBindings(),
		mutatingWebhooks(),
		validatingPolicies(),
		validatingBindings(),
		validatingWebhooks(),
	}
}

// declare fills in what the kinds of this group have in common.
func declare(kind, plural string, r resource.Resource) *resource.Resource {
	r.GVK, r.Plural = admissionv1.SchemeGroupVersion.WithKind(kind), plural
	r.Categories = []string{"api-extensions"}
	return &r
}

func mutatingWebhooks() *resource.Resource {
	counted := typed.Counted(func(c *admissionv1.MutatingWebhookConfiguration) *[]admissionv1.MutatingWebhook { return &c.Webhooks })
	return declare("MutatingWebhookConfiguration", "mutatingwebhookconfigurations", resource.Resource{
		New: typed.New[admissionv1.MutatingWebhookConfiguration], NewList: typed.New[admissionv1.MutatingWebhookConfigurationList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(c *admissionv1.MutatingWebhookConfiguration) {
				for i := range c.Webhooks {
					defaultWebhook(&c.Webhooks[i])
					orDefault(&c.Webhooks[i].ReinvocationPolicy, admissionv1.NeverReinvocationPolicy)
				}
			}),
			PrepareForCreate: counted.Create, PrepareForUpdate: counted.Update,
			Validate: typed.Validate(func(c *admissionv1.MutatingWebhookConfiguration) errorList { return validateWebhooks(c.Webhooks, nil) }),
			ValidateChange: typed.Change(func(c, old *admissionv1.MutatingWebhookConfiguration) errorList {
				return validateWebhooks(c.Webhooks, &old.Webhooks)
			}),
		},
		Table: webhookTable(func(c *admissionv1.MutatingWebhookConfiguration) int { return len(c.Webhooks) }),
	})
}

func validatingWebhooks() *resource.Resource {
	counted := typed.Counted(func(c *admissionv1.ValidatingWebhookConfiguration) *[]admissionv1.ValidatingWebhook {
		return &c.Webhooks
	})
	return declare("ValidatingWebhookConfiguration", "validatingwebhookconfigurations", resource.Resource{
		New: typed.New[admissionv1.ValidatingWebhookConfiguration], NewList: typed.New[admissionv1.ValidatingWebhookConfigurationList],
		Strategy: resource.Strategy{
			Default: typed.Default(func(c *admissionv1.ValidatingWebhookConfiguration) {
				for i := range c.Webhooks {
					h := asMutating(&c.Webhooks[i])
					defaultWebhook(&h)
					c.Webhooks[i] = asValidating(&h)
				}
			}),
			PrepareForCreate: counted.Create, PrepareForUpdate: counted.Update,
			Validate: typed.Validate(func(c *admissionv1.ValidatingWebhookConfiguration) errorList {
				return validateWebhooks(allMutating(c.Webhooks), nil)
			}),
			ValidateChange: typed.Change(func(c, old *admissionv1.ValidatingWebhookConfiguration) errorList {
				was := allMutating(old.Webhooks)
				return validateWebhooks(allMutating(c.Webhooks), &was)
			}),
		},
		Table: webhookTable(func(c *admissionv1.ValidatingWebhookConfiguration) int { return len(c.Webhooks) }),
	})
}

// asMutating shows a validating webhook as a mutating one: the two differ only in
// what may follow a mutation.
func asMutating(h *admissionv1.ValidatingWebhook) admissionv1.MutatingWebhook {
	return admissionv1.MutatingWebhook{
		Name: h.Name, ClientConfig: h.ClientConfig, Rules: h.Rules, FailurePolicy: h.FailurePolicy, MatchPolicy: h.MatchPolicy,
		NamespaceSelector: h.NamespaceSelector, ObjectSelector: h.ObjectSelector, SideEffects: h.SideEffects,
		TimeoutSeconds: h.TimeoutSeconds, AdmissionReviewVersions: h.AdmissionReviewVersions, MatchConditions: h.MatchConditions,
	}
}

func asValidating(h *admissionv1.MutatingWebhook) admissionv1.ValidatingWebhook {
	return admissionv1.ValidatingWebhook{
		Name: h.Name, ClientConfig: h.ClientConfig, Rules: h.Rules, FailurePolicy: h.FailurePolicy, MatchPolicy: h.MatchPolicy,
		NamespaceSelector: h.NamespaceSelector, ObjectSelector: h.ObjectSelector, SideEffects: h.SideEffects,
		TimeoutSeconds: h.TimeoutSeconds, AdmissionReviewVersions: h.AdmissionReviewVersions, MatchConditions: h.MatchConditions,
	}
}

func allMutating(hooks []admissionv1.ValidatingWebhook) []admissionv1.MutatingWebhook {
	out := make([]admissionv1.MutatingWebhook, len(hooks))
	for i := range hooks {
		out[i] = asMutating(&hooks[i])
	}
	return out
}

func webhookTable[T typed.Object](count func(T) int) resource.Table {
	return resource.Table{
		Columns: []metav1.TableColumnDefinition{
			columns.Name(),
			columns.Integer("Webhooks", "Webhooks indicates the number of webhooks registered in this configuration"),
			columns.Created(),
		},
		Cells: typed.Cells(func(c T, now time.Time) []any {
			return []any{c.GetName(), int64(count(c)), columns.Age(c.GetCreationTimestamp(), now)}
		}),
	}
}

package webhook

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/celexpr"
	"github.com/strake-io/strake/apiserver/admission/match"
	client "github.com/strake-io/strake/apiserver/webhook"
)

// hook is one webhook, read once.
type hook struct {
	name, configuration string
	target              client.Target
	criteria            *match.Criteria
	// conditions are compiled when a write first matches all the rest; nil where there
	// are none.
	conditions func() (*celexpr.Compiler, *celexpr.Conditions)
	timeout    time.Duration
	ignore     bool // failures
	dryRun     bool // may be called in one
	again      bool // where others changed the object later
	// review is the first version of AdmissionReview in its list that is known here;
	// "" is none.
	review string
	broken error
}

// configured are all webhooks of a kind, made anew when one of the configurations
// changes: a write that finds none pays for one look at a number.
type configured struct {
	resource schema.GroupResource
	read     func(obj runtime.Object) []hook
	known    atomic.Pointer[known]
}

type known struct {
	version int64
	hooks   []hook
}

func (c *configured) hooks(ctx context.Context, a *admission.Attributes) ([]hook, error) {
	if a.Catalog == nil {
		return nil, nil
	}
	version, err := a.Catalog.Version(ctx, c.resource)
	if err != nil || version == 0 {
		return nil, err
	}
	if k := c.known.Load(); k != nil && k.version == version {
		return k.hooks, nil
	}
	objects, err := a.Objects.List(ctx, c.resource, "")
	if err != nil {
		return nil, err
	}
	// Keys are sorted, and with them the names of the configurations.
	k := &known{version: version}
	for _, obj := range objects {
		k.hooks = append(k.hooks, c.read(obj)...)
	}
	c.known.Store(k)
	return k.hooks, nil
}

func mutatingHooks(obj runtime.Object) []hook {
	config, ok := obj.(*admissionv1.MutatingWebhookConfiguration)
	if !ok {
		return nil
	}
	var out []hook
	for i := range config.Webhooks {
		w := &config.Webhooks[i]
		h := newHook(config.Name, w.Name, w.ClientConfig, w.TimeoutSeconds, w.FailurePolicy, w.SideEffects, w.AdmissionReviewVersions)
		h.again = ptr.Deref(w.ReinvocationPolicy, admissionv1.NeverReinvocationPolicy) == admissionv1.IfNeededReinvocationPolicy
		h.criteria, h.broken = match.New(match.Named(w.Rules), nil, w.MatchPolicy, w.NamespaceSelector, w.ObjectSelector)
		h.compile(w.MatchConditions)
		out = append(out, h)
	}
	return out
}

func validatingHooks(obj runtime.Object) []hook {
	config, ok := obj.(*admissionv1.ValidatingWebhookConfiguration)
	if !ok {
		return nil
	}
	var out []hook
	for i := range config.Webhooks {
		w := &config.Webhooks[i]
		h := newHook(config.Name, w.Name, w.ClientConfig, w.TimeoutSeconds, w.FailurePolicy, w.SideEffects, w.AdmissionReviewVersions)
		h.criteria, h.broken = match.New(match.Named(w.Rules), nil, w.MatchPolicy, w.NamespaceSelector, w.ObjectSelector)
		h.compile(w.MatchConditions)
		out = append(out, h)
	}
	return out
}

const defaultTimeout = 10 * time.Second

func newHook(configuration, name string, c admissionv1.WebhookClientConfig, timeout *int32, failure *admissionv1.FailurePolicyType, effects *admissionv1.SideEffectClass, versions []string) hook {
	h := hook{
		name: name, configuration: configuration, timeout: defaultTimeout, ignore: ptr.Deref(failure, admissionv1.Fail) == admissionv1.Ignore,
		dryRun: effects != nil && (*effects == admissionv1.SideEffectClassNone || *effects == admissionv1.SideEffectClassNoneOnDryRun),
		target: client.Target{URL: ptr.Deref(c.URL, ""), CABundle: c.CABundle},
	}
	if i := slices.IndexFunc(versions, func(v string) bool { return v == "v1" || v == "v1beta1" }); i >= 0 {
		h.review = versions[i]
	}
	if timeout != nil {
		h.timeout = time.Duration(*timeout) * time.Second
	}
	if s := c.Service; s != nil {
		h.target.Service = &client.Service{Namespace: s.Namespace, Name: s.Name, Path: ptr.Deref(s.Path, ""), Port: ptr.Deref(s.Port, 443)}
	}
	return h
}

func (h *hook) compile(conditions []admissionv1.MatchCondition) {
	if len(conditions) == 0 {
		return
	}
	h.conditions = sync.OnceValues(func() (*celexpr.Compiler, *celexpr.Conditions) {
		c := &celexpr.Compiler{}
		return c, c.Conditions(conditions, celexpr.Declares{Authorizer: true}, celexpr.Stored)
	})
}

// key names a hook among all.
func (h *hook) key() string { return h.configuration + "/" + h.name }

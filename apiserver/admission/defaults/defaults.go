// Package defaults puts the admission plugins of a whole API server in order: those
// that are built in, those that the host brings, and those by which clients have
// registered policies and webhooks.
package defaults

import (
	limited "k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota/v1"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	configuration "k8s.io/pod-security-admission/admission/api"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/certificateapproval"
	"github.com/strake-io/strake/apiserver/admission/certificatesigning"
	"github.com/strake-io/strake/apiserver/admission/certificatesubjectrestriction"
	"github.com/strake-io/strake/apiserver/admission/clustertrustbundleattest"
	"github.com/strake-io/strake/apiserver/admission/defaultingressclass"
	"github.com/strake-io/strake/apiserver/admission/defaultstorageclass"
	"github.com/strake-io/strake/apiserver/admission/defaulttolerationseconds"
	"github.com/strake-io/strake/apiserver/admission/limitranger"
	"github.com/strake-io/strake/apiserver/admission/namespacelifecycle"
	"github.com/strake-io/strake/apiserver/admission/nodedeclaredfeaturevalidator"
	"github.com/strake-io/strake/apiserver/admission/noderestriction"
	"github.com/strake-io/strake/apiserver/admission/persistentvolumeclaimresize"
	"github.com/strake-io/strake/apiserver/admission/podresizevalidator"
	"github.com/strake-io/strake/apiserver/admission/podsecurity"
	"github.com/strake-io/strake/apiserver/admission/podtopologylabels"
	"github.com/strake-io/strake/apiserver/admission/policy"
	"github.com/strake-io/strake/apiserver/admission/priority"
	"github.com/strake-io/strake/apiserver/admission/resourcequota"
	"github.com/strake-io/strake/apiserver/admission/runtimeclass"
	"github.com/strake-io/strake/apiserver/admission/serviceaccount"
	"github.com/strake-io/strake/apiserver/admission/storageobjectinuseprotection"
	"github.com/strake-io/strake/apiserver/admission/taintnodesbycondition"
	webhookadmission "github.com/strake-io/strake/apiserver/admission/webhook"
	"github.com/strake-io/strake/apiserver/webhook"
)

// Config is what the plugins need to know.
type Config struct {
	// Authorizer is asked by plugins that give to some what others may not have.
	Authorizer authorizer.Authorizer
	// Caller reaches the webhooks that clients register.
	Caller *webhook.Caller
	// NoToken mounts no tokens into pods: see [serviceaccount.Plugin].
	NoToken bool
	// PodSecurity is what namespaces without labels of their own are held to, and who
	// is exempt; nil means nothing and nobody.
	PodSecurity *configuration.PodSecurityConfiguration
	// Limited are the resources that nobody may consume without a quota for them.
	Limited []limited.LimitedResource
	// Host are the plugins of the program: its own, which see objects as the built-in
	// ones have completed them, and those of upstream's that are off by default.
	Host []admission.Plugin
}

// Chain is every plugin that a v1.37 API server has on by default, NodeRestriction,
// which every cluster turns on, and the host's, in
// its order: those of the host that bear the name of one of upstream's have their
// place there, all others come before the first of those that clients configure.
// Source: https://kubernetes.io/docs/reference/access-authn-authz/admission-controllers/.
func Chain(c Config) ([]admission.Plugin, error) {
	security, err := podsecurity.New(c.PodSecurity)
	if err != nil {
		return nil, err
	}
	policies := policy.Config{Authorizer: c.Authorizer}
	hooks := webhookadmission.Config{Caller: c.Caller, Authorizer: c.Authorizer}
	return inOrder(append([]admission.Plugin{
		namespacelifecycle.Plugin{},
		limitranger.Plugin{},
		serviceaccount.Plugin{NoToken: c.NoToken},
		noderestriction.Plugin{Authorizer: c.Authorizer},
		taintnodesbycondition.Plugin{},
		security,
		priority.Plugin{},
		defaulttolerationseconds.Plugin{},
		defaultstorageclass.Plugin{},
		storageobjectinuseprotection.Plugin{},
		persistentvolumeclaimresize.Plugin{},
		runtimeclass.Plugin{},
		certificateapproval.Plugin{Authorizer: c.Authorizer},
		certificatesigning.Plugin{Authorizer: c.Authorizer},
		clustertrustbundleattest.Plugin{Authorizer: c.Authorizer},
		certificatesubjectrestriction.Plugin{},
		defaultingressclass.Plugin{},
		podtopologylabels.Plugin{},
		nodedeclaredfeaturevalidator.Plugin{},
		podresizevalidator.Plugin{},
		policy.NewMutating(policies),
		webhookadmission.NewMutating(hooks),
		policy.NewValidating(policies),
		webhookadmission.NewValidating(hooks),
		resourcequota.New(c.Limited),
	}, c.Host...)), nil
}

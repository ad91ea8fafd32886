// Package core declares the resources of the core group, v1: pods, nodes,
// namespaces, services and what goes with them.
//
// Each file holds one kind, or one side of a big one (pod_columns.go,
// service_validate.go). What all pod templates share is in
// apiserver/resources/podspec. The API server's registry serves the values that
// [Resources] returns.
package core

import (
	"math/rand/v2"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"

	"github.com/strake-io/strake/apiserver/allocator"
	"github.com/strake-io/strake/apiserver/authn/tokens"
	"github.com/strake-io/strake/apiserver/resource"
)

// Config is what the core resources need from the host.
type Config struct {
	// Nodes carries requests to kubelets, pods and services; nil makes log, exec,
	// attach, portforward and proxy answer 503.
	Nodes NodeProxy
	// Addresses are the pools of cluster IPs: the family that services get by
	// default first, at most one of each. Empty: services get no cluster IP.
	Addresses []*allocator.Addresses
	// Ports is the pool of node ports; nil: services get none.
	Ports *allocator.Ports
	// Components are the parts of the control plane that component statuses tell of.
	Components []Component
	// EventTTL is how long an event is kept after its last change; 0 means one
	// hour, upstream's. Longer costs store space.
	EventTTL time.Duration
	// Tokens issues the tokens of service accounts; nil: serviceaccounts/token
	// answers 503.
	Tokens *tokens.Issuer
	// IntN gives a random number in [0, n), by which services/proxy chooses an
	// endpoint; it must be safe for concurrent use. nil means math/rand/v2.
	IntN func(n int) int
}

// Resources are the group's resources.
func Resources(cfg Config) []*resource.Resource {
	if cfg.EventTTL == 0 {
		cfg.EventTTL = time.Hour
	}
	if cfg.IntN == nil {
		cfg.IntN = rand.IntN
	}
	return []*resource.Resource{
		bindings(),
		componentStatuses(cfg.Components),
		configMaps(),
		endpoints(),
		events(cfg.EventTTL),
		limitRanges(),
		namespaces(),
		nodes(cfg.Nodes),
		persistentVolumeClaims(),
		persistentVolumes(),
		pods(cfg.Nodes),
		podTemplates(),
		replicationControllers(),
		resourceQuotas(),
		secrets(),
		serviceAccounts(cfg.Tokens),
		services(cfg),
	}
}

func gvk(kind string) schema.GroupVersionKind { return corev1.SchemeGroupVersion.WithKind(kind) }

// statusReset and specReset are what the main and the status endpoint ignore.
func statusReset() *fieldpath.Set { return fieldpath.NewSet(fieldpath.MakePathOrDie("status")) }

func specReset() *fieldpath.Set { return fieldpath.NewSet(fieldpath.MakePathOrDie("spec")) }

// Package defaults lists the controllers of a whole cluster.
package defaults

import (
	"net/netip"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/clusterroleaggregation"
	"github.com/strake-io/strake/controllers/deployment"
	"github.com/strake-io/strake/controllers/endpoints"
	"github.com/strake-io/strake/controllers/endpointslice"
	"github.com/strake-io/strake/controllers/endpointslicemirroring"
	"github.com/strake-io/strake/controllers/garbagecollector"
	"github.com/strake-io/strake/controllers/namespace"
	"github.com/strake-io/strake/controllers/nodeipam"
	"github.com/strake-io/strake/controllers/nodelifecycle"
	"github.com/strake-io/strake/controllers/podgc"
	"github.com/strake-io/strake/controllers/pvcprotection"
	"github.com/strake-io/strake/controllers/pvprotection"
	"github.com/strake-io/strake/controllers/replicaset"
	"github.com/strake-io/strake/controllers/replication"
	"github.com/strake-io/strake/controllers/resourcequota"
	"github.com/strake-io/strake/controllers/rootca"
	"github.com/strake-io/strake/controllers/serviceaccount"
	"github.com/strake-io/strake/controllers/serviceaccounttoken"
	"github.com/strake-io/strake/controllers/servicecidr"
	"github.com/strake-io/strake/controllers/tainteviction"
	"github.com/strake-io/strake/controllers/vacprotection"
	"github.com/strake-io/strake/controllers/validatingadmissionpolicystatus"
)

// Config is what some controllers need to know.
type Config struct {
	// RootCA is the bundle that pods trust the API server by, PEM certificates.
	// Empty leaves the publisher of kube-root-ca.crt out.
	RootCA []byte
	// Token makes tokens for secrets of service accounts: see
	// [serviceaccounttoken.Config]. nil leaves such secrets as they are.
	Token func(namespace, account string, uid types.UID, secret string) (string, error)
	// ClusterCIDRs are the ranges of pod addresses, one or one of each family.
	// Empty leaves the allocator of node ranges out: the network plugin knows.
	ClusterCIDRs []netip.Prefix
	// NodeGrace is how long a node may be silent; 50 s if 0.
	NodeGrace time.Duration
	// TerminatedPodThreshold is how many ended pods are kept; 12500 if 0.
	TerminatedPodThreshold int
}

// All are the registrations of all controllers. Two of them, the garbage
// collector and the namespace controller, need controllers.Config.Metadata.
func All(c Config) []controllers.Registration {
	all := []controllers.Registration{
		replication.New(),
		replicaset.New(),
		deployment.New(),
		endpoints.New(),
		endpointslice.New(),
		endpointslicemirroring.New(),
		namespace.NewSystem(),
		namespace.New(),
		garbagecollector.New(garbagecollector.Config{}),
		serviceaccount.New(),
		clusterroleaggregation.New(),
		resourcequota.New(),
		pvcprotection.New(),
		pvprotection.New(),
		vacprotection.New(),
		servicecidr.New(),
		validatingadmissionpolicystatus.New(),
		nodelifecycle.New(nodelifecycle.Config{Grace: c.NodeGrace}),
		tainteviction.New(),
		podgc.New(podgc.Config{TerminatedPodThreshold: c.TerminatedPodThreshold}),
	}
	if len(c.RootCA) > 0 {
		all = append(all, rootca.New(c.RootCA))
	}
	if c.Token != nil {
		all = append(all, serviceaccounttoken.New(serviceaccounttoken.Config{Token: c.Token, RootCA: c.RootCA}))
	}
	if len(c.ClusterCIDRs) > 0 {
		all = append(all, nodeipam.New(nodeipam.Config{ClusterCIDRs: c.ClusterCIDRs}))
	}
	return all
}

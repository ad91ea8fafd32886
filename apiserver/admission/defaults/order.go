package defaults

import (
	"cmp"
	"slices"

	"github.com/strake-io/strake/apiserver/admission"
)

// order names the plugins of a v1.37 API server, those that are on by default and
// those that are not, as they follow each other.
var order = []string{
	"NamespaceAutoProvision", "NamespaceLifecycle", "NamespaceExists", "LimitPodHardAntiAffinityTopology", "LimitRanger",
	"ServiceAccount", "NodeRestriction", "TaintNodesByCondition", "AlwaysPullImages", "ImagePolicyWebhook", "PodSecurity",
	"PodNodeSelector", "Priority", "DefaultTolerationSeconds", "PodTolerationRestriction", "EventRateLimit",
	"ExtendedResourceToleration", "DefaultStorageClass", "StorageObjectInUseProtection", "PodGroupProtection",
	"OwnerReferencesPermissionEnforcement", "PersistentVolumeClaimResize", "RuntimeClass", "CertificateApproval",
	"CertificateSigning", "ClusterTrustBundleAttest", "CertificateSubjectRestriction", "DefaultIngressClass",
	"DenyServiceExternalIPs", "PodTopologyLabels", "NodeDeclaredFeatureValidator", "PodResizeValidator",
	anyOther,
	"MutatingAdmissionPolicy", "MutatingAdmissionWebhook", "ValidatingAdmissionPolicy", "ValidatingAdmissionWebhook", "ResourceQuota",
}

// anyOther is the place of plugins that only the program knows.
const anyOther = ""

// inOrder sorts plugins. Those of one place stay as they are to each other.
func inOrder(plugins []admission.Plugin) []admission.Plugin {
	place := make(map[string]int, len(order))
	for i, name := range order {
		place[name] = i
	}
	of := func(p admission.Plugin) int {
		if i, ok := place[p.Name()]; ok {
			return i
		}
		return place[anyOther]
	}
	slices.SortStableFunc(plugins, func(a, b admission.Plugin) int { return cmp.Compare(of(a), of(b)) })
	return plugins
}

package noderestriction

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/util/diff"
	kubeletapis "k8s.io/kubelet/pkg/apis"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// ownNode: nothing by which a node would draw others' workloads to itself.
func (c *call) ownNode() error {
	if c.Attributes.Name != c.node {
		return c.refuse("node %q is not allowed to modify node %q", c.node, c.Attributes.Name)
	}
	switch c.Operation {
	case admission.Create:
		node, ok := c.Object.(*corev1.Node)
		if !ok {
			return c.unexpected(c.Object)
		}
		if node.Spec.ConfigSource != nil {
			return c.refuse("node %q is not allowed to create pods with a non-nil configSource", c.node)
		}
		if bad := forbiddenLabels(node.Labels, nil); len(bad) > 0 {
			return c.refuse("node %q is not allowed to set the following labels: %s", c.node, strings.Join(bad, ", "))
		}
	case admission.Update:
		node, ok := c.Object.(*corev1.Node)
		if !ok {
			return c.unexpected(c.Object)
		}
		old, ok := c.Old.(*corev1.Node)
		if !ok {
			return c.unexpected(c.Object)
		}
		same := apiequality.Semantic.DeepEqual
		switch {
		case node.Spec.ConfigSource != nil && !same(node.Spec.ConfigSource, old.Spec.ConfigSource):
			return c.refuse("node %q is not allowed to update configSource to a new non-nil configSource", c.node)
		case !same(node.Spec.Taints, old.Spec.Taints):
			return c.refuse("node %q is not allowed to modify taints", c.node)
		case !same(node.OwnerReferences, old.OwnerReferences):
			return c.refuse("node %q is not allowed to modify ownerReferences", c.node)
		}
		if bad := forbiddenLabels(node.Labels, old.Labels); len(bad) > 0 {
			return c.refuse("is not allowed to modify labels: %s", strings.Join(bad, ", "))
		}
	}
	return nil
}

// forbiddenLabels are those that differ and that a node may not set, sorted.
func forbiddenLabels(now, old map[string]string) []string {
	var out []string
	look := func(key string) {
		if forbidden(key) && !slices.Contains(out, key) {
			out = append(out, key)
		}
	}
	for key, value := range now {
		if was, ok := old[key]; !ok || was != value {
			look(key)
		}
	}
	for key := range old {
		if _, ok := now[key]; !ok {
			look(key)
		}
	}
	slices.Sort(out)
	return out
}

// forbidden are labels that are meant to keep nodes apart, and those of Kubernetes
// that are not a kubelet's.
func forbidden(key string) bool {
	domain, _, ok := strings.Cut(key, "/")
	if !ok {
		return false
	}
	below := func(parent string) bool { return domain == parent || strings.HasSuffix(domain, "."+parent) }
	return below(corev1.LabelNamespaceNodeRestriction) ||
		(below("kubernetes.io") || below("k8s.io")) && !kubeletapis.IsKubeletLabel(key)
}

// claimStatus: a node tells what became of a volume's size, and no more.
func (c *call) claimStatus() error {
	if c.Operation != admission.Update {
		return c.refuse("unexpected operation %q", c.Operation)
	}
	old, ok := c.Old.(*corev1.PersistentVolumeClaim)
	if !ok {
		return c.unexpected(c.Old)
	}
	claim, ok := c.Object.(*corev1.PersistentVolumeClaim)
	if !ok {
		return c.unexpected(c.Object)
	}
	rest := func(claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolumeClaim {
		claim = claim.DeepCopy()
		claim.ResourceVersion, claim.ManagedFields = "", nil
		claim.Status.Capacity, claim.Status.Conditions = nil, nil
		claim.Status.AllocatedResourceStatuses, claim.Status.AllocatedResources = nil, nil
		return claim
	}
	if was, is := rest(old), rest(claim); !apiequality.Semantic.DeepEqual(was, is) {
		return c.refuse("node %q is not allowed to update fields other than status.quantity and status.conditions: %v", c.node, diff.Diff(rules.Internal(*was), rules.Internal(*is)))
	}
	return nil
}

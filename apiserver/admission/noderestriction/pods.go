package noderestriction

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/resources/podspec"
)

func (c *call) pod() error {
	switch c.Subresource {
	case "":
	case "status":
		return c.podStatus()
	case "eviction":
		return c.eviction()
	default:
		return c.refuse("unexpected pod subresource %q, only 'status' and 'eviction' are allowed", c.Subresource)
	}
	switch c.Operation {
	case admission.Create:
		return c.mirror()
	case admission.Delete:
		return c.bound(c.Attributes.Name, "node %q can only delete pods with spec.nodeName set to itself")
	}
	return c.refuse("unexpected operation %q, node %q can only create and delete mirror pods", c.Operation, c.node)
}

// bound refuses, in these words, what concerns a pod that is bound to another node.
func (c *call) bound(name, words string) error {
	pod, err := find[corev1.Pod](c, "pods", "pod", c.Namespace, name)
	switch {
	case apierrors.IsNotFound(err):
		return err
	case err != nil:
		return c.Forbidden(err)
	case pod.Spec.NodeName != c.node:
		return c.refuse(words, c.node)
	}
	return nil
}

// mirror: what a node makes is the image of a pod that it runs on its own, and gives
// it nothing.
func (c *call) mirror() error {
	pod, ok := c.Object.(*corev1.Pod)
	if !ok {
		return c.unexpected(c.Object)
	}
	if _, ok := pod.Annotations[corev1.MirrorPodAnnotationKey]; !ok {
		return c.refuse("pod does not have %q annotation, node %q can only create mirror pods", corev1.MirrorPodAnnotationKey, c.node)
	}
	if pod.Spec.NodeName != c.node {
		return c.refuse("node %q can only create pods with spec.nodeName set to itself", c.node)
	}
	if err := c.owner(pod); err != nil {
		return err
	}
	what, err := references(pod)
	if err != nil {
		return c.refuse("error checking mirror pod for API references: %w", err)
	}
	if what != "" {
		return c.refuse("node %q can not create pods that reference %s", c.node, what)
	}
	return nil
}

// owner of a mirror pod is the Node, and nothing else.
func (c *call) owner(pod *corev1.Pod) error {
	if len(pod.OwnerReferences) > 1 {
		return c.refuse("node %q can only create pods with a single owner reference set to itself", c.node)
	}
	if len(pod.OwnerReferences) == 0 {
		return c.refuse("node %q can only create pods with an owner reference set to itself", c.node)
	}
	owner := pod.OwnerReferences[0]
	switch {
	case owner.APIVersion != "v1" || owner.Kind != "Node" || owner.Name != c.node:
		return c.refuse("node %q can only create pods with an owner reference set to itself", c.node)
	case owner.Controller == nil || !*owner.Controller:
		return c.refuse("node %q can only create pods with a controller owner reference set to itself", c.node)
	case owner.BlockOwnerDeletion != nil && *owner.BlockOwnerDeletion:
		return c.refuse("node %q must not set blockOwnerDeletion on an owner reference", c.node)
	}
	own, err := find[corev1.Node](c, "nodes", "node", "", c.node)
	switch {
	case apierrors.IsNotFound(err):
		return err
	case err != nil:
		return c.refuse("error looking up node %s to verify uid: %v", c.node, err)
	case owner.UID != own.UID:
		return c.refuse("node %s UID mismatch: expected %s got %s", c.node, owner.UID, own.UID)
	}
	return nil
}

func (c *call) podStatus() error {
	if c.Operation != admission.Update {
		return c.refuse("unexpected operation %q", c.Operation)
	}
	old, ok := c.Old.(*corev1.Pod)
	if !ok {
		return c.unexpected(c.Old)
	}
	if old.Spec.NodeName != c.node {
		return c.refuse("node %q can only update pod status for pods with spec.nodeName set to itself", c.node)
	}
	pod, ok := c.Object.(*corev1.Pod)
	if !ok {
		return c.unexpected(c.Object)
	}
	same := apiequality.Semantic.DeepEqual
	switch {
	case !labels.Equals(old.Labels, pod.Labels):
		return c.refuse("node %q cannot update labels through pod status", c.node)
	case !same(old.Status.ResourceClaimStatuses, pod.Status.ResourceClaimStatuses):
		return c.refuse("node %q cannot update resource claim statues", c.node)
	case !same(old.Status.ExtendedResourceClaimStatus, pod.Status.ExtendedResourceClaimStatus):
		return c.refuse("node %q cannot update extended resource claim status", c.node)
	case !same(old.Status.NodeAllocatableResourceClaimStatuses, pod.Status.NodeAllocatableResourceClaimStatuses):
		return c.refuse("node %q cannot update node allocatable resource claim statuses", c.node)
	}
	return nil
}

func (c *call) eviction() error {
	if c.Operation != admission.Create {
		return c.refuse("unexpected operation %s", c.Operation)
	}
	eviction, ok := c.Object.(*policyv1.Eviction)
	if !ok {
		return c.unexpected(c.Object)
	}
	name := c.Attributes.Name
	if name == "" {
		name = eviction.Name
	}
	if name == "" {
		return c.refuse("could not determine pod from request data")
	}
	return c.bound(name, "node %s can only evict pods with spec.nodeName set to itself")
}

// references says which objects a pod refers to, in upstream's words; "" none.
func references(pod *corev1.Pod) (string, error) {
	named := podspec.ReferencesOf(&pod.Spec)
	switch {
	case pod.Spec.ServiceAccountName != "":
		return "serviceaccounts", nil
	case len(named.Secrets) > 0:
		return "secrets", nil
	case len(named.ConfigMaps) > 0:
		return "configmaps", nil
	case len(pod.Spec.ResourceClaims) > 0:
		return "resourceclaims", nil
	}
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		switch {
		case v.ConfigMap != nil:
			return "configmaps (via configmap volumes)", nil
		case v.Secret != nil:
			return "secrets (via secret volumes)", nil
		case v.CSI != nil:
			return "csidrivers (via CSI volumes)", nil
		case v.Glusterfs != nil:
			return "endpoints (via glusterFS volumes)", nil
		case v.PersistentVolumeClaim != nil:
			return "persistentvolumeclaims", nil
		case v.Ephemeral != nil:
			return "persistentvolumeclaims (via ephemeral volumes)", nil
		case v.AzureFile != nil:
			return "secrets (via azureFile volumes)", nil
		case v.Projected != nil:
			if what, err := projected(v); what != "" || err != nil {
				return what, err
			}
		case v.VolumeSource == corev1.VolumeSource{}:
			return "", fmt.Errorf("unknown volume type for volume  %q", v.Name)
		}
	}
	return "", nil
}

func projected(v *corev1.Volume) (string, error) {
	for _, s := range v.Projected.Sources {
		switch {
		case s.ConfigMap != nil:
			return "configmaps (via projected volumes)", nil
		case s.Secret != nil:
			return "secrets (via projected volumes)", nil
		case s.ServiceAccountToken != nil:
			return "serviceaccounts (via projected volumes)", nil
		case s.ClusterTrustBundle != nil:
			return "clustertrustbundles", nil
		case s.PodCertificate != nil:
			return "podcertificates", nil
		case s.DownwardAPI != nil:
		default:
			return "", fmt.Errorf("unknown source for projected volume %q", v.Name)
		}
	}
	return "", nil
}

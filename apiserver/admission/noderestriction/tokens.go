package noderestriction

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	authenticationv1 "k8s.io/api/authentication/v1"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilerrors "k8s.io/apimachinery/pkg/util/errors"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/resources/podspec"
)

// token: a node has tokens for its pods only, each bound to one, and for an audience
// that the pod names.
func (c *call) token() error {
	if c.Operation != admission.Create || c.Subresource != "token" {
		return nil
	}
	request, ok := c.Object.(*authenticationv1.TokenRequest)
	if !ok {
		return c.unexpected(c.Object)
	}
	ref := request.Spec.BoundObjectRef
	if ref == nil || ref.APIVersion != "v1" || ref.Kind != "Pod" || ref.Name == "" {
		return c.refuse("node requested token not bound to a pod")
	}
	if ref.UID == "" {
		return c.refuse("node requested token with a pod binding without a uid")
	}
	pod, err := find[corev1.Pod](c, "pods", "pod", c.Namespace, ref.Name)
	switch {
	case apierrors.IsNotFound(err):
		return err
	case err != nil:
		return c.Forbidden(err)
	case ref.UID != pod.UID:
		return c.refuse("the UID in the bound object reference (%s) does not match the UID in record. The object might have been deleted and then recreated", ref.UID)
	case pod.Spec.NodeName != c.node:
		return c.refuse("node requested token bound to a pod scheduled on a different node")
	}
	if err := c.audience(request, pod); err != nil {
		return c.Forbidden(err)
	}
	return nil
}

func (c *call) audience(request *authenticationv1.TokenRequest, pod *corev1.Pod) error {
	audience := ""
	switch len(request.Spec.Audiences) {
	case 0:
	case 1:
		audience = request.Spec.Audiences[0]
	default:
		return errors.New("node may only request 0 or 1 audiences")
	}
	named, err := c.namesAudience(pod, audience)
	if err != nil {
		return fmt.Errorf("error validating audience %q: %w", audience, err)
	}
	if named {
		return nil
	}
	allowed, err := c.may("request-serviceaccounts-token-audience", audience, c.Attributes.Name)
	switch {
	case allowed:
		return nil
	case err != nil:
		return fmt.Errorf("error authorizing %s to request tokens for audience %q: %w", c.User.GetName(), audience, err)
	}
	return fmt.Errorf("%s is not authorized to request tokens for audience %q", c.User.GetName(), audience)
}

// may asks the authoriser.
func (c *call) may(verb, resource, name string) (bool, error) {
	if c.authorizer == nil {
		return false, nil
	}
	decision, _, err := c.authorizer.Authorize(c.ctx, authorizer.AttributesRecord{
		User: c.User, Verb: verb, APIGroup: c.Resource.Group, APIVersion: c.Resource.Version, Resource: resource,
		Namespace: c.Namespace, Name: name, ResourceRequest: true,
	})
	return decision == authorizer.DecisionAllow, err
}

// namesAudience looks for an audience in the pod's volumes, and in what the drivers
// of its CSI volumes ask for.
func (c *call) namesAudience(pod *corev1.Pod, audience string) (bool, error) {
	var errs []error
	for i := range pod.Spec.Volumes {
		v := &pod.Spec.Volumes[i]
		if v.Projected != nil {
			for _, s := range v.Projected.Sources {
				if s.ServiceAccountToken != nil && s.ServiceAccountToken.Audience == audience {
					return true, nil
				}
			}
		}
		driver, err := c.driver(pod, v)
		if err == nil && driver != "" {
			var asks bool
			if asks, err = c.driverAsks(driver, audience); asks {
				return true, nil
			}
		}
		if err != nil {
			errs = append(errs, err)
		}
	}
	return false, utilerrors.NewAggregate(errs)
}

// driver of a CSI volume, its own or that of the claim that it stands for.
func (c *call) driver(pod *corev1.Pod, v *corev1.Volume) (string, error) {
	if v.CSI != nil {
		return v.CSI.Driver, nil
	}
	name := podspec.ClaimName(pod, v)
	if name == "" {
		return "", nil
	}
	claim, err := find[corev1.PersistentVolumeClaim](c, "persistentvolumeclaims", "persistentvolumeclaim", pod.Namespace, name)
	if err != nil {
		return "", err
	}
	volume, err := find[corev1.PersistentVolume](c, "persistentvolumes", "persistentvolume", "", claim.Spec.VolumeName)
	if err != nil || volume.Spec.CSI == nil {
		return "", err
	}
	return volume.Spec.CSI.Driver, nil
}

func (c *call) driverAsks(name, audience string) (bool, error) {
	obj, err := c.Objects.Get(c.ctx, storagev1.Resource("csidrivers"), "", name)
	if apierrors.IsNotFound(err) {
		return false, apierrors.NewNotFound(schema.GroupResource{Group: storagev1.GroupName, Resource: "csidriver"}, name)
	}
	if err != nil {
		return false, err
	}
	if driver, ok := obj.(*storagev1.CSIDriver); ok {
		for _, request := range driver.Spec.TokenRequests {
			if request.Audience == audience {
				return true, nil
			}
		}
	}
	return false, nil
}

// podCertificate: a node asks for certificates of its pods, as they are.
func (c *call) podCertificate() error {
	if c.Operation != admission.Create {
		return c.refuse("unexpected operation %v", c.Operation)
	}
	if c.Subresource != "" {
		return c.refuse("unexpected subresource %v", c.Subresource)
	}
	request, ok := c.Object.(*certificatesv1.PodCertificateRequest)
	if !ok {
		return c.unexpected(c.Object)
	}
	spec := &request.Spec
	if string(spec.NodeName) != c.node {
		return c.refuse("PodCertificateRequest.Spec.NodeName=%q, which is not the requesting node %q", spec.NodeName, c.node)
	}
	podName, accountName := c.Namespace+"/"+spec.PodName, c.Namespace+"/"+spec.ServiceAccountName
	own, err := find[corev1.Node](c, "nodes", "node", "", c.node)
	if err != nil {
		return c.retrieving(err, "node", string(spec.NodeName))
	}
	// Who is behind may find these to be in order when he asks again: no refusals.
	if own.UID != spec.NodeUID {
		return later(fmt.Errorf("PodCertificateRequest for pod %q names node UID %q, inconsistent with the running node (%q)", podName, spec.NodeUID, own.UID))
	}
	pod, err := find[corev1.Pod](c, "pods", "pod", c.Namespace, spec.PodName)
	if err != nil {
		return c.retrieving(err, "pod", podName)
	}
	if spec.PodUID != pod.UID {
		return later(fmt.Errorf("PodCertificateRequest for pod %q contains pod UID (%q) which differs from running pod %q", podName, spec.PodUID, string(pod.UID)))
	}
	if pod.Spec.NodeName != string(spec.NodeName) {
		return c.refuse("pod %q is not running on node %q named in the PodCertificateRequest", podName, spec.NodeName)
	}
	if _, mirror := pod.Annotations[corev1.MirrorPodAnnotationKey]; mirror {
		return c.refuse("pod %q is a mirror pod", podName)
	}
	if spec.ServiceAccountName != pod.Spec.ServiceAccountName {
		return c.refuse("PodCertificateRequest for pod %q contains serviceAccountName (%q) that differs from running pod (%q)", podName, spec.ServiceAccountName, pod.Spec.ServiceAccountName)
	}
	account, err := find[corev1.ServiceAccount](c, "serviceaccounts", "serviceaccount", c.Namespace, spec.ServiceAccountName)
	if err != nil {
		return c.retrieving(err, "service account", accountName)
	}
	if spec.ServiceAccountUID != account.UID {
		return later(fmt.Errorf("PodCertificateRequest for pod %q names service account UID %q, which differs from the running service account (%q)", podName, spec.ServiceAccountUID, account.UID))
	}
	return c.signer(spec.SignerName, pod, podName)
}

// later is no refusal, so that the client tries again.
func later(err error) error {
	return &apierrors.StatusError{ErrStatus: metav1.Status{Status: metav1.StatusFailure, Code: http.StatusInternalServerError, Message: err.Error()}}
}

func (c *call) retrieving(err error, what, name string) error {
	wrapped := fmt.Errorf("while retrieving %s %q named in the PodCertificateRequest: %w", what, name, err)
	if apierrors.IsNotFound(err) {
		return later(wrapped)
	}
	return c.Forbidden(wrapped)
}

// signer must be one that a volume of the pod names.
func (c *call) signer(name string, pod *corev1.Pod, podName string) error {
	for i := range pod.Spec.Volumes {
		if pod.Spec.Volumes[i].Projected == nil {
			continue
		}
		for _, s := range pod.Spec.Volumes[i].Projected.Sources {
			if s.PodCertificate != nil && s.PodCertificate.SignerName == name {
				return nil
			}
		}
	}
	// A slash would make a sub-resource of it.
	allowed, err := c.may("request-serviceaccounts-podcertificate-signer", strings.ReplaceAll(name, "/", ":"), pod.Spec.ServiceAccountName)
	switch {
	case allowed:
		return nil
	case err != nil:
		return c.refuse("error authorizing %s to request podcertificaterequests for signer %q: %w", c.User.GetName(), name, err)
	}
	return c.refuse("pod %q does not mount a podCertificate projected volume for signer %q", podName, name)
}

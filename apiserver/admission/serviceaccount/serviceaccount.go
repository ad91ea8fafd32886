// Package serviceaccount is the admission plugin that runs each pod under a service
// account: the one it names, or else "default", which must exist; and that mounts a
// token for it where the API server's address and certificates are found too, unless
// account or pod do not want that.
package serviceaccount

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/resources/podspec"
)

const (
	// DefaultName of an account.
	DefaultName = "default"
	// MountPath is where clients in a container look for their token.
	MountPath = "/var/run/secrets/kubernetes.io/serviceaccount"
	// tokenSeconds is the life of a token in a pod that may not read it again: see
	// the token sub-resource.
	tokenSeconds = 60*60 + 7
	rootCA       = "kube-root-ca.crt"
	volumePrefix = "kube-api-access-"
	// mirror marks the API's image of a pod that a node runs from a file.
	mirror = "kubernetes.io/config.mirror"
	// mountable on an account restricts its pods to the secrets that it lists.
	mountable = "kubernetes.io/enforce-mountable-secrets"
)

// Plugin implements admission.Mutator and admission.Validator. The zero value is
// ready to use.
type Plugin struct {
	// NoToken mounts no tokens: for a cluster whose pods cannot reach its API, or
	// which publishes no certificates to know it by.
	NoToken bool
}

// Name implements admission.Plugin.
func (Plugin) Name() string { return "ServiceAccount" }

func podOf(a *admission.Attributes) *corev1.Pod {
	if a.Resource.Group != "" || a.Resource.Resource != "pods" || a.Subresource != "" && a.Subresource != "ephemeralcontainers" {
		return nil
	}
	pod, _ := a.Object.(*corev1.Pod)
	return pod
}

// Admit implements admission.Mutator.
func (p Plugin) Admit(ctx context.Context, a *admission.Attributes) error {
	pod := podOf(a)
	if pod == nil || a.Operation != admission.Create || a.Subresource != "" {
		return nil
	}
	if _, ok := pod.Annotations[mirror]; ok {
		// Its node would not know it again if it were changed.
		return checkMirror(a, pod)
	}
	if pod.Spec.ServiceAccountName == "" {
		pod.Spec.ServiceAccountName = DefaultName
	}
	pod.Spec.DeprecatedServiceAccount = pod.Spec.ServiceAccountName
	account, err := accountOf(ctx, a, pod)
	if err != nil {
		return err
	}
	if !p.NoToken && automounts(account, pod) {
		mountToken(pod)
	}
	if len(pod.Spec.ImagePullSecrets) == 0 {
		pod.Spec.ImagePullSecrets = slices.Clone(account.ImagePullSecrets)
	}
	return nil
}

// Validate implements admission.Validator.
func (Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	pod := podOf(a)
	if pod == nil {
		return nil
	}
	if a.Operation == admission.Update {
		// The account of a pod does not change; what is added to it may name secrets.
		if a.Subresource != "ephemeralcontainers" {
			return nil
		}
		account, err := accountOf(ctx, a, pod)
		if err != nil {
			return err
		}
		return checkSecrets(a, account, pod)
	}
	if a.Operation != admission.Create || a.Subresource != "" {
		return nil
	}
	if _, ok := pod.Annotations[mirror]; ok {
		return checkMirror(a, pod)
	}
	if pod.Spec.ServiceAccountName == "" {
		return refuse(a, "no service account specified for pod %s/%s", a.Namespace, pod.Name)
	}
	account, err := accountOf(ctx, a, pod)
	if err != nil {
		return err
	}
	return checkSecrets(a, account, pod)
}

func refuse(a *admission.Attributes, format string, args ...any) error {
	return apierrors.NewForbidden(a.Resource.GroupResource(), a.Name, fmt.Errorf(format, args...))
}

func accountOf(ctx context.Context, a *admission.Attributes, pod *corev1.Pod) (*corev1.ServiceAccount, error) {
	name := pod.Spec.ServiceAccountName
	obj, err := a.Objects.Get(ctx, schema.GroupResource{Resource: "serviceaccounts"}, a.Namespace, name)
	if err != nil {
		return nil, refuse(a, "error looking up service account %s/%s: %w", a.Namespace, name, lookupError(err, name))
	}
	account, ok := obj.(*corev1.ServiceAccount)
	if !ok {
		return nil, refuse(a, "error looking up service account %s/%s", a.Namespace, name)
	}
	return account, nil
}

// lookupError names the kind in the singular, as upstream's lister does.
func lookupError(err error, name string) error {
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("serviceaccount %q not found", name)
	}
	return err
}

// checkMirror: what a node runs on its own gets nothing from the API.
func checkMirror(a *admission.Attributes, pod *corev1.Pod) error {
	if pod.Spec.ServiceAccountName != "" {
		return refuse(a, "a mirror pod may not reference service accounts")
	}
	if len(podspec.ReferencesOf(&pod.Spec).Secrets) > 0 {
		return refuse(a, "a mirror pod may not reference secrets")
	}
	for _, v := range pod.Spec.Volumes {
		if v.Projected == nil {
			continue
		}
		for _, s := range v.Projected.Sources {
			if s.ServiceAccountToken != nil {
				return refuse(a, "a mirror pod may not use ServiceAccountToken volume projections")
			}
		}
	}
	return nil
}

func automounts(account *corev1.ServiceAccount, pod *corev1.Pod) bool {
	if pod.Spec.AutomountServiceAccountToken != nil {
		return *pod.Spec.AutomountServiceAccountToken
	}
	return ptr.Deref(account.AutomountServiceAccountToken, true)
}

// mountToken adds the volume, and mounts it in each container that has nothing at
// its place.
func mountToken(pod *corev1.Pod) {
	name := ""
	for _, v := range pod.Spec.Volumes {
		if len(v.Name) > len(volumePrefix) && v.Name[:len(volumePrefix)] == volumePrefix {
			name = v.Name
			break
		}
	}
	existing := name != ""
	if !existing {
		name = freeName(pod)
	}
	needed := false
	mount := func(containers []corev1.Container) {
		for i := range containers {
			c := &containers[i]
			if slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool { return m.MountPath == MountPath }) {
				continue
			}
			c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, ReadOnly: true, MountPath: MountPath})
			needed = true
		}
	}
	mount(pod.Spec.InitContainers)
	mount(pod.Spec.Containers)
	if needed && !existing {
		pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{Projected: tokenVolume()}})
	}
}

const letters = "bcdfghjklmnpqrstvwxz2456789"

func freeName(pod *corev1.Pod) string {
	for {
		suffix := make([]byte, 5)
		for i := range suffix {
			suffix[i] = letters[rand.IntN(len(letters))]
		}
		name := volumePrefix + string(suffix)
		if !slices.ContainsFunc(pod.Spec.Volumes, func(v corev1.Volume) bool { return v.Name == name }) {
			return name
		}
	}
}

// tokenVolume has what a client in a pod needs: a token, the certificates that the
// API server is known by, and the namespace.
func tokenVolume() *corev1.ProjectedVolumeSource {
	return &corev1.ProjectedVolumeSource{
		DefaultMode: ptr.To(corev1.ProjectedVolumeSourceDefaultMode),
		Sources: []corev1.VolumeProjection{
			{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token", ExpirationSeconds: ptr.To[int64](tokenSeconds)}},
			{ConfigMap: &corev1.ConfigMapProjection{
				LocalObjectReference: corev1.LocalObjectReference{Name: rootCA}, Items: []corev1.KeyToPath{{Key: "ca.crt", Path: "ca.crt"}},
			}},
			{DownwardAPI: &corev1.DownwardAPIProjection{Items: []corev1.DownwardAPIVolumeFile{{
				Path: "namespace", FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "metadata.namespace"},
			}}}},
		},
	}
}

// checkSecrets holds the pods of an account to the secrets that it lists, where it
// asks for that.
func checkSecrets(a *admission.Attributes, account *corev1.ServiceAccount, pod *corev1.Pod) error {
	// What is no boolean is no wish.
	if enforced, err := strconv.ParseBool(account.Annotations[mountable]); err != nil || !enforced {
		return nil
	}
	allowed := func(name string) bool {
		return slices.ContainsFunc(account.Secrets, func(s corev1.ObjectReference) bool { return s.Name == name })
	}
	for _, v := range pod.Spec.Volumes {
		if v.Secret != nil && !allowed(v.Secret.SecretName) {
			return refuse(a, "volume with secret.secretName=%q is not allowed because service account %s does not reference that secret", v.Secret.SecretName, account.Name)
		}
	}
	check := func(kind, name string, env []corev1.EnvVar, from []corev1.EnvFromSource) error {
		for _, e := range env {
			if e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && !allowed(e.ValueFrom.SecretKeyRef.Name) {
				return refuse(a, "%s %s with envVar %s referencing secret.secretName=%q is not allowed because service account %s does not reference that secret",
					kind, name, e.Name, e.ValueFrom.SecretKeyRef.Name, account.Name)
			}
		}
		for _, f := range from {
			if f.SecretRef != nil && !allowed(f.SecretRef.Name) {
				return refuse(a, "%s %s with envFrom referencing secret.secretName=%q is not allowed because service account %s does not reference that secret",
					kind, name, f.SecretRef.Name, account.Name)
			}
		}
		return nil
	}
	for i := range pod.Spec.InitContainers {
		c := &pod.Spec.InitContainers[i]
		if err := check("init container", c.Name, c.Env, c.EnvFrom); err != nil {
			return err
		}
	}
	for i := range pod.Spec.Containers {
		c := &pod.Spec.Containers[i]
		if err := check("container", c.Name, c.Env, c.EnvFrom); err != nil {
			return err
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		c := &pod.Spec.EphemeralContainers[i]
		if err := check("ephemeral container", c.Name, c.Env, c.EnvFrom); err != nil {
			return err
		}
	}
	for i, s := range pod.Spec.ImagePullSecrets {
		if !slices.Contains(account.ImagePullSecrets, s) {
			return refuse(a, "imagePullSecrets[%d].name=%q is not allowed because service account %s does not reference that imagePullSecret", i, s.Name, account.Name)
		}
	}
	return nil
}

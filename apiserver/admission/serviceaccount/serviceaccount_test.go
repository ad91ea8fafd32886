package serviceaccount

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/resource"
)

type accounts struct {
	resource.Objects
	byName map[string]*corev1.ServiceAccount
}

func (a accounts) Get(_ context.Context, of schema.GroupResource, _, name string) (runtime.Object, error) {
	if account := a.byName[name]; account != nil {
		return account, nil
	}
	return nil, apierrors.NewNotFound(of, name)
}

func create(t *testing.T, p Plugin, account *corev1.ServiceAccount, pod *corev1.Pod) (*corev1.Pod, error) {
	t.Helper()
	a := &admission.Attributes{
		Operation: admission.Create, Resource: corev1.SchemeGroupVersion.WithResource("pods"), Namespace: "ns", Name: pod.Name, Object: pod,
		Objects: accounts{byName: map[string]*corev1.ServiceAccount{account.Name: account}}, Warn: func(string) {},
	}
	if err := p.Admit(t.Context(), a); err != nil {
		return nil, err
	}
	return a.Object.(*corev1.Pod), p.Validate(t.Context(), a)
}

func pod(change func(*corev1.Pod)) *corev1.Pod {
	p := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c"}}}}
	change(p)
	return p
}

func TestAdmit(t *testing.T) {
	plain := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}, ImagePullSecrets: []corev1.LocalObjectReference{{Name: "pull"}}}
	got, err := create(t, Plugin{}, plain, pod(func(*corev1.Pod) {}))
	if err != nil {
		t.Fatal(err)
	}
	s := got.Spec
	if s.ServiceAccountName != "default" || s.DeprecatedServiceAccount != "default" || len(s.ImagePullSecrets) != 1 {
		t.Errorf("it runs as %+v", s)
	}
	if len(s.Volumes) != 1 || !strings.HasPrefix(s.Volumes[0].Name, "kube-api-access-") || len(s.Volumes[0].Projected.Sources) != 3 ||
		len(s.Containers[0].VolumeMounts) != 1 || s.Containers[0].VolumeMounts[0].MountPath != MountPath {
		t.Errorf("it has %+v", s)
	}

	for name, test := range map[string]struct {
		plugin  Plugin
		account *corev1.ServiceAccount
		pod     *corev1.Pod
	}{
		"the pod wants none":     {Plugin{}, plain, pod(func(p *corev1.Pod) { p.Spec.AutomountServiceAccountToken = ptr.To(false) })},
		"the account wants none": {Plugin{}, &corev1.ServiceAccount{ObjectMeta: plain.ObjectMeta, AutomountServiceAccountToken: ptr.To(false)}, pod(func(*corev1.Pod) {})},
		"the cluster has none":   {Plugin{NoToken: true}, plain, pod(func(*corev1.Pod) {})},
		"something is there": {Plugin{}, plain, pod(func(p *corev1.Pod) {
			p.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "v", MountPath: MountPath}}
		})},
		"a node's own": {Plugin{}, plain, pod(func(p *corev1.Pod) { p.Annotations = map[string]string{mirror: "x"} })},
	} {
		got, err := create(t, test.plugin, test.account, test.pod)
		if err != nil || len(got.Spec.Volumes) != 0 {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}

func TestRefused(t *testing.T) {
	plain := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	strict := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default", Annotations: map[string]string{mountable: "true"}}, Secrets: []corev1.ObjectReference{{Name: "known"}}}
	volume := func(secret string) *corev1.Pod {
		return pod(func(p *corev1.Pod) {
			p.Spec.Volumes = []corev1.Volume{{Name: "v", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}}}
		})
	}
	for _, test := range []struct {
		account *corev1.ServiceAccount
		pod     *corev1.Pod
		want    string
	}{
		{plain, pod(func(p *corev1.Pod) { p.Spec.ServiceAccountName = "x" }), `pods "p" is forbidden: error looking up service account ns/x: serviceaccount "x" not found`},
		{strict, volume("known"), ""},
		{plain, volume("any"), ""},
		{strict, volume("other"), `volume with secret.secretName="other" is not allowed because service account default does not reference that secret`},
		{plain, pod(func(p *corev1.Pod) {
			p.Annotations, p.Spec.ServiceAccountName = map[string]string{mirror: "x"}, "default"
		}), "a mirror pod may not reference service accounts"},
	} {
		_, err := create(t, Plugin{}, test.account, test.pod)
		if test.want == "" && err != nil || test.want != "" && (!apierrors.IsForbidden(err) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%v, want %q", err, test.want)
		}
	}
}

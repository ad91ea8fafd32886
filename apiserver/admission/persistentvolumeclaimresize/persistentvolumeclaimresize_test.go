package persistentvolumeclaimresize

import (
	"context"
	"errors"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
	apiresource "github.com/strake-io/strake/apiserver/resource"
)

type classes struct {
	apiresource.Objects
	byName map[string]*bool
}

func (c classes) Get(_ context.Context, _ schema.GroupResource, _, name string) (runtime.Object, error) {
	if grows, ok := c.byName[name]; ok {
		return &storagev1.StorageClass{AllowVolumeExpansion: grows}, nil
	}
	return nil, errors.New("not found")
}

func TestValidate(t *testing.T) {
	claim := func(phase corev1.PersistentVolumeClaimPhase, size, class string) *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{Status: corev1.PersistentVolumeClaimStatus{Phase: phase}}
		c.Name = "c"
		c.Spec.StorageClassName = &class
		c.Spec.Resources.Requests = corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(size)}
		return c
	}
	const unbound, fixed = "Only bound persistent volume claims can be expanded", "the storageclass that provisions the pvc must support resize"
	for _, test := range []struct {
		old, now *corev1.PersistentVolumeClaim
		want     string
	}{
		{old: claim(corev1.ClaimPending, "1Gi", "fixed"), now: claim(corev1.ClaimPending, "1Gi", "fixed")},
		{old: claim(corev1.ClaimPending, "2Gi", "fixed"), now: claim(corev1.ClaimPending, "1Gi", "fixed")},
		{old: claim(corev1.ClaimPending, "1Gi", "grows"), now: claim(corev1.ClaimBound, "2Gi", "grows"), want: unbound},
		{old: claim(corev1.ClaimBound, "1Gi", "grows"), now: claim(corev1.ClaimBound, "2Gi", "grows")},
		{old: claim(corev1.ClaimBound, "1Gi", "grows"), now: claim(corev1.ClaimBound, "2Gi", "fixed"), want: fixed},
		{old: claim(corev1.ClaimBound, "1Gi", ""), now: claim(corev1.ClaimBound, "2Gi", ""), want: fixed},
		{old: claim(corev1.ClaimBound, "1Gi", "fixed"), now: claim(corev1.ClaimBound, "2Gi", "fixed"), want: fixed},
		{old: claim(corev1.ClaimBound, "1Gi", "unsaid"), now: claim(corev1.ClaimBound, "2Gi", "unsaid"), want: fixed},
		{old: claim(corev1.ClaimBound, "1Gi", "gone"), now: claim(corev1.ClaimBound, "2Gi", "gone"), want: fixed},
	} {
		err := Plugin{}.Validate(t.Context(), &admission.Attributes{
			Operation: admission.Update, Resource: corev1.SchemeGroupVersion.WithResource("persistentvolumeclaims"), Name: "c", Object: test.now, Old: test.old,
			Objects: classes{byName: map[string]*bool{"grows": ptr.To(true), "fixed": ptr.To(false), "unsaid": nil}},
		})
		if (err == nil) != (test.want == "") || err != nil && (!strings.HasPrefix(err.Error(), `persistentvolumeclaims "c" is forbidden: `) || !strings.HasSuffix(err.Error(), test.want)) {
			t.Errorf("%s of %s: %v, want %q", test.now.Status.Phase, *test.now.Spec.StorageClassName, err, test.want)
		}
	}
}

package strake

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// A claim gets the default class, its status says that no pod uses it, and it goes when
// it is deleted: the finalizer that admission gives it has its controller.
func TestClaimInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := start(t, Config{})
		defer stop()
		client := c.Client()
		class := &storagev1.StorageClass{
			ObjectMeta:  metav1.ObjectMeta{Name: "fast", Annotations: map[string]string{"storageclass.kubernetes.io/is-default-class": "true"}},
			Provisioner: "example.com/none",
		}
		if _, err := client.StorageV1().StorageClasses().Create(t.Context(), class, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		claims := client.CoreV1().PersistentVolumeClaims("default")
		claim, err := claims.Create(t.Context(), &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Name: "c"},
			Spec: corev1.PersistentVolumeClaimSpec{
				AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
				Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("1Gi")}},
			},
		}, metav1.CreateOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if *claim.Spec.StorageClassName != "fast" || len(claim.Finalizers) != 1 {
			t.Errorf("created: %+v", claim)
		}
		claim.Status.Phase = corev1.ClaimBound
		if _, err = claims.UpdateStatus(t.Context(), claim, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if claim, err = claims.Get(t.Context(), "c", metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
		if s := claim.Status.Conditions; len(s) != 1 || s[0].Type != corev1.PersistentVolumeClaimUnused || s[0].Status != corev1.ConditionTrue {
			t.Errorf("its status: %+v", claim.Status)
		}
		if err := claims.Delete(t.Context(), "c", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if _, err := claims.Get(t.Context(), "c", metav1.GetOptions{}); !apierrors.IsNotFound(err) {
			t.Errorf("deleted: %v", err)
		}
	})
}

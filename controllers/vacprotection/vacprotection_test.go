package vacprotection_test

import (
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
	"github.com/strake-io/strake/controllers/pvprotection"
	"github.com/strake-io/strake/controllers/vacprotection"
)

// Classes and volumes: an old object gets its finalizer, one in use stays, and goes
// when the last use ends.
func TestProtection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		class := func(name string) *storagev1.VolumeAttributesClass {
			return &storagev1.VolumeAttributesClass{ObjectMeta: metav1.ObjectMeta{Name: name}}
		}
		volume := &corev1.PersistentVolume{
			ObjectMeta: metav1.ObjectMeta{Name: "v"}, Spec: corev1.PersistentVolumeSpec{VolumeAttributesClassName: ptr.To("of-volume")},
			Status: corev1.PersistentVolumeStatus{Phase: corev1.VolumeBound},
		}
		claim := &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "c"}, Spec: corev1.PersistentVolumeClaimSpec{VolumeAttributesClassName: ptr.To("of-claim")},
			Status: corev1.PersistentVolumeClaimStatus{CurrentVolumeAttributesClassName: ptr.To("current")},
		}
		api := fakeapi.New(class("of-volume"), class("of-claim"), class("current"), class("free"), volume, claim)
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{pvprotection.New(), vacprotection.New()}})
		classes, volumes, claims := api.Client.StorageV1().VolumeAttributesClasses(), api.Client.CoreV1().PersistentVolumes(), api.Client.CoreV1().PersistentVolumeClaims("ns")
		left := func() (names string) {
			t.Helper()
			time.Sleep(time.Minute)
			c, err := classes.List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			v, err := volumes.List(t.Context(), metav1.ListOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for _, x := range c.Items {
				names += x.Name + " "
			}
			for _, x := range v.Items {
				names += x.Name + " "
			}
			return names
		}
		for _, name := range []string{"of-volume", "of-claim", "current", "free"} {
			if c, err := classes.Get(t.Context(), name, metav1.GetOptions{}); err != nil || len(c.Finalizers) != 1 {
				t.Errorf("%s has %v, %v", name, c.Finalizers, err)
			}
			if err := classes.Delete(t.Context(), name, metav1.DeleteOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := volumes.Delete(t.Context(), "v", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := left(); got != "current of-claim of-volume v " {
			t.Errorf("in use: %q", got)
		}
		claim, err := claims.Get(t.Context(), "c", metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		claim.Spec.VolumeAttributesClassName = ptr.To("current")
		if _, err := claims.Update(t.Context(), claim, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := left(); got != "current of-volume v " {
			t.Errorf("the claim has another: %q", got)
		}
		if err := claims.Delete(t.Context(), "c", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := left(); got != "of-volume v " {
			t.Errorf("the claim is gone: %q", got)
		}
		if volume, err = volumes.Get(t.Context(), "v", metav1.GetOptions{}); err != nil {
			t.Fatal(err)
		}
		volume.Status.Phase = corev1.VolumeReleased
		if _, err := volumes.UpdateStatus(t.Context(), volume, metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := left(); got != "" {
			t.Errorf("the volume is released: %q", got)
		}
	})
}

package codec

import (
	"reflect"
	"testing"

	corev1 "k8s.io/api/core/v1"
	quantity "k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/strake-io/strake/apiserver/resource"
)

// Decoded objects are shared between readers, who encode them side by side: a
// quantity must not learn its own text from the first that asks.
func TestDecodedQuantitiesStay(t *testing.T) {
	limit := quantity.MustParse("8Mi")
	pod := &corev1.Pod{Spec: corev1.PodSpec{Volumes: []corev1.Volume{{
		Name: "v", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{SizeLimit: &limit}},
	}}}}
	storage := New(scheme.Scheme).Storage(&resource.Resource{GVK: podKind, New: newPod})
	data, err := storage.Encode(pod)
	if err != nil {
		t.Fatal(err)
	}
	obj, err := storage.Decode(data)
	if err != nil {
		t.Fatal(err)
	}
	quantity := obj.(*corev1.Pod).Spec.Volumes[0].EmptyDir.SizeLimit
	before := *quantity
	if _, err := Item(Protobuf, obj); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(before, *quantity) {
		t.Errorf("encoding changed %#v to %#v", before, *quantity)
	}
}

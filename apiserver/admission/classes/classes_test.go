package classes_test

import (
	"context"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	storagev1 "k8s.io/api/storage/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/defaultingressclass"
	"github.com/strake-io/strake/apiserver/admission/defaultstorageclass"
	"github.com/strake-io/strake/apiserver/resource"
)

type served struct {
	resource.Objects
	classes map[schema.GroupResource][]runtime.Object
}

func (s served) List(_ context.Context, of schema.GroupResource, _ string) ([]runtime.Object, error) {
	return s.classes[of], nil
}

func meta(name string, age time.Duration, annotation string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, CreationTimestamp: metav1.NewTime(time.Unix(1e9, 0).Add(-age)), Annotations: map[string]string{annotation: "true"}}
}

// Both plugins that choose a default class.
func TestDefaults(t *testing.T) {
	claim := func(annotation string, class *string) *corev1.PersistentVolumeClaim {
		return &corev1.PersistentVolumeClaim{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{annotation: "x"}},
			Spec:       corev1.PersistentVolumeClaimSpec{StorageClassName: class},
		}
	}
	ingress := func(annotation string, class *string) *networkingv1.Ingress {
		return &networkingv1.Ingress{
			ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{annotation: "x"}},
			Spec:       networkingv1.IngressSpec{IngressClassName: class},
		}
	}
	storage := func(name string, age time.Duration, annotation string) runtime.Object {
		return &storagev1.StorageClass{ObjectMeta: meta(name, age, annotation)}
	}
	network := func(name string, age time.Duration, annotation string) runtime.Object {
		return &networkingv1.IngressClass{ObjectMeta: meta(name, age, annotation)}
	}
	const now, beta = "storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"
	for name, test := range map[string]struct {
		obj       runtime.Object
		classes   []runtime.Object
		operation admission.Operation
		want      string
	}{
		"no class":           {obj: claim("", nil), want: "<nil>"},
		"no default":         {obj: claim("", nil), classes: []runtime.Object{storage("a", 0, "")}, want: "<nil>"},
		"the default":        {obj: claim("", nil), classes: []runtime.Object{storage("a", 0, ""), storage("b", 0, now)}, want: "b"},
		"the old annotation": {obj: claim("", nil), classes: []runtime.Object{storage("b", 0, beta)}, want: "b"},
		"the newest": {
			obj: claim("", nil), classes: []runtime.Object{storage("a", time.Hour, now), storage("c", 0, now), storage("b", 0, now)}, want: "b",
		},
		"named":                 {obj: claim("", ptr.To("")), classes: []runtime.Object{storage("b", 0, now)}, want: ""},
		"named the old way":     {obj: claim(corev1.BetaStorageClassAnnotation, nil), classes: []runtime.Object{storage("b", 0, now)}, want: "<nil>"},
		"an update":             {obj: claim("", nil), classes: []runtime.Object{storage("b", 0, now)}, operation: admission.Update, want: "<nil>"},
		"an ingress":            {obj: ingress("", nil), classes: []runtime.Object{network("b", 0, networkingv1.AnnotationIsDefaultIngressClass)}, want: "b"},
		"an ingress, named":     {obj: ingress("", ptr.To("x")), classes: []runtime.Object{network("b", 0, networkingv1.AnnotationIsDefaultIngressClass)}, want: "x"},
		"an ingress, annotated": {obj: ingress("kubernetes.io/ingress.class", nil), classes: []runtime.Object{network("b", 0, networkingv1.AnnotationIsDefaultIngressClass)}, want: "<nil>"},
	} {
		a := &admission.Attributes{Operation: admission.Create, Object: test.obj, Objects: served{classes: map[schema.GroupResource][]runtime.Object{
			{Group: "storage.k8s.io", Resource: "storageclasses"}: test.classes, {Group: "networking.k8s.io", Resource: "ingressclasses"}: test.classes,
		}}}
		if test.operation != "" {
			a.Operation = test.operation
		}
		if err := (admission.Chain{defaultstorageclass.Plugin{}, defaultingressclass.Plugin{}}).Admit(t.Context(), a); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		class := (*string)(nil)
		switch obj := a.Object.(type) {
		case *corev1.PersistentVolumeClaim:
			class = obj.Spec.StorageClassName
		case *networkingv1.Ingress:
			class = obj.Spec.IngressClassName
		}
		if got := ptr.Deref(class, "<nil>"); got != test.want {
			t.Errorf("%s: class %q, want %q", name, got, test.want)
		}
	}
}

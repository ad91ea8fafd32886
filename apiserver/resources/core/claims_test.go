package core

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
)

func TestValidateClaimStatus(t *testing.T) {
	s := &corev1.PersistentVolumeClaimStatus{
		Capacity: corev1.ResourceList{"storage": resource.MustParse("-1")},
		AllocatedResourceStatuses: map[corev1.ResourceName]corev1.ClaimResourceStatus{
			"storage": "NodeResizePending", "cpu": "NodeResizePending", "example.com/x": "Soon",
		},
		AllocatedResources: corev1.ResourceList{"storage": resource.MustParse("1Gi"), "example.com/x": resource.MustParse("-2"), "a b": {}},
	}
	want := []string{
		`status.capacity[storage]: Invalid value: -1: must be a valid resource quantity`,
		`status.allocatedResourceStatuses: Unsupported value: "cpu": supported values: "storage"`,
		`status.allocatedResourceStatuses: Unsupported value: "example.com/x": supported values: "ControllerResizeInProgress", "ControllerResizeInfeasible", "NodeResizeInProgress", "NodeResizeInfeasible", "NodeResizePending"`,
		`status.allocatedResources: Invalid value: "a b": name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')`,
		`status.allocatedResources[example.com/x]: Invalid value: "-2": must be greater than or equal to 0`,
	}
	if diff := cmp.Diff(want, lines(validateClaimStatus(s, field.NewPath("status")))); diff != "" {
		t.Error(diff)
	}
}

func TestClaimUpdate(t *testing.T) {
	claim := func(change ...func(*corev1.PersistentVolumeClaim)) *corev1.PersistentVolumeClaim {
		c := &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{
			AccessModes: []corev1.PersistentVolumeAccessMode{"ReadWriteOnce"}, VolumeName: "v", Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{"storage": resource.MustParse("2Gi")}},
		}}
		for _, f := range change {
			f(c)
		}
		return c
	}
	size := func(s string) func(*corev1.PersistentVolumeClaim) {
		return func(c *corev1.PersistentVolumeClaim) { c.Spec.Resources.Requests["storage"] = resource.MustParse(s) }
	}
	bound := func(c *corev1.PersistentVolumeClaim) {
		c.Status.Phase, c.Status.Capacity = corev1.ClaimBound, corev1.ResourceList{"storage": resource.MustParse("1Gi")}
	}
	class := func(name string) func(*corev1.PersistentVolumeClaim) {
		return func(c *corev1.PersistentVolumeClaim) { c.Spec.StorageClassName = &name }
	}
	beta := func(name string) func(*corev1.PersistentVolumeClaim) {
		return func(c *corev1.PersistentVolumeClaim) {
			c.Annotations = map[string]string{corev1.BetaStorageClassAnnotation: name}
		}
	}
	attributes := func(name string) func(*corev1.PersistentVolumeClaim) {
		return func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeAttributesClassName = &name }
	}
	has := func(c *corev1.PersistentVolumeClaim) { c.Status.CurrentVolumeAttributesClassName = ptr.To("a") }
	unnamed := func(c *corev1.PersistentVolumeClaim) { c.Spec.VolumeName = "" }
	const fixed, annotation = "spec: Forbidden: spec is immutable after creation", "metadata.annotations.volume.beta.kubernetes.io/storage-class: Invalid value: "
	for name, test := range map[string]struct {
		now, old *corev1.PersistentVolumeClaim
		want     []string
	}{
		"same":                       {now: claim(), old: claim()},
		"a volume":                   {now: claim(), old: claim(unnamed)},
		"no volume":                  {now: claim(unnamed), old: claim(), want: []string{fixed}},
		"grows":                      {now: claim(bound, size("3Gi")), old: claim(bound)},
		"grows unbound":              {now: claim(size("3Gi")), old: claim(), want: []string{fixed}},
		"shrinks":                    {now: claim(bound, size("1500Mi")), old: claim(bound)},
		"shrinks to what it has":     {now: claim(bound, size("1Gi")), old: claim(bound), want: []string{"spec.resources.requests.storage: Forbidden: field can not be less than status.capacity"}},
		"a class":                    {now: claim(class("a")), old: claim()},
		"another class":              {now: claim(class("b")), old: claim(class("a")), want: []string{fixed}},
		"a class that was annotated": {now: claim(class("a")), old: claim(beta("a"))},
		"another than annotated":     {now: claim(class("b"), beta("a")), old: claim(beta("a")), want: []string{fixed}},
		"another annotation":         {now: claim(beta("b")), old: claim(beta("a")), want: []string{annotation + `"b": field is immutable`}},
		"attributes":                 {now: claim(bound, attributes("b"), has), old: claim(bound, attributes("a"), has)},
		"attributes, unbound":        {now: claim(attributes("b")), old: claim(attributes("a")), want: []string{fixed}},
		"no attributes":              {now: claim(bound, has), old: claim(bound, attributes("a"), has), want: []string{"spec.volumeAttributesClassName: Forbidden: update to nil is forbidden"}},
		"empty attributes":           {now: claim(bound, attributes(""), has), old: claim(bound, attributes("a"), has), want: []string{"spec.volumeAttributesClassName: Forbidden: update to empty string is forbidden"}},
		"attributes given up":        {now: claim(bound), old: claim(bound, attributes("a"))},
	} {
		got := lines(validateClaimUpdate(test.now, test.old))
		same := len(got) == len(test.want)
		for i := range got {
			same = same && strings.HasPrefix(got[i], test.want[i])
		}
		if !same {
			t.Errorf("%s: %s", name, cmp.Diff(test.want, got))
		}
	}
}

func TestEndpointsThatStay(t *testing.T) {
	r := endpoints()
	old := &corev1.Endpoints{Subsets: []corev1.EndpointSubset{{Addresses: []corev1.EndpointAddress{{IP: "010.0.0.1"}}}}}
	if errs := r.ValidateChange(old.DeepCopy(), old); len(errs) > 0 {
		t.Error(errs)
	}
	if diff := cmp.Diff([]string{`subsets[0].addresses[0].ip: Invalid value: "010.0.0.1": must not have leading 0s`}, lines(r.Validate(old))); diff != "" {
		t.Error(diff)
	}
}

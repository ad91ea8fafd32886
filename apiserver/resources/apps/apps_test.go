package apps

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
)

func deployment() *appsv1.Deployment {
	d := &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: "web"},
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"app": "web"}},
				Spec:       corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "nginx"}}},
			},
		},
	}
	defaultDeployment(d)
	return d
}

func lines(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}

func TestDeploymentDefaults(t *testing.T) {
	got := deployment().Spec
	got.Template = corev1.PodTemplateSpec{}
	want := appsv1.DeploymentSpec{
		Replicas: ptr.To(int32(1)), Selector: &metav1.LabelSelector{MatchLabels: map[string]string{"app": "web"}},
		Strategy: appsv1.DeploymentStrategy{Type: "RollingUpdate", RollingUpdate: &appsv1.RollingUpdateDeployment{
			MaxUnavailable: ptr.To(intstr.FromString("25%")), MaxSurge: ptr.To(intstr.FromString("25%")),
		}},
		RevisionHistoryLimit: ptr.To(int32(10)), ProgressDeadlineSeconds: ptr.To(int32(600)),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
}

func TestValidateDeployment(t *testing.T) {
	if errs := validateDeployment(deployment()); len(errs) > 0 {
		t.Fatalf("a good deployment: %v", errs)
	}
	for name, test := range map[string]struct {
		change func(s *appsv1.DeploymentSpec)
		want   []string
	}{
		"replicas":       {func(s *appsv1.DeploymentSpec) { s.Replicas = ptr.To(int32(-1)) }, []string{"spec.replicas: Invalid value: -1: must be greater than or equal to 0"}},
		"no selector":    {func(s *appsv1.DeploymentSpec) { s.Selector = nil }, []string{"spec.selector: Required value"}},
		"empty selector": {func(s *appsv1.DeploymentSpec) { s.Selector = &metav1.LabelSelector{} }, []string{"spec.selector: Invalid value: {}: empty selector is invalid for deployment"}},
		"other labels":   {func(s *appsv1.DeploymentSpec) { s.Template.Labels["app"] = "x" }, []string{"spec.template.metadata.labels: Invalid value: {\"app\":\"x\"}: `selector` does not match template `labels`"}},
		"no container":   {func(s *appsv1.DeploymentSpec) { s.Template.Spec.Containers = nil }, []string{"spec.template.spec.containers: Required value"}},
		"recreate rolling": {func(s *appsv1.DeploymentSpec) { s.Strategy.Type = "Recreate" }, []string{
			"spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
		}},
		"standing still": {func(s *appsv1.DeploymentSpec) {
			s.Strategy.RollingUpdate.MaxSurge, s.Strategy.RollingUpdate.MaxUnavailable = ptr.To(intstr.FromString("0%")), ptr.To(intstr.FromInt32(0))
		}, []string{"spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0"}},
		"deadline": {func(s *appsv1.DeploymentSpec) { s.MinReadySeconds = 600 }, []string{"spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds"}},
	} {
		t.Run(name, func(t *testing.T) {
			d := deployment()
			test.change(&d.Spec)
			if diff := cmp.Diff(test.want, lines(validateDeployment(d))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestGenerationAndSelector(t *testing.T) {
	r := deployments()
	old, d := deployment(), deployment()
	old.Generation, d.Status.Replicas = 4, 9
	r.PrepareForUpdate(resource.Request{}, d, old)
	if d.Generation != 4 || d.Status.Replicas != 0 {
		t.Errorf("an update of status alone: generation %d, status %+v", d.Generation, d.Status)
	}
	d.Spec.Paused = true
	r.PrepareForUpdate(resource.Request{}, d, old)
	if d.Generation != 5 {
		t.Errorf("generation %d after a change of spec, want 5", d.Generation)
	}
	d.Spec.Selector = &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	if diff := cmp.Diff([]string{`spec.selector: Invalid value: {"matchLabels":{"a":"b"}}: field is immutable`}, lines(r.ValidateUpdate(d, old))); diff != "" {
		t.Errorf("selector (-want +got):\n%s", diff)
	}
}

func TestCells(t *testing.T) {
	now := time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC)
	d := deployment()
	d.CreationTimestamp = metav1.NewTime(now.Add(-49 * time.Hour))
	d.Status = appsv1.DeploymentStatus{ReadyReplicas: 1, UpdatedReplicas: 2, AvailableReplicas: 3}
	want := []any{"web", "1/1", int64(2), int64(3), "2d1h", "c", "nginx", "app=web"}
	if diff := cmp.Diff(want, deploymentCells(d, now)); diff != "" {
		t.Errorf("deployment (-want +got):\n%s", diff)
	}
	for _, r := range Resources() {
		if got, want := len(r.Cells(r.New(), now)), len(r.Columns); got != want {
			t.Errorf("%s: %d cells for %d columns", r.Plural, got, want)
		}
	}
}

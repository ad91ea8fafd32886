package apps

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
)

func statefulSet() *appsv1.StatefulSet {
	template := deployment().Spec.Template
	s := &appsv1.StatefulSet{Spec: appsv1.StatefulSetSpec{
		Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template,
		ServiceName: "web", VolumeClaimTemplates: []corev1.PersistentVolumeClaim{{ObjectMeta: metav1.ObjectMeta{Name: "data"}}},
	}}
	defaultStatefulSet(s)
	return s
}

func TestStatefulSetUpdate(t *testing.T) {
	for name, test := range map[string]struct {
		old, now func(s *appsv1.StatefulSetSpec)
		want     []string
	}{
		"an old claim is not checked again, nor the service's name": {
			old: func(s *appsv1.StatefulSetSpec) { s.ServiceName = "Bad!" },
			now: func(s *appsv1.StatefulSetSpec) { s.ServiceName, s.Replicas = "Bad!", ptr.To(int32(3)) },
		},
		"immutable": {
			now: func(s *appsv1.StatefulSetSpec) { s.ServiceName, s.PodManagementPolicy = "other", "Parallel" },
			want: []string{
				`spec.serviceName: Invalid value: "other": field is immutable`,
				`spec.podManagementPolicy: Invalid value: "Parallel": field is immutable`,
			},
		},
		"a broken template that was there before": {
			old: func(s *appsv1.StatefulSetSpec) { s.Template.Spec.Containers = nil },
			now: func(s *appsv1.StatefulSetSpec) { s.Template.Spec.Containers = nil },
		},
		"a strategy nobody knows": {
			now:  func(s *appsv1.StatefulSetSpec) { s.UpdateStrategy = appsv1.StatefulSetUpdateStrategy{Type: "X"} },
			want: []string{`spec.updateStrategy: Invalid value: {"Type":"X","RollingUpdate":null}: must be 'RollingUpdate' or 'OnDelete'`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			old, now := statefulSet(), statefulSet()
			if test.old != nil {
				test.old(&old.Spec)
			}
			test.now(&now.Spec)
			if diff := cmp.Diff(test.want, lines(validateStatefulSetUpdate(now, old))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDaemonSet(t *testing.T) {
	daemon := func(change func(*appsv1.DaemonSetSpec)) []string {
		template := deployment().Spec.Template
		d := &appsv1.DaemonSet{Spec: appsv1.DaemonSetSpec{Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: template}}
		defaultDaemonSet(d)
		change(&d.Spec)
		return lines(validateDaemonSet(&d.Spec, field.NewPath("spec")))
	}
	for name, test := range map[string]struct {
		change func(*appsv1.DaemonSetSpec)
		want   []string
	}{
		"no selector selects nothing": {
			func(s *appsv1.DaemonSetSpec) { s.Selector = nil },
			[]string{"spec.template.metadata.labels: Invalid value: {\"app\":\"web\"}: `selector` does not match template `labels`"},
		},
		"beside a broken selector the template is checked": {
			func(s *appsv1.DaemonSetSpec) {
				s.Selector.MatchExpressions = []metav1.LabelSelectorRequirement{{Key: "a", Operator: "X"}}
				s.Template.Spec.Containers = nil
			},
			[]string{
				`spec.selector.matchExpressions[0].operator: Invalid value: "X": not a valid selector operator`,
				"spec.template.spec.containers: Required value",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, daemon(test.change)); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}

	r, old := daemonSets(), &appsv1.DaemonSet{}
	setTemplateGeneration(old, 7)
	d := &appsv1.DaemonSet{}
	r.Default(d)
	if got := d.Annotations[appsv1.DeprecatedTemplateGeneration]; got != "0" {
		t.Errorf("a writer's template generation %q, want 0", got)
	}
	r.Subresource("status").View.PrepareForUpdate(resource.Request{}, d, old)
	if got := templateGeneration(d); got != 7 {
		t.Errorf("template generation %d after a write of status, want 7", got)
	}
}

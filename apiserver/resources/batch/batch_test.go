package batch

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
)

func job(labels map[string]string) *batchv1.Job {
	j := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "j", UID: "u"}, Spec: batchv1.JobSpec{Template: corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels},
		Spec:       corev1.PodSpec{RestartPolicy: corev1.RestartPolicyNever, Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}}}
	defaultJob(j)
	jobs().PrepareForCreate(resource.Request{}, j)
	return j
}

// A job without labels of its own has those of its pods, the generated ones too.
func TestJobLabels(t *testing.T) {
	for _, labels := range []map[string]string{nil, {"a": "b"}} {
		own := len(labels)
		if j := job(labels); len(j.Labels) != 4+own {
			t.Errorf("labels %v of a job whose pods had %d", j.Labels, own)
		}
	}
}

func TestJobErrors(t *testing.T) {
	indexed := func(s *batchv1.JobSpec) {
		s.CompletionMode, s.Completions, s.Parallelism = ptr.To(batchv1.IndexedCompletion), ptr.To(int32(3)), ptr.To(int32(3))
	}
	for name, test := range map[string]struct {
		old, now func(s *batchv1.JobSpec)
		want     []string
	}{
		"what was generated is not looked at again": {
			now: func(s *batchv1.JobSpec) { s.ManualSelector = nil },
		},
		"a policy that says nothing": {
			now: func(s *batchv1.JobSpec) {
				s.PodFailurePolicy = &batchv1.PodFailurePolicy{Rules: []batchv1.PodFailurePolicyRule{{}}}
				s.PodReplacementPolicy = ptr.To(batchv1.Failed)
			},
			want: []string{
				`spec.podFailurePolicy.rules[0].action: Required value: valid values: ["Count" "FailIndex" "FailJob" "Ignore"]`,
				"spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required",
				`spec.podFailurePolicy: Invalid value: {"Rules":[{"Action":"","OnExitCodes":null,"OnPodConditions":null}]}: field is immutable`,
			},
		},
		"indexes and pods go together": {
			old:  indexed,
			now:  func(s *batchv1.JobSpec) { indexed(s); s.Completions = ptr.To(int32(4)) },
			want: []string{"spec.completions: Invalid value: 4: can only be modified in tandem with spec.parallelism"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			old := job(map[string]string{"a": "b"})
			if test.old != nil {
				test.old(&old.Spec)
			}
			now := old.DeepCopy()
			test.now(&now.Spec)
			var got []string
			for _, err := range validateJobUpdate(now, old) {
				got = append(got, err.Error())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

package registry

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/resource"
)

func TestDecideDeletion(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	in := func(seconds int) *metav1.Time {
		t := metav1.NewTime(now.Add(time.Duration(seconds) * time.Second))
		return &t
	}
	n := func(v int64) *int64 { return &v }
	graceful := &resource.Resource{Strategy: resource.Strategy{GracePeriod: func(_ runtime.Object, opts *metav1.DeleteOptions) int64 {
		if opts.GracePeriodSeconds != nil {
			return *opts.GracePeriodSeconds
		}
		return 30
	}}}
	plain := &resource.Resource{}
	held := &resource.Resource{Strategy: resource.Strategy{Held: func(runtime.Object) bool { return true }}}
	foreground, background, orphan := metav1.DeletePropagationForeground, metav1.DeletePropagationBackground, metav1.DeletePropagationOrphan

	tests := []struct {
		name   string
		res    *resource.Resource
		meta   metav1.ObjectMeta
		opts   metav1.DeleteOptions
		remove bool
		want   *metav1.ObjectMeta
	}{
		{"nothing holds it", plain, metav1.ObjectMeta{}, metav1.DeleteOptions{}, true, nil},
		{"a finalizer holds it", plain, metav1.ObjectMeta{Generation: 4, Finalizers: []string{"a/b"}}, metav1.DeleteOptions{}, false,
			&metav1.ObjectMeta{Generation: 5, Finalizers: []string{"a/b"}, DeletionTimestamp: in(0), DeletionGracePeriodSeconds: n(0)}},
		{"held and deleted already", plain, metav1.ObjectMeta{Finalizers: []string{"a/b"}, DeletionTimestamp: in(-9), DeletionGracePeriodSeconds: n(0)}, metav1.DeleteOptions{}, false, nil},
		{"something else holds it", held, metav1.ObjectMeta{}, metav1.DeleteOptions{}, false,
			&metav1.ObjectMeta{DeletionTimestamp: in(0), DeletionGracePeriodSeconds: n(0)}},
		{"a grace period", graceful, metav1.ObjectMeta{}, metav1.DeleteOptions{}, false,
			&metav1.ObjectMeta{DeletionTimestamp: in(30), DeletionGracePeriodSeconds: n(30)}},
		{"none wanted", graceful, metav1.ObjectMeta{Generation: 1}, metav1.DeleteOptions{GracePeriodSeconds: n(0)}, true,
			&metav1.ObjectMeta{Generation: 2, DeletionTimestamp: in(0), DeletionGracePeriodSeconds: n(0)}},
		{"a longer one, later", graceful, metav1.ObjectMeta{DeletionTimestamp: in(20), DeletionGracePeriodSeconds: n(30)}, metav1.DeleteOptions{GracePeriodSeconds: n(60)}, false, nil},
		{"none given, later", graceful, metav1.ObjectMeta{DeletionTimestamp: in(20), DeletionGracePeriodSeconds: n(30)}, metav1.DeleteOptions{}, false, nil},
		{"a shorter one, later", graceful, metav1.ObjectMeta{DeletionTimestamp: in(20), DeletionGracePeriodSeconds: n(30)}, metav1.DeleteOptions{GracePeriodSeconds: n(25)}, false,
			&metav1.ObjectMeta{DeletionTimestamp: in(15), DeletionGracePeriodSeconds: n(25)}},
		{"one that is over by then", graceful, metav1.ObjectMeta{DeletionTimestamp: in(20), DeletionGracePeriodSeconds: n(30)}, metav1.DeleteOptions{GracePeriodSeconds: n(5)}, false,
			&metav1.ObjectMeta{DeletionTimestamp: in(0), DeletionGracePeriodSeconds: n(1)}},
		{"none any more, later", graceful, metav1.ObjectMeta{DeletionTimestamp: in(20), DeletionGracePeriodSeconds: n(30)}, metav1.DeleteOptions{GracePeriodSeconds: n(0)}, true, nil},
		{"none any more, but held", graceful, metav1.ObjectMeta{Finalizers: []string{"a/b"}, DeletionTimestamp: in(20), DeletionGracePeriodSeconds: n(30)}, metav1.DeleteOptions{GracePeriodSeconds: n(0)}, false,
			&metav1.ObjectMeta{Finalizers: []string{"a/b"}, DeletionTimestamp: in(0), DeletionGracePeriodSeconds: n(0)}},
		{"dependents first", plain, metav1.ObjectMeta{}, metav1.DeleteOptions{PropagationPolicy: &foreground}, false,
			&metav1.ObjectMeta{Finalizers: []string{"foregroundDeletion"}, DeletionTimestamp: in(0), DeletionGracePeriodSeconds: n(0)}},
		{"other dependents, when it is over", graceful, metav1.ObjectMeta{Finalizers: []string{"foregroundDeletion"}, DeletionTimestamp: in(0), DeletionGracePeriodSeconds: n(0)},
			metav1.DeleteOptions{PropagationPolicy: &orphan}, false,
			&metav1.ObjectMeta{Finalizers: []string{"orphan"}, DeletionTimestamp: in(0), DeletionGracePeriodSeconds: n(0)}},
		{"not any more", plain, metav1.ObjectMeta{Finalizers: []string{"foregroundDeletion"}, DeletionTimestamp: in(0), DeletionGracePeriodSeconds: n(0)}, metav1.DeleteOptions{PropagationPolicy: &background}, true, nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			old := &corev1.Pod{ObjectMeta: test.meta}
			before := old.DeepCopy()
			got, err := decideDeletion(test.res, old, &test.opts, now)
			if err != nil || got.remove != test.remove || !got.remove && (got.next == nil) != (test.want == nil) {
				t.Fatalf("got %+v, %v", got, err)
			}
			if test.want != nil {
				if diff := cmp.Diff(*test.want, got.next.(*corev1.Pod).ObjectMeta); diff != "" {
					t.Errorf("(-want +got)\n%s", diff)
				}
			}
			if diff := cmp.Diff(before, old); diff != "" {
				t.Errorf("the shared object was changed:\n%s", diff)
			}
		})
	}
}

func TestNames(t *testing.T) {
	names := NewNames(nil)
	if uid := names.UID(); len(uid) != 36 || uid[14] != '4' || uid == names.UID() {
		t.Errorf("uid %q", uid)
	}
	long := names.Generate("a-very-long-base-of-a-name-that-fills-more-than-a-dns-label-could-hold-")
	if len(long) != 63 {
		t.Errorf("%q has %d characters", long, len(long))
	}
}

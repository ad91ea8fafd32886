package eventratelimit_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apiserver/pkg/authentication/user"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/eventratelimit"
)

func TestValidate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := eventratelimit.New(
			eventratelimit.Limit{By: eventratelimit.Namespace, QPS: 1, Burst: 2, CacheSize: 1},
			eventratelimit.Limit{By: eventratelimit.User, QPS: 1, Burst: 3},
		)
		if err != nil {
			t.Fatal(err)
		}
		for i, step := range []struct {
			namespace, user string
			wait            time.Duration
			want            string
		}{
			{namespace: "a", user: "u"},
			{namespace: "a", user: "u"},
			{namespace: "a", user: "u", want: "limit reached on type Namespace for key a"},
			{namespace: "a", user: "u", want: "[limit reached on type Namespace for key a, limit reached on type User for key u]"},
			{namespace: "b", user: "u", want: "limit reached on type User for key u"},
			{namespace: "b", user: "v"},
			{namespace: "b", user: "u", wait: time.Second},
			{namespace: "a", user: "v"}, // forgotten, as only one is remembered
		} {
			time.Sleep(step.wait)
			err := p.Validate(t.Context(), &admission.Attributes{
				Operation: admission.Create, Kind: corev1.SchemeGroupVersion.WithKind("Event"), Namespace: step.namespace,
				Object: &corev1.Event{}, User: &user.DefaultInfo{Name: step.user},
			})
			got := ""
			if apierrors.IsTooManyRequests(err) {
				got = strings.TrimPrefix(err.Error(), "Too many requests: ")
			}
			if got != step.want || (err == nil) != (step.want == "") {
				t.Errorf("step %d: %v, want %q", i, err, step.want)
			}
		}
	})
}

func TestNew(t *testing.T) {
	for _, l := range [][]eventratelimit.Limit{
		nil,
		{{By: "Server", QPS: 0, Burst: 1}},
		{{By: "Server", QPS: 1, Burst: 0}},
		{{By: "Planet", QPS: 1, Burst: 1}},
		{{By: "User", QPS: 1, Burst: 1, CacheSize: -1}},
	} {
		if p, err := eventratelimit.New(l...); err == nil {
			t.Errorf("%+v makes %v", l, p)
		}
	}
}

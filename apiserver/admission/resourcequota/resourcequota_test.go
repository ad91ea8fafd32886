package resourcequota_test

import (
	"context"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	limited "k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota/v1"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/resourcequota"
	"github.com/strake-io/strake/apiserver/resource"
)

// store holds the quota of one namespace.
type store struct {
	resource.Objects
	quota *corev1.ResourceQuota
}

func newStore(hard, used int64) *store {
	amount := func(n int64) corev1.ResourceList {
		return corev1.ResourceList{"services.nodeports": *apiresource.NewQuantity(n, apiresource.DecimalSI)}
	}
	return &store{quota: &corev1.ResourceQuota{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "q"}, Status: corev1.ResourceQuotaStatus{Hard: amount(hard), Used: amount(used)},
	}}
}

func (s *store) List(_ context.Context, _ schema.GroupResource, namespace string) ([]runtime.Object, error) {
	if namespace != "ns" {
		return nil, nil
	}
	return []runtime.Object{s.quota}, nil
}

func (s *store) Update(_ context.Context, _ resource.Request, _ schema.GroupResource, _, _ string, change func(runtime.Object) error) (runtime.Object, error) {
	next := s.quota.DeepCopy()
	if err := change(next); err != nil {
		return nil, err
	}
	s.quota = next
	return next, nil
}

func (s *store) used() int64 {
	amount := s.quota.Status.Used["services.nodeports"]
	return amount.Value()
}

// The tries of one update are charged once; a dry run is not.
func TestTriesAndDryRuns(t *testing.T) {
	s, p := newStore(10, 1), resourcequota.New(nil)
	ports := func(n int) *corev1.Service {
		return &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: make([]corev1.ServicePort, n)}}
	}
	var kept admission.Kept
	for _, test := range []struct {
		ports  int
		dryRun bool
		used   int64
	}{{3, true, 1}, {3, false, 3}, {3, false, 3}, {4, false, 4}} {
		a := &admission.Attributes{
			Operation: admission.Update, Resource: corev1.SchemeGroupVersion.WithResource("services"), Namespace: "ns", Name: "s",
			Object: ports(test.ports), Old: ports(1), Objects: s, DryRun: test.dryRun, Kept: &kept,
		}
		if err := p.Validate(t.Context(), a); err != nil || s.used() != test.used {
			t.Errorf("%+v: %v, %d are used", test, err, s.used())
		}
	}
}

func create(s *store, namespace, of string, obj runtime.Object) *admission.Attributes {
	return &admission.Attributes{
		Operation: admission.Create, Resource: corev1.SchemeGroupVersion.WithResource(of), Namespace: namespace, Name: "o", Object: obj, Objects: s,
	}
}

// What is limited is refused where no quota covers it, and nothing else is.
func TestLimited(t *testing.T) {
	p := resourcequota.New([]limited.LimitedResource{{Resource: "configmaps", MatchContains: []string{"count/"}}, {Resource: "services", MatchContains: []string{"nodeports"}}})
	s := newStore(5, 0)
	err := p.Validate(t.Context(), create(s, "free", "configmaps", &corev1.ConfigMap{}))
	if err == nil || !strings.HasSuffix(err.Error(), `is forbidden: insufficient quota to consume: count/configmaps`) {
		t.Error(err)
	}
	for _, a := range []*admission.Attributes{
		create(s, "free", "secrets", &corev1.Secret{}), create(s, "free", "events", &corev1.Event{}),
		create(s, "ns", "services", &corev1.Service{Spec: corev1.ServiceSpec{Type: corev1.ServiceTypeNodePort, Ports: make([]corev1.ServicePort, 1)}}),
	} {
		if err := p.Validate(t.Context(), a); err != nil {
			t.Error(err)
		}
	}
}

// A namespace without quotas costs a look-up.
func TestNoQuota(t *testing.T) {
	a, p := create(newStore(1, 1), "free", "configmaps", &corev1.ConfigMap{}), resourcequota.New(nil)
	var err error
	if n := testing.AllocsPerRun(100, func() { err = p.Validate(context.Background(), a) }); n != 0 || err != nil {
		t.Errorf("%v allocations, %v", n, err)
	}
}

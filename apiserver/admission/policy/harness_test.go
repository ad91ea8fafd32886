package policy_test

import (
	"context"
	"sync"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver"
	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/namespacelifecycle"
	"github.com/strake-io/strake/apiserver/admission/policy"
	"github.com/strake-io/strake/apiserver/authz"
	"github.com/strake-io/strake/apiserver/resources"
	"github.com/strake-io/strake/store/memory"
)

var admin = &user.DefaultInfo{Name: "admin", Groups: []string{user.SystemPrivilegedGroup, user.AllAuthenticated}}

// warnings that the server has sent.
type warnings struct {
	mu   sync.Mutex
	said []string
}

func (w *warnings) HandleWarningHeaderWithContext(_ context.Context, _ int, _, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.said = append(w.said, text)
}

func (w *warnings) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	said := w.said
	w.said = nil
	return said
}

// serve runs a server with the policies and the plugins given after them, and the
// namespace "default".
func serve(t testing.TB, more ...admission.Plugin) (kubernetes.Interface, *warnings) {
	t.Helper()
	return serveWith(t, true, more...)
}

// serveWith leaves the policies out where there shall be none.
func serveWith(t testing.TB, policies bool, more ...admission.Plugin) (kubernetes.Interface, *warnings) {
	t.Helper()
	st, err := memory.New(memory.Config{})
	if err != nil {
		t.Fatal(err)
	}
	all, err := resources.BuiltIn(resources.Config{})
	if err != nil {
		t.Fatal(err)
	}
	config := policy.Config{Authorizer: authz.New()}
	plugins := []admission.Plugin{namespacelifecycle.Plugin{}}
	if policies {
		plugins = append(plugins, policy.NewMutating(config), policy.NewValidating(config))
	}
	s, err := apiserver.New(apiserver.Config{Store: st, Resources: all, Admission: append(plugins, more...)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		if err := st.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	<-s.Ready()
	said := &warnings{}
	rc := rest.CopyConfig(s.RESTConfig(admin))
	rc.WarningHandlerWithContext = said
	rc.QPS = -1
	client, err := kubernetes.NewForConfig(rc)
	if err != nil {
		t.Fatal(err)
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "default", Labels: map[string]string{"tier": "gold"}}}
	if _, err := client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	return client, said
}

// match is the creation and update of resources of the core group.
func match(resources ...string) *admissionv1.MatchResources {
	return &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{
		RuleWithOperations: admissionv1.RuleWithOperations{
			Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
			Rule:       admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: resources},
		},
	}}}
}

// validating puts a policy and its binding there.
func validating(t testing.TB, client kubernetes.Interface, spec admissionv1.ValidatingAdmissionPolicySpec, bind admissionv1.ValidatingAdmissionPolicyBindingSpec) {
	t.Helper()
	if spec.MatchConstraints == nil {
		spec.MatchConstraints = match("configmaps")
	}
	p := &admissionv1.ValidatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: spec}
	if _, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicies().Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bind.PolicyName = "p"
	if bind.ValidationActions == nil {
		bind.ValidationActions = []admissionv1.ValidationAction{admissionv1.Deny}
	}
	b := &admissionv1.ValidatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: "b"}, Spec: bind}
	if _, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().Create(t.Context(), b, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	settle(t, client)
}

// mutating puts a policy and its binding there, both of one name.
func mutating(t testing.TB, client kubernetes.Interface, name string, spec admissionv1.MutatingAdmissionPolicySpec, bind admissionv1.MutatingAdmissionPolicyBindingSpec) {
	t.Helper()
	if spec.MatchConstraints == nil {
		spec.MatchConstraints = match("configmaps")
	}
	if spec.ReinvocationPolicy == "" {
		spec.ReinvocationPolicy = admissionv1.NeverReinvocationPolicy
	}
	p := &admissionv1.MutatingAdmissionPolicy{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: spec}
	if _, err := client.AdmissionregistrationV1().MutatingAdmissionPolicies().Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	bind.PolicyName = name
	b := &admissionv1.MutatingAdmissionPolicyBinding{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: bind}
	if _, err := client.AdmissionregistrationV1().MutatingAdmissionPolicyBindings().Create(t.Context(), b, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	settle(t, client)
}

// settle waits until the server's own watch has seen what was written: a consistent
// read has waited for that.
func settle(t testing.TB, client kubernetes.Interface) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := client.AdmissionregistrationV1().ValidatingAdmissionPolicyBindings().List(ctx, metav1.ListOptions{}); err != nil {
		t.Fatal(err)
	}
}

func configMap(name string, data map[string]string) *corev1.ConfigMap {
	return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default"}, Data: data}
}

func create(t testing.TB, client kubernetes.Interface, cm *corev1.ConfigMap) (*corev1.ConfigMap, error) {
	t.Helper()
	return client.CoreV1().ConfigMaps(cm.Namespace).Create(t.Context(), cm, metav1.CreateOptions{})
}

var deny = ptr.To(admissionv1.DenyAction)

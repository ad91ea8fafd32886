package conformance

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	admissionregistrationv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/strake-io/strake/internal/pki"
)

// Ship is a custom resource as an operator's author writes one.
type Ship struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ShipSpec   `json:"spec"`
	Status ShipStatus `json:"status,omitempty"`
}

// ShipSpec is what is wanted.
type ShipSpec struct {
	Crew int32  `json:"crew"`
	Flag string `json:"flag,omitempty"`
}

// ShipStatus is what is.
type ShipStatus struct {
	Conditions         []metav1.Condition `json:"conditions,omitempty"`
	ObservedGeneration int64              `json:"observedGeneration,omitempty"`
}

// ShipList is a list of ships.
type ShipList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Ship `json:"items"`
}

// DeepCopyObject implements runtime.Object.
func (s *Ship) DeepCopyObject() runtime.Object {
	out := *s
	s.ObjectMeta.DeepCopyInto(&out.ObjectMeta)
	out.Status.Conditions = append([]metav1.Condition(nil), s.Status.Conditions...)
	return &out
}

// DeepCopyObject implements runtime.Object.
func (l *ShipList) DeepCopyObject() runtime.Object {
	out := *l
	out.Items = nil
	for i := range l.Items {
		out.Items = append(out.Items, *l.Items[i].DeepCopyObject().(*Ship))
	}
	return &out
}

var shipKind = schema.GroupVersionKind{Group: "fleet.example.com", Version: "v1", Kind: "Ship"}

// shipDefinition is the CRD that goes with the types.
func shipDefinition() *apiextensionsv1.CustomResourceDefinition {
	object := func(properties map[string]apiextensionsv1.JSONSchemaProps) apiextensionsv1.JSONSchemaProps {
		return apiextensionsv1.JSONSchemaProps{Type: "object", Properties: properties}
	}
	root := object(map[string]apiextensionsv1.JSONSchemaProps{
		"spec": object(map[string]apiextensionsv1.JSONSchemaProps{
			"crew": {Type: "integer", Format: "int32", Minimum: ptr.To(0.0)},
			"flag": {Type: "string"},
		}),
		"status": object(map[string]apiextensionsv1.JSONSchemaProps{
			"observedGeneration": {Type: "integer", Format: "int64"},
			"conditions": {Type: "array", XListType: ptr.To("map"), XListMapKeys: []string{"type"}, Items: &apiextensionsv1.JSONSchemaPropsOrArray{
				Schema: ptr.To(func() apiextensionsv1.JSONSchemaProps {
					s := object(map[string]apiextensionsv1.JSONSchemaProps{
						"type": {Type: "string"}, "status": {Type: "string"}, "reason": {Type: "string"}, "message": {Type: "string"},
						"lastTransitionTime": {Type: "string", Format: "date-time"}, "observedGeneration": {Type: "integer", Format: "int64"},
					})
					s.Required = []string{"type"}
					return s
				}()),
			}},
		}),
	})
	return &apiextensionsv1.CustomResourceDefinition{
		ObjectMeta: metav1.ObjectMeta{Name: "ships." + shipKind.Group},
		Spec: apiextensionsv1.CustomResourceDefinitionSpec{
			Group: shipKind.Group, Scope: apiextensionsv1.NamespaceScoped,
			Names: apiextensionsv1.CustomResourceDefinitionNames{Plural: "ships", Singular: "ship", Kind: "Ship", ListKind: "ShipList"},
			Versions: []apiextensionsv1.CustomResourceDefinitionVersion{{
				Name: "v1", Served: true, Storage: true,
				Schema:       &apiextensionsv1.CustomResourceValidation{OpenAPIV3Schema: &root},
				Subresources: &apiextensionsv1.CustomResourceSubresources{Status: &apiextensionsv1.CustomResourceSubresourceStatus{}},
			}},
		},
	}
}

// shipyard reconciles ships: each has a config map that says how many sail on it.
type shipyard struct{ client.Client }

func (y *shipyard) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	var ship Ship
	if err := y.Get(ctx, req.NamespacedName, &ship); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	const finalizer = "fleet.example.com/scrap"
	if !ship.DeletionTimestamp.IsZero() {
		if controllerutil.RemoveFinalizer(&ship, finalizer) {
			return ctrl.Result{}, y.Update(ctx, &ship)
		}
		return ctrl.Result{}, nil
	}
	if controllerutil.AddFinalizer(&ship, finalizer) {
		return ctrl.Result{}, y.Update(ctx, &ship)
	}
	log := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ship.Namespace, Name: ship.Name + "-log"}}
	if _, err := controllerutil.CreateOrUpdate(ctx, y.Client, log, func() error {
		log.Data = map[string]string{"crew": fmt.Sprint(ship.Spec.Crew)}
		return controllerutil.SetControllerReference(&ship, log, y.Scheme())
	}); err != nil {
		return ctrl.Result{}, err
	}
	before := ship.DeepCopyObject().(*Ship)
	ship.Status.ObservedGeneration = ship.Generation
	meta.SetStatusCondition(&ship.Status.Conditions, metav1.Condition{Type: "Afloat", Status: metav1.ConditionTrue, Reason: "Built", ObservedGeneration: ship.Generation})
	return ctrl.Result{}, y.Status().Patch(ctx, &ship, client.MergeFrom(before))
}

// launch defaults and checks ships.
type launch struct{}

func (launch) Default(_ context.Context, ship *Ship) error {
	if ship.Spec.Flag == "" {
		ship.Spec.Flag = "plain"
	}
	return nil
}

func (launch) ValidateCreate(_ context.Context, ship *Ship) (admission.Warnings, error) {
	if ship.Spec.Flag == "skull" {
		return nil, errors.New("no pirates")
	}
	if ship.Spec.Crew == 0 {
		return admission.Warnings{"it will drift"}, nil
	}
	return nil, nil
}

func (launch) ValidateUpdate(_ context.Context, old, ship *Ship) (admission.Warnings, error) {
	if old.Spec.Flag != ship.Spec.Flag {
		return nil, errors.New("it sails under one flag")
	}
	return nil, nil
}

func (launch) ValidateDelete(_ context.Context, ship *Ship) (admission.Warnings, error) {
	if ship.Labels["keep"] == "true" {
		return nil, errors.New("it is a museum")
	}
	return nil, nil
}

// TestControllerRuntime runs an operator: a manager with leader election, its
// cached client, a reconciler, and webhooks over TLS.
func TestControllerRuntime(t *testing.T) {
	c := connect(t)
	ns := c.namespace(t)
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	gv := shipKind.GroupVersion()
	scheme.AddKnownTypes(gv, &Ship{}, &ShipList{})
	metav1.AddToGroupVersion(scheme, gv)

	direct, err := client.New(c.config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	definition := shipDefinition()
	if err := direct.Create(t.Context(), definition); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := direct.Delete(context.Background(), definition); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the CRD is established", func() error { return direct.List(t.Context(), &ShipList{}) })

	mgr := startManager(t, c, ns, scheme)
	t.Run("Reconcile", func(t *testing.T) { testReconcile(t, mgr.GetClient(), ns) })
	t.Run("Webhooks", func(t *testing.T) { testWebhooks(t, direct, ns) })
	t.Run("Client", func(t *testing.T) { testClient(t, direct, ns) })
}

func startManager(t *testing.T, c *clients, ns string, scheme *runtime.Scheme) manager.Manager {
	t.Helper()
	dir := t.TempDir()
	serving, err := c.ca.Issue(pki.Request{CommonName: "webhook", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	cert, key, err := pki.EncodePEM(serving)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"tls.crt": cert, "tls.key": key} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	ctrl.SetLogger(logr.Discard())
	mgr, err := ctrl.NewManager(c.config, manager.Options{
		Scheme: scheme, Logger: logr.Discard(), Metrics: metricsserver.Options{BindAddress: "0"},
		Cache:          cache.Options{DefaultNamespaces: map[string]cache.Config{ns: {}}},
		LeaderElection: true, LeaderElectionID: "shipyard", LeaderElectionNamespace: ns, LeaderElectionReleaseOnCancel: true,
		WebhookServer: webhook.NewServer(webhook.Options{Host: "127.0.0.1", Port: port, CertDir: dir}),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := ctrl.NewControllerManagedBy(mgr).For(&Ship{}).Owns(&corev1.ConfigMap{}).Complete(&shipyard{mgr.GetClient()}); err != nil {
		t.Fatal(err)
	}
	if err := ctrl.NewWebhookManagedBy(mgr, &Ship{}).WithDefaulter(launch{}).WithValidator(launch{}).Complete(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the manager: %v", err)
		}
	})
	select {
	case <-mgr.Elected():
	case err := <-done:
		done <- nil
		t.Fatalf("the manager ended: %v", err)
	case <-time.After(30 * time.Second):
		t.Fatal("the manager does not lead")
	}
	eventually(t, "the webhook server serves", func() error { return mgr.GetWebhookServer().StartedChecker()(&http.Request{}) })
	hook(t, c, port)
	return mgr
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// hook configures the API server to ask the manager's webhooks.
func hook(t *testing.T, c *clients, port int) {
	t.Helper()
	at := func(path string) admissionregistrationv1.WebhookClientConfig {
		return admissionregistrationv1.WebhookClientConfig{URL: ptr.To(fmt.Sprintf("https://127.0.0.1:%d%s", port, path)), CABundle: c.ca.PEM()}
	}
	rules := []admissionregistrationv1.RuleWithOperations{{
		Operations: []admissionregistrationv1.OperationType{admissionregistrationv1.OperationAll},
		Rule:       admissionregistrationv1.Rule{APIGroups: []string{shipKind.Group}, APIVersions: []string{"v1"}, Resources: []string{"ships"}},
	}}
	none := ptr.To(admissionregistrationv1.SideEffectClassNone)
	mutating := &admissionregistrationv1.MutatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "ships"},
		Webhooks: []admissionregistrationv1.MutatingWebhook{{
			Name: "default.fleet.example.com", ClientConfig: at("/mutate-fleet-example-com-v1-ship"), Rules: rules,
			SideEffects: none, AdmissionReviewVersions: []string{"v1"},
		}},
	}
	validating := &admissionregistrationv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "ships"},
		Webhooks: []admissionregistrationv1.ValidatingWebhook{{
			Name: "check.fleet.example.com", ClientConfig: at("/validate-fleet-example-com-v1-ship"), Rules: rules,
			SideEffects: none, AdmissionReviewVersions: []string{"v1"},
		}},
	}
	registration := c.typed.AdmissionregistrationV1()
	if _, err := registration.MutatingWebhookConfigurations().Create(t.Context(), mutating, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	if _, err := registration.ValidatingWebhookConfigurations().Create(t.Context(), validating, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := errors.Join(
			registration.MutatingWebhookConfigurations().Delete(context.Background(), "ships", metav1.DeleteOptions{}),
			registration.ValidatingWebhookConfigurations().Delete(context.Background(), "ships", metav1.DeleteOptions{}),
		); err != nil {
			t.Error(err)
		}
	})
}

func testReconcile(t *testing.T, c client.Client, ns string) {
	ctx := t.Context()
	ship := &Ship{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "argo"}, Spec: ShipSpec{Crew: 50}}
	if err := c.Create(ctx, ship); err != nil {
		t.Fatal(err)
	}
	log := &corev1.ConfigMap{}
	logged := func(crew string) {
		t.Helper()
		eventually(t, "the log says "+crew, func() error {
			err := c.Get(ctx, client.ObjectKey{Namespace: ns, Name: "argo-log"}, log)
			if err == nil && log.Data["crew"] != crew {
				err = fmt.Errorf("it says %v", log.Data)
			}
			return err
		})
	}
	logged("50")
	if !metav1.IsControlledBy(log, ship) {
		t.Errorf("the log belongs to %v", log.OwnerReferences)
	}
	afloat := func(generation int64) {
		t.Helper()
		eventually(t, "it floats", func() error {
			err := c.Get(ctx, client.ObjectKeyFromObject(ship), ship)
			if err == nil && (!meta.IsStatusConditionTrue(ship.Status.Conditions, "Afloat") || ship.Status.ObservedGeneration != generation) {
				err = fmt.Errorf("its status is %+v", ship.Status)
			}
			return err
		})
	}
	afloat(1)
	eventually(t, "an update", func() error {
		if err := c.Get(ctx, client.ObjectKeyFromObject(ship), ship); err != nil {
			return err
		}
		ship.Spec.Crew = 51
		return c.Update(ctx, ship)
	})
	logged("51")
	afloat(2)
	// What somebody takes away comes back.
	if err := c.Delete(ctx, log); err != nil {
		t.Fatal(err)
	}
	logged("51")
	if err := c.Delete(ctx, ship); err != nil {
		t.Fatal(err)
	}
	eventually(t, "ship and log are gone", func() error {
		for _, obj := range []client.Object{ship, log} {
			if err := c.Get(ctx, client.ObjectKeyFromObject(obj), obj); !apierrors.IsNotFound(err) {
				return fmt.Errorf("%T: %v", obj, err)
			}
		}
		return nil
	})
}

func testWebhooks(t *testing.T, c client.Client, ns string) {
	ctx := t.Context()
	ship := &Ship{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "victory", Labels: map[string]string{"keep": "true"}}, Spec: ShipSpec{Crew: 800}}
	eventually(t, "the webhook defaults", func() error {
		dry := ship.DeepCopyObject().(*Ship)
		if err := c.Create(ctx, dry, client.DryRunAll); err != nil {
			return err
		}
		if dry.Spec.Flag != "plain" {
			return fmt.Errorf("flag %q", dry.Spec.Flag)
		}
		return nil
	})
	if err := c.Create(ctx, ship); err != nil {
		t.Fatal(err)
	}
	refused := func(err error, want string) {
		t.Helper()
		if !apierrors.IsForbidden(err) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
	refused(c.Create(ctx, &Ship{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: "pearl"}, Spec: ShipSpec{Flag: "skull"}}),
		`admission webhook "check.fleet.example.com" denied the request: no pirates`)
	refused(c.Patch(ctx, &Ship{ObjectMeta: ship.ObjectMeta}, client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"flag":"red"}}`))),
		`admission webhook "check.fleet.example.com" denied the request: it sails under one flag`)
	refused(c.Delete(ctx, ship), `admission webhook "check.fleet.example.com" denied the request: it is a museum`)
	if err := c.Patch(ctx, ship, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":null}}`))); err != nil {
		t.Fatal(err)
	}
	if err := c.Delete(ctx, ship); err != nil {
		t.Error(err)
	}
}

// testClient takes controller-runtime's client through its verbs.
func testClient(t *testing.T, c client.Client, ns string) {
	ctx := t.Context()
	for i := range 5 {
		m := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: ns, Name: fmt.Sprintf("m%d", i), Labels: map[string]string{"n": fmt.Sprint(i % 2)}}}
		if err := c.Create(ctx, m, client.FieldOwner("suite")); err != nil {
			t.Fatal(err)
		}
	}
	var list corev1.ConfigMapList
	if err := c.List(ctx, &list, client.InNamespace(ns), client.MatchingLabels{"n": "1"}, client.Limit(1)); err != nil || len(list.Items) != 1 || list.Continue == "" {
		t.Errorf("the first page: %d of them, %v", len(list.Items), err)
	}
	if err := c.List(ctx, &list, client.InNamespace(ns), client.MatchingLabels{"n": "1"}, client.Continue(list.Continue)); err != nil || len(list.Items) != 1 {
		t.Errorf("the second page: %d of them, %v", len(list.Items), err)
	}
	var partial metav1.PartialObjectMetadataList
	partial.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("ConfigMapList"))
	if err := c.List(ctx, &partial, client.InNamespace(ns), client.HasLabels{"n"}); err != nil || len(partial.Items) != 5 {
		t.Errorf("metadata: %d of them, %v", len(partial.Items), err)
	}
	m := &corev1.ConfigMap{}
	if err := c.Get(ctx, client.ObjectKey{Namespace: ns, Name: "m0"}, m); err != nil {
		t.Fatal(err)
	}
	stale := m.DeepCopy()
	before := m.DeepCopy()
	m.Data = map[string]string{"a": "1"}
	if err := c.Patch(ctx, m, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		t.Error(err)
	}
	stale.Data = map[string]string{"a": "2"}
	if err := c.Patch(ctx, stale, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); !apierrors.IsConflict(err) {
		t.Errorf("a patch of an old version: %v", err)
	}
	if err := c.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(ns), client.HasLabels{"n"}); err != nil {
		t.Error(err)
	}
	if err := c.List(ctx, &list, client.InNamespace(ns), client.HasLabels{"n"}); err != nil || len(list.Items) != 0 {
		t.Errorf("after DeleteAllOf: %d of them, %v", len(list.Items), err)
	}
}

package core

import (
	"context"
	"net/http"
	"net/url"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/podspec"
)

func lines(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}

func TestAdmittedPod(t *testing.T) {
	pod := &corev1.Pod{Spec: corev1.PodSpec{Tolerations: []corev1.Toleration{{Key: corev1.TaintNodeNotReady, Operator: "Exists"}}}}
	admitPod(pod)
	want := corev1.PodSpec{
		ServiceAccountName: "default", DeprecatedServiceAccount: "default",
		Priority: ptr.To(int32(0)), PreemptionPolicy: ptr.To(corev1.PreemptLowerPriority),
		Tolerations: []corev1.Toleration{
			{Key: "node.kubernetes.io/not-ready", Operator: "Exists"},
			{Key: "node.kubernetes.io/unreachable", Operator: "Exists", Effect: "NoExecute", TolerationSeconds: ptr.To(int64(300))},
		},
	}
	if diff := cmp.Diff(want, pod.Spec); diff != "" {
		t.Errorf("admitted (-want +got):\n%s", diff)
	}
}

func TestPodGracePeriod(t *testing.T) {
	on := func(phase corev1.PodPhase, node string, seconds int64) *corev1.Pod {
		return &corev1.Pod{Spec: corev1.PodSpec{NodeName: node, TerminationGracePeriodSeconds: &seconds}, Status: corev1.PodStatus{Phase: phase}}
	}
	for _, test := range []struct {
		name string
		pod  *corev1.Pod
		opts *metav1.DeleteOptions
		want int64
	}{
		{"by the spec", on(corev1.PodRunning, "n", 30), &metav1.DeleteOptions{}, 30},
		{"by the request", on(corev1.PodRunning, "n", 30), &metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(5))}, 5},
		{"at once", on(corev1.PodRunning, "n", 30), &metav1.DeleteOptions{GracePeriodSeconds: ptr.To(int64(0))}, 0},
		{"unscheduled", on(corev1.PodPending, "", 30), nil, 0},
		{"finished", on(corev1.PodSucceeded, "n", 30), nil, 0},
		{"negative", on(corev1.PodRunning, "n", -7), nil, 1},
	} {
		if got := podGracePeriod(test.pod, test.opts); got != test.want {
			t.Errorf("%s: %d, want %d", test.name, got, test.want)
		}
	}
}

func TestChooseContainer(t *testing.T) {
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "p"}, Spec: corev1.PodSpec{
		InitContainers: []corev1.Container{{Name: "i"}}, Containers: []corev1.Container{{Name: "a"}, {Name: "b"}},
	}}
	for name, want := range map[string]string{
		"":  "a container name must be specified for pod p, choose one of: [a b] or one of the init containers: [i]",
		"x": "container x is not valid for pod p",
	} {
		if _, err := chooseContainer(pod, name); err == nil || err.Error() != want {
			t.Errorf("%q: %v, want %s", name, err, want)
		}
	}
	if got, err := chooseContainer(pod, "i"); err != nil || got != "i" {
		t.Errorf("an init container: %s, %v", got, err)
	}
}

func TestValidateService(t *testing.T) {
	valid := func() *corev1.Service {
		s := &corev1.Service{ObjectMeta: metav1.ObjectMeta{Name: "s"}, Spec: corev1.ServiceSpec{Ports: []corev1.ServicePort{{Port: 80}}}}
		defaultService(s)
		return s
	}
	if errs := services(Config{}).Validate(valid()); len(errs) > 0 {
		t.Fatalf("a good service: %v", errs)
	}
	for name, test := range map[string]struct {
		change func(s *corev1.ServiceSpec)
		want   []string
	}{
		"no ports": {func(s *corev1.ServiceSpec) { s.Ports = nil }, []string{"spec.ports: Required value"}},
		"type": {func(s *corev1.ServiceSpec) {
			s.Type = "X"
			s.InternalTrafficPolicy = ptr.To(corev1.ServiceInternalTrafficPolicyLocal)
		}, []string{`spec.type: Unsupported value: "X": supported values: "ClusterIP", "ExternalName", "LoadBalancer", "NodePort"`}},
		"unnamed of two": {func(s *corev1.ServiceSpec) {
			s.Ports = append(s.Ports, corev1.ServicePort{Port: 80, Protocol: "TCP", TargetPort: intstr.FromInt32(80), Name: "b"})
		}, []string{"spec.ports[0].name: Required value", `spec.ports[1]: Duplicate value: {"Name":"","Protocol":"TCP","AppProtocol":null,"Port":80,"TargetPort":0,"NodePort":0}`}},
		"node port of a cluster IP": {func(s *corev1.ServiceSpec) { s.Ports[0].NodePort = 30000 }, []string{"spec.ports[0].nodePort: Forbidden: may not be used when `type` is 'ClusterIP'"}},
		"headless node port": {func(s *corev1.ServiceSpec) {
			s.Type, s.ClusterIP, s.ClusterIPs, s.ExternalTrafficPolicy = "NodePort", "None", []string{"None"}, "Cluster"
		}, []string{`spec.clusterIPs[0]: Invalid value: "None": may not be set to 'None' for NodePort services`}},
		"affinity":       {func(s *corev1.ServiceSpec) { s.SessionAffinity = "Some" }, []string{`spec.sessionAffinity: Unsupported value: "Some": supported values: "ClientIP", "None"`}},
		"external name":  {func(s *corev1.ServiceSpec) { s.Type = "ExternalName" }, []string{"spec.externalName: Required value"}},
		"loopback":       {func(s *corev1.ServiceSpec) { s.ExternalIPs, s.ExternalTrafficPolicy = []string{"127.0.0.1"}, "Cluster" }, []string{`spec.externalIPs[0]: Invalid value: "127.0.0.1": may not be in the loopback range (127.0.0.0/8, ::1/128)`}},
		"traffic policy": {func(s *corev1.ServiceSpec) { s.ExternalTrafficPolicy = "Local" }, []string{`spec.externalTrafficPolicy: Invalid value: "Local": may only be set for externally-accessible services`}},
	} {
		t.Run(name, func(t *testing.T) {
			s := valid()
			test.change(&s.Spec)
			if diff := cmp.Diff(test.want, lines(services(Config{}).Validate(s))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
	old, changed := valid(), valid()
	old.Spec.ClusterIP, old.Spec.ClusterIPs = "10.0.0.1", []string{"10.0.0.1"}
	changed.Spec.ClusterIP, changed.Spec.ClusterIPs = "10.0.0.2", []string{"10.0.0.2"}
	if diff := cmp.Diff([]string{`spec.clusterIPs[0]: Invalid value: ["10.0.0.2"]: may not change once set`}, lines(validateServiceUpdate(changed, old))); diff != "" {
		t.Errorf("a changed address (-want +got):\n%s", diff)
	}
	// A client that sends its manifest again does not lose what was allocated.
	again := valid()
	new(servicePools).prepareUpdate(again, old)
	if again.Spec.ClusterIP != "10.0.0.1" || len(lines(validateServiceUpdate(again, old))) > 0 {
		t.Errorf("the manifest sent again: %+v", again.Spec)
	}
}

func TestSecretsAndConfigMaps(t *testing.T) {
	s := &corev1.Secret{StringData: map[string]string{"a": "b"}}
	defaultSecret(s)
	if string(s.Data["a"]) != "b" || s.StringData != nil || s.Type != corev1.SecretTypeOpaque {
		t.Errorf("stringData: %+v", s)
	}
	for _, test := range []struct {
		secret corev1.Secret
		want   []string
	}{
		{corev1.Secret{Type: corev1.SecretTypeTLS}, []string{"data[tls.crt]: Required value", "data[tls.key]: Required value"}},
		{corev1.Secret{Type: corev1.SecretTypeDockerConfigJson}, []string{"data[.dockerconfigjson]: Required value"}},
		{corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{".dockerconfigjson": []byte("{")}}, []string{`data[.dockerconfigjson]: Invalid value: "<secret contents redacted>": unexpected end of JSON input`}},
		{corev1.Secret{Type: corev1.SecretTypeSSHAuth}, []string{"data[ssh-privatekey]: Required value"}},
		{corev1.Secret{Type: corev1.SecretTypeOpaque, Data: map[string][]byte{"ok": make([]byte, corev1.MaxSecretSize+1)}}, []string{"data: Too long: may not be more than 1048576 bytes"}},
	} {
		if diff := cmp.Diff(test.want, lines(validateSecret(&test.secret))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.secret.Type, diff)
		}
	}
	frozen := &corev1.ConfigMap{Immutable: ptr.To(true), Data: map[string]string{"a": "b"}}
	changed := &corev1.ConfigMap{Immutable: ptr.To(true), Data: map[string]string{"a": "c"}}
	if diff := cmp.Diff([]string{"data: Forbidden: field is immutable when `immutable` is set"}, lines(validateConfigMapUpdate(changed, frozen))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	bad := &corev1.ConfigMap{Data: map[string]string{"a/b": ""}}
	if diff := cmp.Diff([]string{`data[a/b]: Invalid value: "a/b": a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')`}, lines(validateConfigMap(bad))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReplicationControllerDefaults(t *testing.T) {
	labels := map[string]string{"a": "b"}
	rc := &corev1.ReplicationController{Spec: corev1.ReplicationControllerSpec{Template: &corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: labels}, Spec: corev1.PodSpec{Containers: []corev1.Container{{Name: "c", Image: "i"}}},
	}}}
	defaultController(rc)
	if diff := cmp.Diff(labels, rc.Spec.Selector); diff != "" || *rc.Spec.Replicas != 1 || rc.Labels["a"] != "b" {
		t.Errorf("defaults %+v %s", rc, diff)
	}
	if errs := validateController(rc); len(errs) > 0 {
		t.Errorf("a good controller: %v", errs)
	}
	rc.Spec.Selector, rc.Spec.Template = nil, nil
	if diff := cmp.Diff([]string{"spec.selector: Required value", "spec.template: Required value"}, lines(validateController(rc))); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// objects holds one pod and one node.
type objects struct {
	resource.Objects
	pod *corev1.Pod
}

func (o objects) Get(_ context.Context, of schema.GroupResource, _, name string) (runtime.Object, error) {
	if of.Resource == "nodes" {
		return &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}, nil
	}
	return o.pod, nil
}

type recorder struct{ to KubeletRequest }

func (r *recorder) Kubelet(_ context.Context, _ *corev1.Node, to KubeletRequest) (http.Handler, error) {
	r.to = to
	return http.NotFoundHandler(), nil
}

func (r *recorder) Forward(_ context.Context, to *url.URL) (http.Handler, error) {
	r.to = KubeletRequest{Path: to.String()}
	return http.NotFoundHandler(), nil
}

func TestConnect(t *testing.T) {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "ns"},
		Spec:       corev1.PodSpec{NodeName: "n", Containers: []corev1.Container{{Name: "c", Ports: []corev1.ContainerPort{{ContainerPort: 8080}}}}},
		Status:     corev1.PodStatus{PodIP: "10.1.0.2"},
	}
	podspec.DefaultPod(pod)
	for _, test := range []struct {
		sub, query, path string
		want             KubeletRequest
	}{
		{"exec", "command=ls&command=-l&stdin=true&stdout=true&tty=1", "", KubeletRequest{Path: "/exec/ns/p/c", Query: url.Values{"command": {"ls", "-l"}, "input": {"1"}, "output": {"1"}, "tty": {"1"}}, Upgrade: true}},
		{"attach", "stdout=true&stderr=false", "", KubeletRequest{Path: "/attach/ns/p/c", Query: url.Values{"output": {"1"}}, Upgrade: true}},
		{"portforward", "ports=80&ports=81", "", KubeletRequest{Path: "/portForward/ns/p", Query: url.Values{"port": {"80,81"}}, Upgrade: true}},
		{"log", "previous=true&limitBytes=7&timestamps=true", "", KubeletRequest{Path: "/containerLogs/ns/p/c", Query: url.Values{"previous": {"true"}, "limitBytes": {"7"}, "timestamps": {"true"}}}},
		{"proxy", "a=b", "/x", KubeletRequest{Path: "http://10.1.0.2:8080/x?a=b"}},
		{"proxy", "", "/x//y/../z/", KubeletRequest{Path: "http://10.1.0.2:8080/x/z/"}},
		{"proxy", "", "", KubeletRequest{Path: "http://10.1.0.2:8080/"}},
	} {
		r := &recorder{}
		query, err := url.ParseQuery(test.query)
		if err != nil {
			t.Fatal(err)
		}
		req := resource.Request{Namespace: "ns", Name: "p", Query: query, Path: test.path}
		if _, err := pods(r).Subresource(test.sub).Connect(t.Context(), req, objects{pod: pod}); err != nil {
			t.Errorf("%s: %v", test.sub, err)
		}
		if diff := cmp.Diff(test.want, r.to); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.sub, diff)
		}
	}
	bad := resource.Request{Namespace: "ns", Name: "p", Query: url.Values{"tailLines": {"-1"}}}
	want := `PodLogOptions "p" is invalid: tailLines: Invalid value: -1: must be greater than or equal to 0`
	if _, err := pods(nil).Subresource("log").Connect(t.Context(), bad, objects{pod: pod}); err == nil || err.Error() != want {
		t.Errorf("tailLines -1: %v, want %s", err, want)
	}
	pod.Spec.NodeName = ""
	if _, err := pods(nil).Subresource("exec").Connect(t.Context(), resource.Request{Name: "p"}, objects{pod: pod}); err == nil || err.Error() != "pod p does not have a host assigned" {
		t.Errorf("exec in an unscheduled pod: %v", err)
	}
}

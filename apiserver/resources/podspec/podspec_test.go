package podspec

import (
	"math/rand"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/randfill"
	"sigs.k8s.io/yaml"
)

func parse(t *testing.T, text string) *corev1.Pod {
	t.Helper()
	pod := &corev1.Pod{}
	if err := yaml.UnmarshalStrict([]byte(text), pod); err != nil {
		t.Fatal(err)
	}
	return pod
}

func TestDefaultPod(t *testing.T) {
	pod := parse(t, `
spec:
  hostNetwork: true
  volumes:
  - name: none
  - {name: config, configMap: {name: c}}
  - name: all
    projected: {sources: [{serviceAccountToken: {path: token}}, {downwardAPI: {items: [{path: l, fieldRef: {fieldPath: metadata.labels}}]}}]}
  initContainers: [{name: init, image: "busybox:1"}]
  containers:
  - name: web
    image: nginx
    ports: [{containerPort: 80}]
    env: [{name: IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}]
    readinessProbe: {httpGet: {port: 80}}
    livenessProbe: {grpc: {port: 9}}
    resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m}}
`)
	DefaultPod(pod)
	want := parse(t, `
spec:
  hostNetwork: true
  dnsPolicy: ClusterFirst
  restartPolicy: Always
  schedulerName: default-scheduler
  securityContext: {}
  terminationGracePeriodSeconds: 30
  enableServiceLinks: true
  volumes:
  - {name: none, emptyDir: {}}
  - {name: config, configMap: {name: c, defaultMode: 420}}
  - name: all
    projected:
      defaultMode: 420
      sources:
      - {serviceAccountToken: {path: token, expirationSeconds: 3600}}
      - {downwardAPI: {items: [{path: l, fieldRef: {apiVersion: v1, fieldPath: metadata.labels}}]}}
  initContainers:
  - {name: init, image: "busybox:1", imagePullPolicy: IfNotPresent, terminationMessagePath: /dev/termination-log, terminationMessagePolicy: File}
  containers:
  - name: web
    image: nginx
    imagePullPolicy: Always
    terminationMessagePath: /dev/termination-log
    terminationMessagePolicy: File
    ports: [{containerPort: 80, hostPort: 80, protocol: TCP}]
    env: [{name: IP, valueFrom: {fieldRef: {apiVersion: v1, fieldPath: status.podIP}}}]
    readinessProbe: {httpGet: {path: /, port: 80, scheme: HTTP}, timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3}
    livenessProbe: {grpc: {port: 9, service: ""}, timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3}
    resources: {limits: {cpu: 1, memory: 1Gi}, requests: {cpu: 500m, memory: 1Gi}}
`)
	if diff := cmp.Diff(want, pod); diff != "" {
		t.Errorf("defaults (-want +got):\n%s", diff)
	}
	again := pod.DeepCopy()
	DefaultPod(again)
	if diff := cmp.Diff(pod, again); diff != "" {
		t.Errorf("defaulting a defaulted pod changes it:\n%s", diff)
	}
}

func TestPullPolicy(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0123456789abcdef", 4)
	for image, want := range map[string]corev1.PullPolicy{
		"nginx": corev1.PullAlways, "nginx:latest": corev1.PullAlways, "nginx:1.2": corev1.PullIfNotPresent,
		"host:5000/nginx": corev1.PullAlways, "host:5000/nginx:1": corev1.PullIfNotPresent,
		"nginx@" + digest: corev1.PullIfNotPresent, "nginx:latest@" + digest: corev1.PullAlways, "NotAnImage": corev1.PullIfNotPresent,
	} {
		if got := pullPolicy(image); got != want {
			t.Errorf("pullPolicy(%q) = %s, want %s", image, got, want)
		}
	}
}

func good() *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "p", Namespace: "default"},
		Spec: corev1.PodSpec{
			Volumes:    []corev1.Volume{{Name: "v"}},
			Containers: []corev1.Container{{Name: "c", Image: "nginx", VolumeMounts: []corev1.VolumeMount{{Name: "v", MountPath: "/v"}}}},
		},
	}
	DefaultPod(pod)
	return pod
}

func quantities(pairs ...string) corev1.ResourceList {
	out := corev1.ResourceList{}
	for i := 0; i < len(pairs); i += 2 {
		out[corev1.ResourceName(pairs[i])] = resource.MustParse(pairs[i+1])
	}
	return out
}

func TestValidatePod(t *testing.T) {
	if errs := ValidatePod(good()); len(errs) > 0 {
		t.Fatalf("a good pod: %v", errs)
	}
	for name, test := range map[string]struct {
		change func(s *corev1.PodSpec)
		want   []string
	}{
		"no containers": {func(s *corev1.PodSpec) { s.Containers = nil }, []string{`spec.containers: Required value`}},
		"no name and image": {
			func(s *corev1.PodSpec) { s.Containers[0].Name, s.Containers[0].Image = "", "" },
			[]string{`spec.containers[0].name: Required value`, `spec.containers[0].image: Required value`},
		},
		"a name in capitals": {
			func(s *corev1.PodSpec) { s.Containers[0].Name = "C" },
			[]string{`spec.containers[0].name: Invalid value: "C": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`},
		},
		"two of a name": {
			func(s *corev1.PodSpec) { s.Containers = append(s.Containers, s.Containers[0]) },
			[]string{`spec.containers[1].name: Duplicate value: "c"`},
		},
		"restart policy": {
			func(s *corev1.PodSpec) { s.RestartPolicy = "Sometimes" },
			[]string{`spec.restartPolicy: Unsupported value: "Sometimes": supported values: "Always", "OnFailure", "Never"`},
		},
		"pull policy": {
			func(s *corev1.PodSpec) { s.Containers[0].ImagePullPolicy = "Maybe" },
			[]string{`spec.containers[0].imagePullPolicy: Unsupported value: "Maybe": supported values: "Always", "IfNotPresent", "Never"`},
		},
		"port out of range": {
			func(s *corev1.PodSpec) {
				s.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 70000, Protocol: "TCP"}}
			},
			[]string{`spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive`},
		},
		"requests above limits": {
			func(s *corev1.PodSpec) {
				s.Containers[0].Resources = corev1.ResourceRequirements{Limits: quantities("cpu", "1"), Requests: quantities("cpu", "2")}
			},
			[]string{`spec.containers[0].resources.requests: Invalid value: "2": must be less than or equal to cpu limit of 1`},
		},
		"negative memory": {
			func(s *corev1.PodSpec) {
				s.Containers[0].Resources.Requests = quantities("memory", "-1")
			},
			[]string{`spec.containers[0].resources.requests[memory]: Invalid value: "-1": must be greater than or equal to 0`},
		},
		"device without limit": {
			func(s *corev1.PodSpec) {
				s.Containers[0].Resources.Requests = quantities("example.com/gpu", "1")
			},
			[]string{`spec.containers[0].resources.limits: Required value: Limit must be set for non overcommitable resources`},
		},
		"unknown volume": {
			func(s *corev1.PodSpec) { s.Containers[0].VolumeMounts[0].Name = "w" },
			[]string{`spec.containers[0].volumeMounts[0].name: Not found: "w"`},
		},
		"mount point twice": {
			func(s *corev1.PodSpec) {
				s.Containers[0].VolumeMounts = append(s.Containers[0].VolumeMounts, corev1.VolumeMount{Name: "v", MountPath: "/v"})
			},
			[]string{`spec.containers[0].volumeMounts[1].mountPath: Invalid value: "/v": must be unique`},
		},
		"two kinds of volume": {
			func(s *corev1.PodSpec) { s.Volumes[0].HostPath = &corev1.HostPathVolumeSource{Path: "/x"} },
			[]string{
				`spec.volumes[0].hostPath: Forbidden: may not specify more than 1 volume type`,
				`spec.containers[0].volumeMounts[0].name: Not found: "v"`,
			},
		},
		"path that leaves": {
			func(s *corev1.PodSpec) {
				s.Volumes = append(s.Volumes, corev1.Volume{Name: "h", VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: "/a/../b"}}})
			},
			[]string{`spec.volumes[1].hostPath.path: Invalid value: "/a/../b": must not contain '..'`},
		},
		"env without source": {
			func(s *corev1.PodSpec) {
				s.Containers[0].Env = []corev1.EnvVar{{Name: "A", Value: "x", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{Key: "k", LocalObjectReference: corev1.LocalObjectReference{Name: "s"}}}}}
			},
			[]string{"spec.containers[0].env[0].valueFrom: Invalid value: \"\": may not be specified when `value` is not empty"},
		},
		"field that is none": {
			func(s *corev1.PodSpec) {
				s.Containers[0].Env = []corev1.EnvVar{{Name: "A", ValueFrom: &corev1.EnvVarSource{FieldRef: &corev1.ObjectFieldSelector{APIVersion: "v1", FieldPath: "spec.x"}}}}
			},
			[]string{`spec.containers[0].env[0].valueFrom.fieldRef.fieldPath: Invalid value: "spec.x": error converting fieldPath: field label not supported: spec.x`},
		},
		"probe without handler": {
			func(s *corev1.PodSpec) {
				s.Containers[0].LivenessProbe = &corev1.Probe{TimeoutSeconds: 1, PeriodSeconds: -1, SuccessThreshold: 2, FailureThreshold: 1}
			},
			[]string{
				`spec.containers[0].livenessProbe: Required value: must specify a handler type`,
				`spec.containers[0].livenessProbe.periodSeconds: Invalid value: -1: must be greater than or equal to 0`,
				`spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1`,
			},
		},
		"probe with two": {
			func(s *corev1.PodSpec) {
				s.Containers[0].ReadinessProbe = &corev1.Probe{SuccessThreshold: 1, ProbeHandler: corev1.ProbeHandler{
					Exec: &corev1.ExecAction{}, TCPSocket: &corev1.TCPSocketAction{Port: intstr.FromInt32(0)},
				}}
			},
			[]string{
				`spec.containers[0].readinessProbe.exec.command: Required value`,
				`spec.containers[0].readinessProbe.tcpSocket: Forbidden: may not specify more than 1 handler type`,
			},
		},
		"toleration": {
			func(s *corev1.PodSpec) {
				s.Tolerations = []corev1.Toleration{{Operator: "Equal", Value: "x"}, {Key: "k", Operator: "Exists", Effect: "NoSchedule", TolerationSeconds: ptr.To(int64(1))}}
			},
			[]string{
				"spec.tolerations[0].operator: Invalid value: \"Equal\": operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
				"spec.tolerations[1].effect: Invalid value: \"NoSchedule\": effect must be 'NoExecute' when `tolerationSeconds` is set",
			},
		},
		"affinity": {
			func(s *corev1.PodSpec) {
				s.Affinity = &corev1.Affinity{
					NodeAffinity:    &corev1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &corev1.NodeSelector{}},
					PodAntiAffinity: &corev1.PodAntiAffinity{PreferredDuringSchedulingIgnoredDuringExecution: []corev1.WeightedPodAffinityTerm{{Weight: 101, PodAffinityTerm: corev1.PodAffinityTerm{TopologyKey: "k"}}}},
				}
			},
			[]string{
				`spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term`,
				`spec.affinity.podAntiAffinity.preferredDuringSchedulingIgnoredDuringExecution[0].weight: Invalid value: 101: must be in the range 1-100`,
			},
		},
		"init container with probe": {
			func(s *corev1.PodSpec) {
				c := *s.Containers[0].DeepCopy()
				c.Name, c.LivenessProbe = "i", &corev1.Probe{}
				s.InitContainers = []corev1.Container{c}
			},
			[]string{`spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always`},
		},
		"DNS policy None": {
			func(s *corev1.PodSpec) { s.DNSPolicy = corev1.DNSNone },
			[]string{"spec.dnsConfig: Required value: must provide `dnsConfig` when `dnsPolicy` is None"},
		},
		"host network": {
			func(s *corev1.PodSpec) {
				s.HostNetwork = true
				s.Containers[0].Ports = []corev1.ContainerPort{{ContainerPort: 80, HostPort: 81, Protocol: "TCP"}}
			},
			[]string{"spec.containers[0].ports[0].hostPort: Invalid value: 81: must match `containerPort` when `hostNetwork` is true"},
		},
		"host ports that collide": {
			func(s *corev1.PodSpec) {
				p := corev1.ContainerPort{ContainerPort: 80, HostPort: 80, Protocol: "TCP"}
				s.Containers[0].Ports = []corev1.ContainerPort{p, p}
			},
			[]string{`spec.containers[0].ports[1].hostPort: Duplicate value: "TCP//80"`},
		},
		"deadline": {
			func(s *corev1.PodSpec) { s.ActiveDeadlineSeconds = ptr.To(int64(0)) },
			[]string{`spec.activeDeadlineSeconds: Invalid value: 0: must be between 1 and 2147483647, inclusive`},
		},
		"gated and bound": {
			func(s *corev1.PodSpec) {
				s.NodeName, s.SchedulingGates = "n", []corev1.PodSchedulingGate{{Name: "g"}}
			},
			[]string{`spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared`},
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := good()
			test.change(&pod.Spec)
			if diff := cmp.Diff(test.want, text(ValidatePod(pod))); diff != "" {
				t.Errorf("errors (-want +got):\n%s", diff)
			}
		})
	}
}

func text(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}

func TestValidatePodUpdate(t *testing.T) {
	for name, test := range map[string]struct {
		old, now func(s *corev1.PodSpec)
		want     string
	}{
		"nothing":            {want: ""},
		"image":              {now: func(s *corev1.PodSpec) { s.Containers[0].Image = "other" }},
		"more tolerations":   {now: func(s *corev1.PodSpec) { s.Tolerations = []corev1.Toleration{{Key: "a"}} }},
		"command":            {now: func(s *corev1.PodSpec) { s.Containers[0].Command = []string{"x"} }, want: "spec: Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)\n"},
		"node":               {now: func(s *corev1.PodSpec) { s.NodeName = "n" }, want: "spec: Forbidden: pod updates may not change fields other than "},
		"one container more": {now: func(s *corev1.PodSpec) { c := s.Containers[0]; c.Name = "more"; s.Containers = append(s.Containers, c) }, want: "spec.containers: Forbidden: pod updates may not add or remove containers"},
		"fewer tolerations": {
			old: func(s *corev1.PodSpec) { s.Tolerations = []corev1.Toleration{{Key: "a"}} }, now: func(*corev1.PodSpec) {},
			want: "spec.tolerations: Forbidden: existing toleration can not be modified except its tolerationSeconds",
		},
		"later deadline": {
			old: func(s *corev1.PodSpec) { s.ActiveDeadlineSeconds = ptr.To(int64(1)) }, now: func(s *corev1.PodSpec) { s.ActiveDeadlineSeconds = ptr.To(int64(2)) },
			want: "spec.activeDeadlineSeconds: Invalid value: 2: must be less than or equal to previous value",
		},
		"negative grace to 1": {
			old: func(s *corev1.PodSpec) { s.TerminationGracePeriodSeconds = ptr.To(int64(-1)) }, now: func(s *corev1.PodSpec) { s.TerminationGracePeriodSeconds = ptr.To(int64(1)) },
		},
		"new gate": {
			now:  func(s *corev1.PodSpec) { s.SchedulingGates = []corev1.PodSchedulingGate{{Name: "g"}} },
			want: "spec.schedulingGates[0].name: Forbidden: only deletion is allowed, but found new scheduling gate 'g'",
		},
		"selector of a gated pod": {
			old: func(s *corev1.PodSpec) { s.SchedulingGates = []corev1.PodSchedulingGate{{Name: "g"}} },
			now: func(s *corev1.PodSpec) {
				s.SchedulingGates, s.NodeSelector = nil, map[string]string{"a": "b"}
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			old, pod := good(), good()
			if test.old != nil {
				test.old(&old.Spec)
			}
			if test.now != nil {
				test.now(&pod.Spec)
			}
			got := strings.Join(text(ValidatePodUpdate(pod, old)), "; ")
			if (test.want == "") != (got == "") || !strings.HasPrefix(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestValidateTemplateFor(t *testing.T) {
	template := &corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{"a": "b"}}, Spec: good().Spec}
	template.Spec.RestartPolicy, template.Spec.ActiveDeadlineSeconds = corev1.RestartPolicyNever, ptr.To(int64(1))
	selected := SelectorMatcher(&metav1.LabelSelector{MatchLabels: map[string]string{"a": "c"}})
	want := []string{
		"spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
		`spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"`,
		`spec.template.spec.activeDeadlineSeconds: Forbidden: activeDeadlineSeconds in ReplicaSet is not Supported`,
	}
	got := text(ValidateTemplateFor("ReplicaSet", template, selected, field.NewPath("spec", "template")))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("errors (-want +got):\n%s", diff)
	}
}

func TestQOSClass(t *testing.T) {
	requirements := func(requests, limits corev1.ResourceList) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Requests: requests, Limits: limits}
	}
	full := quantities("cpu", "1", "memory", "1Gi")
	for _, test := range []struct {
		name string
		all  []corev1.ResourceRequirements
		want corev1.PodQOSClass
	}{
		{"nothing", []corev1.ResourceRequirements{{}}, corev1.PodQOSBestEffort},
		{"zero", []corev1.ResourceRequirements{requirements(quantities("cpu", "0"), nil)}, corev1.PodQOSBestEffort},
		{"equal", []corev1.ResourceRequirements{requirements(full, full)}, corev1.PodQOSGuaranteed},
		{"one without", []corev1.ResourceRequirements{requirements(full, full), {}}, corev1.PodQOSBurstable},
		{"requests only", []corev1.ResourceRequirements{requirements(full, nil)}, corev1.PodQOSBurstable},
		{"no memory", []corev1.ResourceRequirements{requirements(quantities("cpu", "1"), quantities("cpu", "1"))}, corev1.PodQOSBurstable},
	} {
		pod := &corev1.Pod{}
		for _, r := range test.all {
			pod.Spec.Containers = append(pod.Spec.Containers, corev1.Container{Resources: r})
		}
		if got := QOSClass(pod); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		}
	}
}

// FuzzValidate feeds pods of random shape to everything here: nothing may panic.
func FuzzValidate(f *testing.F) {
	for seed := range int64(50) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed int64) {
		filler := randfill.New().RandSource(rand.NewSource(seed)).NilChance(0.4).NumElements(0, 3).MaxDepth(12)
		filler = filler.Funcs(func(q *resource.Quantity, c randfill.Continue) {
			*q = *resource.NewMilliQuantity(c.Int63(), resource.DecimalSI)
		})
		var pod, old corev1.Pod
		filler.Fill(&pod)
		filler.Fill(&old)
		ValidatePod(&pod)
		ValidatePodUpdate(&pod, &old)
		ValidateEphemeralUpdate(&pod, &old)
		PodWarnings(&pod)
		QOSClass(&pod)
		DefaultPod(&pod)
		once := pod.DeepCopy()
		DefaultPod(&pod)
		if diff := cmp.Diff(once.Spec, pod.Spec); diff != "" {
			t.Errorf("defaulting twice is not defaulting once:\n%s", diff)
		}
		ValidatePod(&pod)
	})
}

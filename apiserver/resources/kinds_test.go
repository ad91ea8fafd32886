package resources_test

import (
	"encoding/json"
	"testing"
	"time"

	jsonpatch "github.com/evanphx/json-patch/v5"
	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"sigs.k8s.io/yaml"

	"github.com/strake-io/strake/apiserver/resource"
)

const podTemplate = `{metadata: {labels: {app: x}}, spec: {containers: [{name: c, image: i}]}}`

// goodObjects are valid objects of the kinds below, which the cases change.
var goodObjects = map[string]string{
	"StatefulSet":               `{metadata: {name: x, namespace: ns}, spec: {serviceName: x, selector: {matchLabels: {app: x}}, template: ` + podTemplate + `}}`,
	"DaemonSet":                 `{metadata: {name: x, namespace: ns}, spec: {selector: {matchLabels: {app: x}}, template: ` + podTemplate + `}}`,
	"Job":                       `{metadata: {name: x, namespace: ns, uid: u}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}`,
	"CronJob":                   `{metadata: {name: x, namespace: ns}, spec: {schedule: "* * * * *", jobTemplate: {spec: {template: {spec: {restartPolicy: Never, containers: [{name: c, image: i}]}}}}}}`,
	"PodDisruptionBudget":       `{metadata: {name: x, namespace: ns}, spec: {minAvailable: 1, selector: {matchLabels: {app: x}}}}`,
	"PriorityClass":             `{metadata: {name: x}, value: 10}`,
	"HorizontalPodAutoscaler":   `{metadata: {name: x, namespace: ns}, spec: {scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: d}, maxReplicas: 3}}`,
	"PersistentVolume":          `{metadata: {name: x}, spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], hostPath: {path: /tmp}}}`,
	"PersistentVolumeClaim":     `{metadata: {name: x, namespace: ns}, spec: {accessModes: [ReadWriteOnce], resources: {requests: {storage: 1Gi}}}}`,
	"LimitRange":                `{metadata: {name: x, namespace: ns}, spec: {limits: [{type: Container, max: {cpu: "2"}}]}}`,
	"ResourceQuota":             `{metadata: {name: x, namespace: ns}, spec: {hard: {pods: "10"}}}`,
	"StorageClass":              `{metadata: {name: x}, provisioner: example.com/disk}`,
	"VolumeAttachment":          `{metadata: {name: x}, spec: {attacher: a.example.com, nodeName: n1, source: {persistentVolumeName: v}}}`,
	"CSIDriver":                 `{metadata: {name: x}, spec: {}}`,
	"CSINode":                   `{metadata: {name: x}, spec: {drivers: [{name: d, nodeID: n1, topologyKeys: [zone]}]}}`,
	"RuntimeClass":              `{metadata: {name: x}, handler: runc}`,
	"Ingress":                   `{metadata: {name: x, namespace: ns}, spec: {rules: [{host: a.example.com, http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: s, port: {number: 80}}}}]}}]}}`,
	"IngressClass":              `{metadata: {name: x}, spec: {controller: example.com/c}}`,
	"NetworkPolicy":             `{metadata: {name: x, namespace: ns}, spec: {podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 80}]}]}}`,
	"Role":                      `{metadata: {name: x, namespace: ns}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}`,
	"ClusterRole":               `{metadata: {name: x}, rules: [{apiGroups: [""], resources: [pods], verbs: [get]}]}`,
	"RoleBinding":               `{metadata: {name: x, namespace: ns}, roleRef: {kind: Role, name: r}, subjects: [{kind: User, name: u}]}`,
	"ClusterRoleBinding":        `{metadata: {name: x}, roleRef: {kind: ClusterRole, name: r}, subjects: [{kind: ServiceAccount, namespace: ns, name: u}]}`,
	"CertificateSigningRequest": `{metadata: {name: x}, spec: {signerName: example.com/s, usages: [client auth]}}`,
}

// declared finds a stored kind among the built-in ones.
func declared(t *testing.T, all []*resource.Resource, kind string) *resource.Resource {
	t.Helper()
	for _, r := range all {
		if r.GVK.Kind == kind && r.StoredAs == nil && r.Create == nil {
			return r
		}
	}
	t.Fatalf("no kind %s", kind)
	return nil
}

// changed makes the good object of a kind with a merge patch, as a create would have
// it before it is validated.
func changed(t *testing.T, r *resource.Resource, patch string) runtime.Object {
	t.Helper()
	base, err := yaml.YAMLToJSON([]byte(goodObjects[r.GVK.Kind]))
	if err != nil {
		t.Fatal(err)
	}
	change, err := yaml.YAMLToJSON([]byte(patch))
	if err != nil {
		t.Fatalf("%v in %s", err, patch)
	}
	data, err := jsonpatch.MergePatch(base, change)
	if err != nil {
		t.Fatal(err)
	}
	obj := r.New()
	if err := json.Unmarshal(data, obj); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	if r.Default != nil {
		r.Default(obj)
	}
	return obj
}

func messages(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}

// What is wrong with new objects, in upstream's words.
func TestInvalidObjects(t *testing.T) {
	all, _ := builtIn(t)
	for _, test := range []struct {
		kind, patch string
		want        []string
	}{
		{"StatefulSet", `{spec: {podManagementPolicy: Sometimes}}`, []string{`spec.podManagementPolicy: Invalid value: "Sometimes": must be 'OrderedReady' or 'Parallel'`}},
		{"StatefulSet", `{spec: {replicas: -1}}`, []string{`spec.replicas: Invalid value: -1: must be greater than or equal to 0`}},
		{"StatefulSet", `{spec: {updateStrategy: {type: OnDelete, rollingUpdate: {partition: 1}}}}`, []string{`spec.updateStrategy.rollingUpdate: Invalid value: {"Partition":1,"MaxUnavailable":null}: only allowed for updateStrategy 'RollingUpdate'`}},
		{"StatefulSet", `{spec: {persistentVolumeClaimRetentionPolicy: {whenDeleted: Maybe}}}`, []string{`spec.persistentVolumeClaimRetentionPolicy.whenDeleted: Unsupported value: "Maybe": supported values: "Retain", "Delete"`}},
		{"StatefulSet", `{spec: {template: {spec: {restartPolicy: Never}}}}`, []string{`spec.template.spec.restartPolicy: Unsupported value: "Never": supported values: "Always"`}},
		{"DaemonSet", `{spec: {updateStrategy: {rollingUpdate: {maxSurge: 1}}}}`, []string{`spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero`}},
		{"DaemonSet", `{spec: {updateStrategy: {rollingUpdate: {maxUnavailable: 0}}}}`, []string{`spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0`}},
		{"Job", `{spec: {template: {spec: {restartPolicy: Always}}}}`, []string{`spec.template.spec.restartPolicy: Required value: valid values: "OnFailure", "Never"`}},
		{"Job", `{spec: {completionMode: Indexed}}`, nil},
		{"Job", `{spec: {completionMode: Indexed, parallelism: 2}}`, []string{`spec.completions: Required value: when completion mode is Indexed`}},
		{"Job", `{spec: {backoffLimitPerIndex: 1}}`, []string{`spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode`}},
		{"Job", `{spec: {podFailurePolicy: {rules: [{action: Ignore}]}}}`, []string{`spec.podFailurePolicy.rules[0]: Invalid value: specifying one of OnExitCodes and OnPodConditions is required`}},
		{"Job", `{spec: {podFailurePolicy: {rules: [{action: FailJob, onExitCodes: {operator: In, values: [2, 1, 0]}}]}}}`, []string{
			`spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Invalid value: 0: must not be 0 for the In operator`,
			`spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,1,0]: must be ordered`,
		}},
		{"Job", `{spec: {completionMode: Indexed, completions: 5, successPolicy: {rules: [{succeededIndexes: "1-9"}]}}}`, []string{`spec.successPolicy.rules[0].succeededIndexes: Invalid value: "1-9": error parsing succeededIndexes: too large index: "9"`}},
		{"CronJob", `{spec: {schedule: "61 * * * *"}}`, []string{`spec.schedule: Invalid value: "61 * * * *": end of range (61) above maximum (59): 61`}},
		{"CronJob", `{spec: {schedule: "TZ=UTC 0 * * * *"}}`, []string{`spec.schedule: Invalid value: "TZ=UTC 0 * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead`}},
		{"CronJob", `{spec: {timeZone: Mars/Olympus}}`, []string{`spec.timeZone: Invalid value: "Mars/Olympus": unknown time zone Mars/Olympus`}},
		{"CronJob", `{spec: {timeZone: Europe/Berlin}}`, nil},
		{"CronJob", `{spec: {concurrencyPolicy: Queue}}`, []string{`spec.concurrencyPolicy: Unsupported value: "Queue": supported values: "Allow", "Forbid", "Replace"`}},
		{"CronJob", `{metadata: {name: a12345678901234567890123456789012345678901234567890x}}`, nil},
		{"CronJob", `{metadata: {name: a1234567890123456789012345678901234567890123456789012x}}`, []string{`metadata.name: Invalid value: "a1234567890123456789012345678901234567890123456789012x": must be no more than 52 characters`}},
		{"PodDisruptionBudget", `{spec: {minAvailable: 120%}}`, []string{`spec.minAvailable: Invalid value: "120%": must not be greater than 100%`}},
		{"PriorityClass", `{value: 1000000001}`, []string{`value: Forbidden: maximum allowed value of a user defined priority is 1000000000`}},
		{"PriorityClass", `{metadata: {name: system-x}}`, []string{`metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: system-x is not a known system priority class`}},
		{"HorizontalPodAutoscaler", `{spec: {minReplicas: 5}}`, []string{"spec.maxReplicas: Invalid value: 3: must be greater than or equal to `minReplicas`"}},
		{"HorizontalPodAutoscaler", `{spec: {metrics: [{type: Pods}]}}`, []string{`spec.metrics[0].pods: Required value: must populate information for the given metric source`}},
		{"HorizontalPodAutoscaler", `{spec: {metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization}}}]}}`, []string{`spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization`}},
		{"PersistentVolume", `{spec: {nfs: {server: s, path: /p}}}`, []string{`spec.nfs: Forbidden: may not specify more than 1 volume type`}},
		{"PersistentVolume", `{spec: {hostPath: null}}`, []string{`spec: Required value: must specify a volume type`}},
		{"PersistentVolume", `{spec: {hostPath: null, local: {path: /x}}}`, []string{`spec.nodeAffinity: Required value: Local volume requires node affinity`}},
		{"PersistentVolume", `{spec: {capacity: {storage: "0"}}}`, []string{`spec.capacity[storage]: Invalid value: "0": must be greater than zero`}},
		{"PersistentVolumeClaim", `{spec: {accessModes: null}}`, []string{`spec.accessModes: Required value: at least 1 access mode is required`}},
		{"PersistentVolumeClaim", `{spec: {accessModes: [ReadWriteOncePod, ReadOnlyMany]}}`, []string{`spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes`}},
		{"PersistentVolumeClaim", `{spec: {resources: null}}`, []string{`spec.resources[storage]: Required value`}},
		{"PersistentVolumeClaim", `{spec: {dataSource: {kind: Pod, name: p}, dataSourceRef: {kind: Pod, name: p}}}`, []string{`spec.dataSource: Invalid value: "Pod": must be 'PersistentVolumeClaim' when referencing the default apiGroup`,
			`spec.dataSourceRef: Invalid value: "Pod": must be 'PersistentVolumeClaim' when referencing the default apiGroup`}},
		{"LimitRange", `{spec: {limits: [{type: Pod, default: {cpu: "1"}}]}}`, []string{"spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'"}},
		{"LimitRange", `{spec: {limits: [{type: Container, min: {cpu: "3"}, max: {cpu: "2"}}]}}`, []string{
			`spec.limits[0].min[cpu]: Invalid value: "3": min value 3 is greater than max value 2`,
			`spec.limits[0].defaultRequest[cpu]: Invalid value: "2": min value 3 is greater than default request value 2`,
			`spec.limits[0].default[cpu]: Invalid value: "3": min value 3 is greater than default value 2`,
		}},
		{"ResourceQuota", `{spec: {hard: {nonsense: "1"}}}`, []string{`spec.hard[nonsense]: Invalid value: "nonsense": must be a standard resource type or fully qualified`, `spec.hard[nonsense]: Invalid value: "nonsense": must be a standard resource for quota`}},
		{"ResourceQuota", `{spec: {hard: {pods: "1500m"}}}`, []string{`spec.hard[pods]: Invalid value: "1500m": must be an integer`}},
		{"ResourceQuota", `{spec: {scopes: [BestEffort, NotBestEffort]}}`, []string{`spec.scopes: Invalid value: ["BestEffort","NotBestEffort"]: conflicting scopes`}},
		{"StorageClass", `{reclaimPolicy: Recycle}`, []string{`reclaimPolicy: Unsupported value: "Recycle": supported values: "Delete", "Retain"`}},
		{"VolumeAttachment", `{spec: {source: null}}`, []string{`spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName`}},
		{"CSIDriver", `{spec: {fsGroupPolicy: Always}}`, []string{`spec.fsGroupPolicy: Unsupported value: "Always": supported values: "File", "None", "ReadWriteOnceWithFSType"`}},
		{"CSINode", `{spec: {drivers: [{name: d, nodeID: n1}, {name: d, nodeID: n1}]}}`, []string{`spec.drivers[1].name: Duplicate value: "d"`}},
		{"RuntimeClass", `{handler: "a b"}`, []string{`handler: Invalid value: "a b": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`}},
		{"Ingress", `{spec: {rules: null}}`, []string{"spec: Invalid value: null: either `defaultBackend` or `rules` must be specified"}},
		{"Ingress", `{spec: {rules: [{host: 10.0.0.1}]}}`, []string{`spec.rules[0].host: Invalid value: "10.0.0.1": must be a DNS name, not an IP address`}},
		{"Ingress", `{spec: {rules: [{http: {paths: [{path: x, backend: {}}]}}]}}`, []string{`spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified`}},
		{"Ingress", `{spec: {rules: [{http: {paths: [{path: "/a//b", pathType: Exact, backend: {service: {name: s}}}]}}]}}`, []string{
			`spec.rules[0].http.paths[0].path: Invalid value: "/a//b": must not contain '//'`,
			`spec.rules[0].http.paths[0].backend: Required value: port name or number is required`,
		}},
		{"IngressClass", `{spec: {parameters: {kind: K, name: p, scope: Namespace}}}`, []string{"spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'"}},
		{"NetworkPolicy", `{spec: {ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/16]}}]}]}}`, []string{"spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`"}},
		{"NetworkPolicy", `{spec: {ingress: [{from: [{}]}]}}`, []string{`spec.ingress[0].from[0]: Required value: must specify a peer`}},
		{"Role", `{rules: [{verbs: [get]}]}`, []string{`rules[0].apiGroups: Required value: resource rules must supply at least one api group`, `rules[0].resources: Required value: resource rules must supply at least one resource`}},
		{"Role", `{rules: [{verbs: [get], nonResourceURLs: [/x]}]}`, []string{`rules[0].nonResourceURLs: Invalid value: ["/x"]: namespaced rules cannot apply to non-resource URLs`}},
		{"ClusterRole", `{aggregationRule: {}}`, []string{`aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil`}},
		{"RoleBinding", `{roleRef: {kind: Pod}}`, []string{`roleRef.kind: Unsupported value: "Pod": supported values: "Role", "ClusterRole"`}},
		{"ClusterRoleBinding", `{subjects: [{kind: ServiceAccount, name: u}]}`, []string{`subjects[0].namespace: Required value`}},
		{"CertificateSigningRequest", `{spec: {signerName: nowhere, usages: null}}`, []string{
			`spec.request: Invalid value: null: PEM block type must be CERTIFICATE REQUEST`,
			`spec.usages: Required value`,
			`spec.signerName: Invalid value: "nowhere": must be a fully qualified domain and path of the form 'example.com/signer-name'`,
		}},
	} {
		t.Run(test.kind, func(t *testing.T) {
			r := declared(t, all, test.kind)
			obj := changed(t, r, test.patch)
			if r.PrepareForCreate != nil {
				r.PrepareForCreate(resource.Request{User: &user.DefaultInfo{Name: "bob"}}, obj)
			}
			if diff := cmp.Diff(test.want, messages(r.Validate(obj))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.patch, diff)
			}
		})
	}
}

// What may not change, in upstream's words.
func TestInvalidUpdates(t *testing.T) {
	all, _ := builtIn(t)
	for _, test := range []struct {
		kind, before, after string
		want                []string
	}{
		{"StatefulSet", `{}`, `{spec: {replicas: 3, template: {spec: {priorityClassName: p}}}}`, nil},
		{"StatefulSet", `{}`, `{spec: {serviceName: z}}`, []string{`spec.serviceName: Invalid value: "z": field is immutable`}},
		{"DaemonSet", `{}`, `{spec: {selector: {matchLabels: {app: x, b: c}}}}`, []string{`spec.selector: Invalid value: {"matchLabels":{"app":"x","b":"c"}}: field is immutable`}},
		{"Job", `{spec: {manualSelector: true, selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}}}}`, `{spec: {completions: 4, manualSelector: true, selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}}}}`, []string{`spec.completions: Invalid value: 4: field is immutable`}},
		{"Job", `{spec: {suspend: true, manualSelector: true, selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}}}}`, `{spec: {suspend: true, manualSelector: true, selector: {matchLabels: {app: x}}, template: {metadata: {labels: {app: x}}, spec: {nodeSelector: {a: b}}}}}`, nil},
		{"PriorityClass", `{}`, `{value: 11}`, []string{`value: Forbidden: may not be changed in an update.`}},
		{"StorageClass", `{}`, `{provisioner: example.com/other}`, []string{`provisioner: Invalid value: null: field is immutable`}},
		{"RuntimeClass", `{}`, `{handler: other}`, []string{`handler: Invalid value: null: field is immutable`}},
		{"IngressClass", `{}`, `{spec: {controller: example.com/d}}`, []string{`spec.controller: Invalid value: "example.com/d": field is immutable`}},
		{"RoleBinding", `{}`, `{roleRef: {name: s}}`, []string{`roleRef: Invalid value: {"APIGroup":"rbac.authorization.k8s.io","Kind":"Role","Name":"s"}: field is immutable`}},
		{"PersistentVolumeClaim", `{}`, `{spec: {volumeName: v}}`, nil},
		{"PersistentVolumeClaim", `{status: {phase: Bound}}`, `{status: {phase: Bound}, spec: {resources: {requests: {storage: 2Gi}}}}`, nil},
		{"PersistentVolumeClaim", `{status: {phase: Bound, capacity: {storage: 1Gi}}}`, `{status: {phase: Bound}, spec: {resources: {requests: {storage: 512Mi}}}}`, []string{`spec.resources.requests.storage: Forbidden: field can not be less than status.capacity`}},
	} {
		t.Run(test.kind, func(t *testing.T) {
			r := declared(t, all, test.kind)
			obj, old := changed(t, r, test.after), changed(t, r, test.before)
			check := r.ValidateUpdate
			if r.ValidateChange != nil {
				check = r.ValidateChange
			}
			if diff := cmp.Diff(test.want, messages(check(obj, old))); diff != "" {
				t.Errorf("%s (-want +got):\n%s", test.after, diff)
			}
		})
	}
}

// Every kind prints as many cells as it has columns, the name first, whatever an
// object lacks.
func TestTablesOfEmptyObjects(t *testing.T) {
	all, _ := builtIn(t)
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for _, r := range all {
		if r.Cells == nil {
			continue
		}
		cells := r.Cells(r.New(), now)
		if len(cells) != len(r.Columns) {
			t.Errorf("%s has %d columns and %d cells", r.GVK, len(r.Columns), len(cells))
		}
		if r.Columns[0].Format != "name" && r.GVK.Kind != "Event" {
			t.Errorf("%s begins with the column %v", r.GVK, r.Columns[0])
		}
	}
}

// Status and spec are written through different endpoints, and each leaves the other
// alone; a change of the spec makes a new generation.
func TestHalves(t *testing.T) {
	all, _ := builtIn(t)
	for _, kind := range []string{"StatefulSet", "DaemonSet", "Job", "CronJob", "PodDisruptionBudget", "Ingress"} {
		t.Run(kind, func(t *testing.T) {
			r := declared(t, all, kind)
			old := changed(t, r, `{}`)
			old.(metav1.Object).SetGeneration(4)
			obj := changed(t, r, `{metadata: {annotations: {a: b}}}`)
			r.PrepareForUpdate(resource.Request{}, obj, old)
			if n := obj.(metav1.Object).GetGeneration(); n != 4 {
				t.Errorf("an annotation made generation %d", n)
			}
			view := r.Subresource("status").View
			view.PrepareForUpdate(resource.Request{}, obj, old)
			if n := obj.(metav1.Object).GetGeneration(); n != 4 {
				t.Errorf("a status made generation %d", n)
			}
		})
	}
}

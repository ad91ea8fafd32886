package main

import (
	"fmt"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
)

// ending is a pod that does not just run, and what becomes of it.
type ending struct {
	name string
	spec string // of the pod, in YAML's flow style
	// Its first container waits for that reason, or ended with that reason and code;
	// an empty reason is any: on a busy machine a program may be stopped before it
	// knows how to end well.
	reason  string
	code    int32
	message string
	phase   corev1.PodPhase
	// event that tells it.
	event string
}

type endings []ending

func (c *cluster) endings() endings {
	list := endings{
		{name: "badpull", spec: `containers: [{name: c, image: "REGISTRY/strake/nothere:v1"}]`,
			reason: "ImagePullBackOff", message: `Back-off pulling image "REGISTRY/strake/nothere:v1": ErrImagePull: `, phase: corev1.PodPending, event: "Error: ErrImagePull"},
		{name: "badname", spec: `containers: [{name: c, image: "Bad:::name"}]`,
			reason: "InvalidImageName", message: "invalid reference format", phase: corev1.PodPending, event: "Error: InvalidImageName"},
		{name: "neverpull", spec: `containers: [{name: c, image: "REGISTRY/strake/other:v1", imagePullPolicy: Never}]`,
			reason: "ErrImageNeverPull", message: "is not present with pull policy of Never", phase: corev1.PodPending, event: "Error: ErrImageNeverPull"},
		{name: "noconfig", spec: `containers: [{name: c, image: IMAGE, env: [{name: A, valueFrom: {configMapKeyRef: {name: none, key: k}}}]}]`,
			reason: "CreateContainerConfigError", message: `configmap "none" not found`, phase: corev1.PodPending, event: `Error: configmap "none" not found`},
		{name: "nokey", spec: `containers: [{name: c, image: IMAGE, env: [{name: A, valueFrom: {configMapKeyRef: {name: values, key: k}}}]}]`,
			reason: "CreateContainerConfigError", message: "couldn't find key k in ConfigMap default/values", phase: corev1.PodPending},
		{name: "root", spec: `securityContext: {runAsNonRoot: true}, containers: [{name: c, image: IMAGE}]`,
			reason: "CreateContainerConfigError", message: "container has runAsNonRoot and image will run as root", phase: corev1.PodPending},
		{name: "crash", spec: `containers: [{name: c, image: IMAGE, command: [sh, -c, "echo bye; exit 7"]}]`,
			reason: "CrashLoopBackOff", message: "restarting failed container=c pod=crash_default(", phase: corev1.PodRunning, event: "Back-off restarting failed container c in pod crash_default("},
		{name: "nocommand", spec: `restartPolicy: Never, containers: [{name: c, image: IMAGE, command: [/nosuch]}]`,
			reason: "StartError", code: 128, message: "no such file or directory", phase: corev1.PodFailed},
		{name: "badhook", spec: `restartPolicy: Never, containers: [{name: c, image: IMAGE, lifecycle: {postStart: {exec: {command: ["false"]}}}}]`,
			reason: "Completed", phase: corev1.PodSucceeded, event: "PostStartHook failed"},
		{name: "oom", spec: `restartPolicy: Never, containers: [{name: c, image: IMAGE, args: [alloc, "100"], resources: {limits: {memory: 32Mi}}}]`,
			reason: "OOMKilled", code: 137, phase: corev1.PodFailed},
		{name: "fails", spec: `restartPolicy: Never, containers: [{name: c, image: IMAGE, command: [sh, -c, "echo broken > /dev/termination-log; exit 5"]}]`,
			reason: "Error", code: 5, message: "broken", phase: corev1.PodFailed},
		{name: "lastwords", spec: `restartPolicy: Never, containers: [{name: c, image: IMAGE, terminationMessagePolicy: FallbackToLogsOnError, command: [sh, -c, "echo last words; exit 6"]}]`,
			reason: "Error", code: 6, message: "last words", phase: corev1.PodFailed},
		{name: "succeeds", spec: `restartPolicy: OnFailure, containers: [{name: c, image: IMAGE, command: ["true"]}]`,
			reason: "Completed", phase: corev1.PodSucceeded},
		{name: "deadline", spec: `activeDeadlineSeconds: 2, terminationGracePeriodSeconds: 1, containers: [{name: c, image: IMAGE}]`,
			phase: corev1.PodFailed, event: "Pod was active on the node longer than the specified deadline"},
		{name: "initfails", spec: `restartPolicy: Never, initContainers: [{name: i, image: IMAGE, command: [exit, "9"]}], containers: [{name: c, image: IMAGE}]`,
			reason: "PodInitializing", phase: corev1.PodFailed},
	}
	for i := range list {
		list[i].spec, list[i].message = c.fill(list[i].spec), c.fill(list[i].message)
	}
	return list
}

func (list endings) manifest() string {
	var all strings.Builder
	for _, e := range list {
		fmt.Fprintf(&all, "---\n{apiVersion: v1, kind: Pod, metadata: {name: %s}, spec: {%s}}\n", e.name, e.spec)
	}
	return all.String()
}

func (list endings) test(t *testing.T, c *cluster) {
	for _, e := range list {
		t.Run(e.name, func(t *testing.T) {
			sub := *c
			sub.t = t
			sub.eventually("pod "+e.name, func() error {
				pod := sub.pod(e.name)
				if len(pod.Status.ContainerStatuses) != 1 {
					return fmt.Errorf("status %+v", pod.Status)
				}
				s := pod.Status.ContainerStatuses[0]
				var reason, message string
				var code int32
				switch {
				case s.State.Waiting != nil:
					reason, message = s.State.Waiting.Reason, s.State.Waiting.Message
				case s.State.Terminated != nil:
					reason, message, code = s.State.Terminated.Reason, s.State.Terminated.Message, s.State.Terminated.ExitCode
				}
				if e.reason != "" && (reason != e.reason || code != e.code) || !strings.Contains(message, e.message) || pod.Status.Phase != e.phase {
					return fmt.Errorf("%s, %+v", pod.Status.Phase, s)
				}
				return nil
			})
			if e.event != "" {
				sub.says(e.event, "describe", "pod", e.name)
			}
		})
	}
}

// podsManifest are the pods that TestPods looks at. IMAGE and HOSTPATH are put in.
const podsManifest = `
apiVersion: v1
kind: ConfigMap
metadata: {name: values}
data: {KEY: value, file.txt: "from file", one: "one\n"}
---
apiVersion: v1
kind: Secret
metadata: {name: secret}
stringData: {PASS: secret}
---
apiVersion: v1
kind: Pod
metadata: {name: envs, labels: {l: lv}, annotations: {a: av}}
spec:
  initContainers:
  - {name: seed, image: IMAGE, command: [sh, -c, "echo one > /host/seed"], volumeMounts: [{name: host, mountPath: /host}]}
  containers:
  - name: c
    image: IMAGE
    resources: {limits: {cpu: 200m, memory: 64Mi}, requests: {cpu: 100m, memory: 32Mi}}
    envFrom:
    - configMapRef: {name: values}
    - {prefix: P_, secretRef: {name: secret}}
    - configMapRef: {name: none, optional: true}
    env:
    - {name: X, value: $(KEY)-x}
    - {name: ESC, value: $$(KEY)}
    - {name: FROM_MAP, valueFrom: {configMapKeyRef: {name: values, key: KEY}}}
    - {name: FROM_SECRET, valueFrom: {secretKeyRef: {name: secret, key: PASS}}}
    - {name: OPTIONAL, valueFrom: {secretKeyRef: {name: none, key: PASS, optional: true}}}
    - {name: NAME, valueFrom: {fieldRef: {fieldPath: metadata.name}}}
    - {name: NAMESPACE, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
    - {name: UID, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
    - {name: LABEL, valueFrom: {fieldRef: {fieldPath: "metadata.labels['l']"}}}
    - {name: ANNOTATION, valueFrom: {fieldRef: {fieldPath: "metadata.annotations['a']"}}}
    - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
    - {name: ACCOUNT, valueFrom: {fieldRef: {fieldPath: spec.serviceAccountName}}}
    - {name: HOST_IP, valueFrom: {fieldRef: {fieldPath: status.hostIP}}}
    - {name: POD_IP, valueFrom: {fieldRef: {fieldPath: status.podIP}}}
    - {name: CPU, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1m}}}
    - {name: MEMORY, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Mi}}}
    - {name: REQUEST, valueFrom: {resourceFieldRef: {containerName: c, resource: requests.memory}}}
    volumeMounts:
    - {name: empty, mountPath: /empty}
    - {name: memory, mountPath: /memory}
    - {name: host, mountPath: /host}
    - {name: secret, mountPath: /secret, readOnly: true}
    - {name: down, mountPath: /down}
    - {name: all, mountPath: /all}
    - {name: map, mountPath: /one.txt, subPath: file.txt}
    - {name: empty, mountPath: /sub, subPathExpr: d/$(NAME)}
    - {name: items, mountPath: /items}
  volumes:
  - {name: empty, emptyDir: {}}
  - {name: memory, emptyDir: {medium: Memory, sizeLimit: 8Mi}}
  - {name: host, hostPath: {path: HOSTPATH, type: Directory}}
  - {name: secret, secret: {secretName: secret, defaultMode: 0400}}
  - {name: map, configMap: {name: values}}
  - {name: items, configMap: {name: values, items: [{key: file.txt, path: deep/er.txt, mode: 0600}]}}
  - name: down
    downwardAPI:
      items:
      - {path: labels, fieldRef: {fieldPath: metadata.labels}}
      - {path: cpu, resourceFieldRef: {containerName: c, resource: limits.cpu, divisor: 1m}}
  - name: all
    projected:
      sources:
      - configMap: {name: values}
      - secret: {name: secret}
      - downwardAPI: {items: [{path: name, fieldRef: {fieldPath: metadata.name}}]}
---
{apiVersion: v1, kind: Pod, metadata: {name: late}, spec: {volumes: [{name: v, configMap: {name: late}}], containers: [{name: c, image: IMAGE, volumeMounts: [{name: v, mountPath: /v}]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: web, labels: {app: lone-web}}, spec: {containers: [{name: c, image: IMAGE}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: debugged}, spec: {containers: [{name: c, image: IMAGE}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: victim}, spec: {containers: [{name: c, image: IMAGE}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: host}, spec: {hostNetwork: true, containers: [{name: c, image: IMAGE, env: [{name: PORT, value: "7777"}]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: hostport}, spec: {containers: [{name: c, image: IMAGE, ports: [{containerPort: 80, hostPort: 7070}]}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: many}
spec:
  containers:
  - {name: ticks, image: IMAGE, command: [tick, 200ms]}
  - {name: spdy, image: IMAGE, stdin: true, tty: true, command: [sh]}
  - {name: websocket, image: IMAGE, stdin: true, tty: true, command: [sh]}
  - {name: other, image: IMAGE, stdin: true, command: [cat]}
---
apiVersion: v1
kind: Pod
metadata: {name: shared}
spec:
  shareProcessNamespace: true
  containers: [{name: a, image: IMAGE, command: [sleep, inf]}, {name: b, image: IMAGE, command: [sleep, inf]}]
---
apiVersion: v1
kind: Pod
metadata: {name: secure}
spec:
  securityContext: {runAsNonRoot: true, runAsUser: 1234, runAsGroup: 55, fsGroup: 77, supplementalGroups: [88]}
  volumes: [{name: v, emptyDir: {}}]
  containers:
  - name: c
    image: IMAGE
    args: [tick, 1s]
    volumeMounts: [{name: v, mountPath: /v}]
    securityContext: {readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {drop: [ALL]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: live}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: IMAGE, ports: [{name: http, containerPort: 80}], livenessProbe: {httpGet: {path: /healthz, port: http}, periodSeconds: 1, failureThreshold: 1}}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: readiness}, spec: {containers: [{name: c, image: IMAGE, readinessProbe: {httpGet: {path: /healthz, port: 80}, periodSeconds: 1, failureThreshold: 1}}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: slow}, spec: {containers: [{name: c, image: IMAGE, args: [serve, -delay, 4s], startupProbe: {tcpSocket: {port: 80}, periodSeconds: 1, failureThreshold: 60}, livenessProbe: {exec: {command: [wget, "127.0.0.1"]}, periodSeconds: 1, timeoutSeconds: 20, failureThreshold: 1}}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: never-started}, spec: {terminationGracePeriodSeconds: 1, containers: [{name: c, image: IMAGE, startupProbe: {tcpSocket: {port: 81}, periodSeconds: 1, failureThreshold: 2}}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: grpc}, spec: {containers: [{name: c, image: IMAGE, readinessProbe: {grpc: {port: 80}, periodSeconds: 1}}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: quick}, spec: {containers: [{name: c, image: IMAGE}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: stubborn}, spec: {terminationGracePeriodSeconds: 3, containers: [{name: c, image: IMAGE, args: [ignoreterm]}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: forced}, spec: {containers: [{name: c, image: IMAGE, args: [ignoreterm]}]}}
---
apiVersion: v1
kind: Pod
metadata: {name: polite}
spec:
  volumes: [{name: v, hostPath: {path: HOSTPATH}}]
  containers:
  - name: c
    image: IMAGE
    volumeMounts: [{name: v, mountPath: /v}]
    lifecycle:
      postStart: {exec: {command: [sh, -c, "echo started >> /v/hooks"]}}
      preStop: {exec: {command: [sh, -c, "echo stopping >> /v/hooks"]}}
`

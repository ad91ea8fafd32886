package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
)

const simplePod = `
apiVersion: v1
kind: Pod
metadata: {name: %s, labels: {app: %[1]s}}
spec: {containers: [{name: c, image: nginx%s}]}
`

// TestAPI drives the API as its clients see it. Its pods are simulated.
func TestAPI(t *testing.T) {
	c := newCluster(t, "--runtime", "fake", "--store", "memory", "--fake-nodes", "2")
	for _, part := range []struct {
		name string
		test func(t *testing.T, c *cluster)
	}{
		{"discovery", testDiscovery},
		{"what is refused", testRefusals},
		{"reading", testReading},
		{"writing", testWriting},
		{"patching", testPatching},
		{"applying", testApplying},
		{"deleting", testDeleting},
		{"nodes", testNodeCommands},
		{"access", testAccess},
		{"informers", testInformers},
		{"versions and pages", testVersions},
		{"dry runs", testDryRuns},
		{"other clients", testOtherClients},
	} {
		t.Run(part.name, func(t *testing.T) {
			own := *c
			own.t = t
			part.test(t, &own)
		})
	}
}

// shows runs kubectl and wants every one of the texts in what it says.
func (c *cluster) shows(args []string, want ...string) {
	c.t.Helper()
	out := c.kubectl(args...)
	for _, w := range want {
		if !strings.Contains(out, w) {
			c.t.Errorf("kubectl %s said\n%s\nwant %q in it", strings.Join(args, " "), out, w)
		}
	}
}

func testDiscovery(t *testing.T, c *cluster) {
	c.shows([]string{"version"}, "Server Version: v1.37")
	c.shows([]string{"cluster-info"}, "is running at")
	c.shows([]string{"api-versions"}, "apps/v1", "coordination.k8s.io/v1", "discovery.k8s.io/v1", "events.k8s.io/v1", "\nv1")
	c.shows([]string{"api-resources"}, "replicationcontrollers", "deploy", "leases", "endpointslices", "po ")
	c.shows([]string{"explain", "pod.spec.containers.ports.hostPort"}, "FIELD: hostPort <integer>")
	for _, r := range []string{"pods", "deployments.apps", "leases"} {
		c.shows([]string{"explain", r, "--recursive"}, "KIND:", "metadata\t<ObjectMeta>")
	}
	client, _ := c.client()
	for path, want := range map[string]string{
		"/healthz": "ok", "/readyz": "ok", "/livez?verbose": "livez check passed", "/readyz?verbose": "[+]ping ok",
		"/api": `"versions":["v1"]`, "/apis": "APIGroupList", "/openapi/v3": "api/v1", "/openapi/v2": `"swagger":"2.0"`,
		"/metrics": "apiserver_request_total",
	} {
		path, query, _ := strings.Cut(path, "?")
		data, err := client.Discovery().RESTClient().Get().AbsPath(path).Param(query, "").DoRaw(t.Context())
		if err != nil || !strings.Contains(string(data), want) {
			t.Errorf("%s: %v, %.200s; want %s", path, err, data, want)
		}
	}
}

func testRefusals(t *testing.T, c *cluster) {
	unknown := fmt.Sprintf(simplePod, "bad", ", foo: bar")
	c.refuses(`strict decoding error: unknown field "spec.containers[0].foo"`, unknown, "apply", "-f", "-")
	c.refuses(`.spec.containers[name="c"].foo: field not declared in schema`, unknown, "apply", "--server-side", "-f", "-")
	if out, err := c.feed(unknown, "apply", "--validate=warn", "--dry-run=server", "-f", "-"); err != nil || !strings.Contains(out, `Warning: unknown field "spec.containers[0].foo"`) {
		t.Errorf("a warning: %v\n%s", err, out)
	}
	if out, err := c.feed(unknown, "apply", "--validate=ignore", "--dry-run=server", "-f", "-"); err != nil || strings.Contains(out, "Warning") {
		t.Errorf("no validation: %v\n%s", err, out)
	}
	c.refuses("error converting YAML to JSON", "apiVersion: v1\nkind: Pod\nmetadata: {name: x", "create", "-f", "-")
	c.refuses(`cannot unmarshal number into Go struct field Container.spec.containers.image of type string`,
		strings.Replace(fmt.Sprintf(simplePod, "bad", ""), "nginx", "3", 1), "create", "-f", "-")
	c.refuses(`The Pod "P_3" is invalid: metadata.name: Invalid value: "P_3": a lowercase RFC 1123 subdomain must consist of`,
		fmt.Sprintf(simplePod, "P_3", ""), "create", "-f", "-")
	c.refuses(`namespaces "nope" not found`, "", "create", "configmap", "x", "-n", "nope")
	c.refuses(`the server doesn't have a resource type "foos"`, "", "get", "foos")

	c.kubectl("create", "configmap", "here")
	c.refuses(`configmaps "here" already exists`, "", "create", "configmap", "here")
	config := func(metadata string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: here, " + metadata + "}\ndata: {a: b}\n"
	}
	c.refuses(`Operation cannot be fulfilled on configmaps "here": the object has been modified; please apply your changes to the latest version and try again`,
		config(`resourceVersion: "3"`), "replace", "-f", "-")
	c.refuses("Precondition failed: UID in precondition: abc", config("uid: abc"), "replace", "-f", "-")
	c.refuses(`configmaps "gone" not found`, strings.Replace(config("labels: {}"), "here", "gone", 1), "replace", "-f", "-")
	c.refuses("provided port is not in the valid range. The range of valid ports is 30000-32767", "",
		"create", "service", "nodeport", "n", "--tcp=80", "--node-port=80")
	client, _ := c.client()
	for path, want := range map[string]string{
		"/api/v1/pods?limit=abc":                                 `strconv.ParseInt: parsing "abc": invalid syntax`,
		"/api/v1/pods?continue=abc":                              "continue key is not valid",
		"/api/v1/pods?resourceVersion=abc":                       `Invalid value: "abc"`,
		"/api/v1/pods?resourceVersion=99999999":                  "Too large resource version: 99999999, current:",
		"/api/v1/pods?resourceVersionMatch=Exact":                "resourceVersionMatch is forbidden unless resourceVersion is provided",
		"/api/v1/pods?sendInitialEvents=true":                    "sendInitialEvents is forbidden for list",
		"/api/v1/pods?watch=1&sendInitialEvents=true":            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
		"/api/v1/pods?fieldSelector=foo%3Dbar":                   "field label not supported: foo",
		"/api/v1/pods?labelSelector=a%20in%20b":                  "unable to parse requirement: found 'b' expected: '('",
		"/api/v1/foos":                                           "the server could not find the requested resource",
		"/api/v1/namespaces/default/pods/zz":                     `pods "zz" not found`,
		"/apis/apps/v1/namespaces/default/deployments/x/nothing": "the server could not find the requested resource",
	} {
		err := client.Discovery().RESTClient().Get().RequestURI(path).MaxRetries(0).Do(t.Context()).Error()
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", path, err, want)
		}
	}
}

func testReading(t *testing.T, c *cluster) {
	c.kubectl("create", "deployment", "web", "--image=nginx", "--replicas=3")
	c.shows([]string{"wait", "deployment/web", "--for=condition=Available", "--timeout=30s"}, "condition met")
	c.shows([]string{"get", "deployments,replicasets", "-o", "wide"}, "READY", "SELECTOR", "3/3")
	c.shows([]string{"get", "pods", "-o", "wide", "-A", "--show-labels"}, "NOMINATED NODE", "pod-template-hash=", "fake-")
	c.shows([]string{"get", "pods", "-l", "app in (web)", "--field-selector", "status.phase=Running", "--chunk-size=1", "--sort-by=.metadata.name", "-o", "name"}, "pod/web-")
	for output, want := range map[string]string{
		"yaml": "kind: List", "json": `"kind": "List"`, "name": "pod/web-",
		"jsonpath={.items[*].status.phase}":                    "Running Running Running",
		"custom-columns=N:.metadata.name,P:.status.phase":      "Running",
		`go-template={{range .items}}{{.status.phase}}{{end}}`: "RunningRunningRunning",
	} {
		c.shows([]string{"get", "pods", "-l", "app=web", "-o", output}, want)
	}
	c.shows([]string{"get", "events"}, "LAST SEEN", "Scheduled", "Successfully assigned default/web-", "ScalingReplicaSet")
	c.shows([]string{"get", "events.events.k8s.io"}, "LAST SEEN", "Scheduled")
	c.shows([]string{"events", "--for", "deployment/web"}, "Scaled up replica set")
	c.shows([]string{"describe", "deployment", "web"}, "3 desired | 3 updated | 3 total | 3 available", "NewReplicaSet:")
	c.shows([]string{"get", "leases", "-A"}, "HOLDER", "fake-0")
	if out := c.kubectl("get", "deployment", "web", "--watch-only", "--request-timeout=1s"); out != "" {
		t.Errorf("nothing happened, and the watch said %s", out)
	}
}

func testWriting(t *testing.T, c *cluster) {
	c.kubectl("create", "configmap", "w", "--from-literal=x=1")
	c.shows([]string{"label", "configmap", "w", "l=1"}, "labeled")
	c.refuses("'l' already has a value (1), and --overwrite is false", "", "label", "configmap", "w", "l=2")
	c.shows([]string{"label", "configmap", "w", "l=2", "--overwrite"}, "labeled")
	c.shows([]string{"annotate", "configmap", "w", "a=b"}, "annotated")
	t.Setenv("KUBE_EDITOR", `sed -i s/x:\ \"1\"/x:\ \"4\"/`)
	c.shows([]string{"edit", "configmap", "w"}, "edited")
	c.shows([]string{"get", "configmap", "w", "-o", "jsonpath={.data.x}{.metadata.labels.l}"}, "42")
	c.shows([]string{"wait", "configmap/w", "--for=jsonpath={.data.x}=4", "--timeout=10s"}, "condition met")
	c.shows([]string{"set", "image", "deployment/web", "nginx=nginx:2"}, "image updated")
	c.shows([]string{"rollout", "status", "deployment/web", "--timeout=30s"}, "successfully rolled out")
	c.shows([]string{"rollout", "history", "deployment/web"}, "1 ", "2 ")
	c.shows([]string{"rollout", "undo", "deployment/web"}, "rolled back")
	c.shows([]string{"scale", "deployment", "web", "--replicas=1"}, "scaled")
	c.refuses("Expected replicas to be 7, was 1", "", "scale", "deployment", "web", "--current-replicas=7", "--replicas=2")
	c.shows([]string{"expose", "deployment", "web", "--port=80"}, "exposed")
	c.shows([]string{"get", "deployment", "web", "--subresource=scale", "-o", "yaml"}, "kind: Scale", "selector: app=web")
	out, err := c.feed("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: w}\ndata: {x: '5'}\n", "replace", "--force", "-f", "-")
	if err != nil || !strings.Contains(out, "configmap/w replaced") {
		t.Errorf("replace --force: %v\n%s", err, out)
	}
}

func testPatching(t *testing.T, c *cluster) {
	patch := func(kind, patch string) []string {
		return []string{"patch", "deployment", "web", "--type=" + kind, "-p", patch}
	}
	c.shows(patch("strategic", `{"spec":{"template":{"spec":{"containers":[{"name":"nginx","env":[{"name":"A","value":"B"}]}]}}}}`), "patched")
	c.shows([]string{"get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[*].image}"}, "nginx")
	c.shows(patch("json", `[{"op":"replace","path":"/spec/replicas","value":2}]`), "patched")
	c.shows(patch("merge", `{"metadata":{"annotations":{"k":"v"}}}`), "patched")
	c.shows([]string{"patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", `{"spec":{"replicas":3}}`}, "patched")
	c.shows(patch("merge", `{"spec":{"foo":1}}`), `Warning: unknown field "spec.foo"`, "no change")
	client, _ := c.client()
	for _, r := range []struct {
		kind        types.PatchType
		patch, want string
	}{
		{types.JSONPatchType, `[{"op":"test","path":"/spec/replicas","value":9}]`, "the server rejected our request due to an error in our request"},
		{types.MergePatchType, `{"spec":{"replicas":"a"}}`, "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32"},
		{types.StrategicMergePatchType, `{"spec":{"replicas":"a"}}`, `patch: Invalid value: "map[spec:map[replicas:a]]"`},
		{types.MergePatchType, `{"metadata":{"name":"zz"}}`, "the name of the object (zz) does not match the name on the URL (web)"},
		{types.MergePatchType, `{"metadata":{"uid":"zz"}}`, `metadata.uid: Invalid value: "zz": field is immutable`},
		{types.MergePatchType, `{"metadata":{"resourceVersion":"1"}}`, "the object has been modified"},
		{types.MergePatchType, `{"spec":{"selector":{"matchLabels":{"a":"b"}}}}`, "field is immutable"},
	} {
		_, err := client.AppsV1().Deployments("default").Patch(t.Context(), "web", r.kind, []byte(r.patch), metav1.PatchOptions{})
		if err == nil || !strings.Contains(err.Error(), r.want) {
			t.Errorf("%s %s: %v, want %s", r.kind, r.patch, err, r.want)
		}
	}
}

func testApplying(t *testing.T, c *cluster) {
	manifest := func(x string) string {
		return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: applied}\ndata: {x: '" + x + "', z: '2'}\n"
	}
	c.apply(manifest("1"))
	feed := func(want string, x string, args ...string) {
		t.Helper()
		if out, err := c.feed(manifest(x), append(args, "-f", "-")...); err != nil || !strings.Contains(out, want) {
			t.Errorf("kubectl %v: %v\n%s\nwant %s", args, err, out, want)
		}
	}
	feed("unchanged", "1", "apply")
	feed("serverside-applied", "1", "apply", "--server-side")
	managers := c.kubectl("get", "configmap", "applied", "--show-managed-fields", "-o", "jsonpath={range .metadata.managedFields[*]}{.manager} {.operation};{end}")
	if managers != "kubectl Apply;kubectl-last-applied Apply;" {
		t.Errorf("after the move to server-side apply: %s", managers)
	}
	c.refuses(`+  x: "3"`, manifest("3"), "diff", "-f", "-")
	c.refuses(`Apply failed with 1 conflict: conflict with "kubectl": .data.x`, manifest("3"), "apply", "--server-side", "--field-manager=other", "-f", "-")
	feed("serverside-applied", "3", "apply", "--server-side", "--field-manager=other", "--force-conflicts")
	c.shows([]string{"get", "configmap", "applied", "-o", "jsonpath={.data.x}"}, "3")
	manifests, err := filepath.Abs("../manifests")
	if err != nil {
		t.Fatal(err)
	}
	for _, dry := range []string{"client", "server"} {
		c.shows([]string{"apply", "-f", manifests, "--dry-run=" + dry}, "pod/nginx-pod created", "service/web")
	}
}

func testDeleting(t *testing.T, c *cluster) {
	client, _ := c.client()
	c.apply(fmt.Sprintf(simplePod, "d1", ""))
	c.shows([]string{"wait", "pod/d1", "--for=condition=Ready", "--timeout=30s"}, "condition met")
	c.shows([]string{"delete", "pod", "d1", "--dry-run=server"}, "server dry run")
	c.shows([]string{"delete", "pod", "d1", "--grace-period=0", "--force"}, `pod "d1" force deleted`)
	c.refuses(`pods "d1" not found`, "", "delete", "pod", "d1")
	c.shows([]string{"delete", "pod", "d1", "--ignore-not-found"})
	c.refuses("this namespace may not be deleted", "", "delete", "namespace", "default")

	// What is held by a finalizer goes when that does.
	held := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "held", Finalizers: []string{"example.com/hold"}}}
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), held, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c.kubectl("delete", "configmap", "held", "--wait=false")
	c.shows([]string{"get", "configmap", "held", "-o", "jsonpath={.metadata.deletionTimestamp}"}, "20")
	c.kubectl("patch", "configmap", "held", "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	c.refuses("not found", "", "get", "configmap", "held")

	c.kubectl("delete", "deployment", "web", "--cascade=orphan")
	c.shows([]string{"get", "replicasets", "-l", "app=web", "-o", "name"}, "replicaset.apps/web-")
	c.kubectl("delete", "replicasets", "-l", "app=web", "--cascade=foreground", "--timeout=30s")
	c.says("No resources found", "get", "pods", "-l", "app=web")
	if err := client.CoreV1().ConfigMaps("default").DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{FieldSelector: "metadata.name=applied"}); err != nil {
		t.Error(err)
	}
	c.refuses("not found", "", "get", "configmap", "applied")
	c.kubectl("get", "configmap", "w")
}

func testNodeCommands(_ *testing.T, c *cluster) {
	c.shows([]string{"taint", "node", "fake-0", "a=b:NoSchedule"}, "tainted")
	c.shows([]string{"taint", "node", "fake-0", "a-"}, "untainted")
	c.shows([]string{"cordon", "fake-0"}, "cordoned")
	c.shows([]string{"get", "nodes"}, "Ready,SchedulingDisabled")
	c.shows([]string{"drain", "fake-0", "--ignore-daemonsets", "--timeout=30s"}, "drained")
	c.shows([]string{"uncordon", "fake-0"}, "uncordoned")
	c.shows([]string{"describe", "node", "fake-0"}, "HolderIdentity:  fake-0", "Allocatable:")
}

func testAccess(t *testing.T, c *cluster) {
	_, config := c.client()
	c.shows([]string{"auth", "can-i", "*", "*"}, "yes")
	c.shows([]string{"auth", "whoami"}, "kubernetes-admin", "system:masters")
	c.refuses(`pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default"`, "", "--as=bob", "get", "pods")
	c.refuses(`User "bob" cannot get path "/nope"`, "", "--as=bob", "get", "--raw", "/nope")

	status := func(config *rest.Config, path string) (int, metav1.Status) {
		t.Helper()
		client, err := rest.HTTPClientFor(config)
		if err != nil {
			t.Fatal(err)
		}
		defer client.CloseIdleConnections()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, config.Host+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if response.ProtoMajor != 2 {
			t.Errorf("%s was answered over %s", path, response.Proto)
		}
		data, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		var s metav1.Status
		_ = json.Unmarshal(data, &s) // health is no JSON
		return response.StatusCode, s
	}
	anonymous := rest.AnonymousClientConfig(config)
	anonymous.Dial = config.Dial
	for path, want := range map[string]int{
		"/healthz": 200, "/livez": 200, "/readyz": 200, "/version": 200,
		"/metrics": 403, "/api": 403, "/apis": 403, "/openapi/v3": 403, "/api/v1/pods": 403,
	} {
		if code, s := status(anonymous, path); code != want || code == 403 && !strings.Contains(s.Message, `User "system:anonymous" cannot`) {
			t.Errorf("%s without credentials: %d %s, want %d", path, code, s.Message, want)
		}
	}
	bad := rest.CopyConfig(anonymous)
	bad.BearerToken = "bad"
	if code, s := status(bad, "/api/v1/pods"); code != 401 || s.Message != "Unauthorized" || s.Reason != metav1.StatusReasonUnauthorized {
		t.Errorf("with a bad token: %d %+v", code, s)
	}

	client, _ := c.client()
	big := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "big"}, Data: map[string]string{"a": strings.Repeat("x", 4<<20)}}
	if _, err := client.CoreV1().ConfigMaps("default").Create(t.Context(), big, metav1.CreateOptions{}); !apierrors.IsRequestEntityTooLargeError(err) {
		t.Errorf("a body of 4 MiB: %v", err)
	}
}

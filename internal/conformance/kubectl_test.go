package conformance

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const webManifest = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: web
  labels: {app: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: server
        image: registry.example/web:v1
        ports: [{containerPort: 80}]
`

// TestKubectl is what people type, with what they read then.
func TestKubectl(t *testing.T) {
	c := connect(t)
	for name, test := range map[string]func(*shell){
		"Create": kubectlCreate, "Apply": kubectlApply, "ServerSideApply": kubectlServerSide, "Edit": kubectlEdit,
		"Change": kubectlChange, "Replace": kubectlReplace, "Explain": kubectlExplain, "Formats": kubectlFormats,
		"Wait": kubectlWait, "Scale": kubectlScale, "Rollout": kubectlRollout, "Set": kubectlSet, "Expose": kubectlExpose,
		"Auth": kubectlAuth, "Discovery": kubectlDiscovery, "Mistakes": kubectlMistakes, "Delete": kubectlDelete,
		"CustomResources": kubectlCustomResources, "Workloads": kubectlWorkloads, "Kustomize": kubectlKustomize,
		"Certificates": kubectlCertificates, "Debug": kubectlDebug,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(c.shell(t))
		})
	}
}

// file writes a file into the shell's folder.
func (s *shell) file(name, content string) string {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		s.t.Fatal(err)
	}
	return path
}

func kubectlCreate(s *shell) {
	s.says("configmap/c created", "create", "configmap", "c", "--from-literal=a=b")
	s.says("secret/s created", "create", "secret", "generic", "s", "--from-literal=password=x")
	s.says("secret/r created", "create", "secret", "docker-registry", "r", "--docker-server=registry.example", "--docker-username=u", "--docker-password=p")
	s.says("serviceaccount/sa created", "create", "serviceaccount", "sa")
	s.says("deployment.apps/d created", "create", "deployment", "d", "--image=registry.example/web:v1", "--replicas=1", "--port=80")
	s.says("service/cl created", "create", "service", "clusterip", "cl", "--tcp=80:8080")
	s.says("service/np created", "create", "service", "nodeport", "np", "--tcp=80")
	s.says("service/ex created", "create", "service", "externalname", "ex", "--external-name=example.com")
	s.says("service/lb created", "create", "service", "loadbalancer", "lb", "--tcp=80")
	s.says("job.batch/j created", "create", "job", "j", "--image=registry.example/job:v1", "--", "true")
	s.says("cronjob.batch/cj created", "create", "cronjob", "cj", "--image=registry.example/job:v1", "--schedule=*/5 * * * *", "--", "true")
	s.says("job.batch/from-cron created", "create", "job", "from-cron", "--from=cronjob/cj")
	s.says("ingress.networking.k8s.io/in created", "create", "ingress", "in", "--rule=example.com/*=cl:80")
	s.says("poddisruptionbudget.policy/pdb created", "create", "poddisruptionbudget", "pdb", "--selector=app=d", "--min-available=1")
	s.says("priorityclass.scheduling.k8s.io/NS-high created", "create", "priorityclass", s.namespace+"-high", "--value=1000")
	s.says("resourcequota/q created", "create", "quota", "q", "--hard=pods=100,services=20")
	s.says("role.rbac.authorization.k8s.io/reader created", "create", "role", "reader", "--verb=get,list", "--resource=pods,deployments.apps")
	s.says("rolebinding.rbac.authorization.k8s.io/readers created", "create", "rolebinding", "readers", "--role=reader", "--serviceaccount="+s.namespace+":sa")
	s.says("pod/p created", "run", "p", "--image=registry.example/app:v1", "--labels=a=b")
	s.t.Cleanup(func() { s.run("delete", "priorityclass", s.namespace+"-high") })
	token := s.run("create", "token", "sa", "--duration=10m", "--audience=tested")
	if strings.Count(token, ".") != 2 {
		s.t.Errorf("create token says %q", token)
	}
	s.refuses("", []string{"create", "configmap", "c"}, `error: failed to create configmap: configmaps "c" already exists`)
	s.shows([]string{"describe", "quota", "q"}, "Name:       q", "Namespace:  NS")
	s.shows([]string{"describe", "configmap", "c"}, "a:\n----\nb")
	s.shows([]string{"get", "all"}, "pod/p", "service/cl", "deployment.apps/d", "replicaset.apps/d-", "job.batch/j", "cronjob.batch/cj")
}

func kubectlApply(s *shell) {
	path := s.file("web.yaml", webManifest)
	s.says("deployment.apps/web created", "apply", "-f", path)
	s.says("deployment.apps/web unchanged", "apply", "-f", path)
	if out, err := s.try("", "diff", "-f", path); err != nil || out != "" {
		s.t.Errorf("diff of what is applied: %v\n%s", err, out)
	}
	changed := s.file("changed.yaml", strings.NewReplacer("replicas: 2", "replicas: 3", "web:v1", "web:v2").Replace(webManifest))
	out, err := s.try("", "diff", "-f", changed)
	if err == nil {
		s.t.Error("diff found nothing")
	}
	for _, want := range []string{"-  replicas: 2", "+  replicas: 3", "-      - image: registry.example/web:v1", "+      - image: registry.example/web:v2"} {
		if !strings.Contains(out, want) {
			s.t.Errorf("diff lacks %q:\n%s", want, out)
		}
	}
	s.says("deployment.apps/web configured (server dry run)", "apply", "--dry-run=server", "-f", changed)
	s.says("2", "get", "deployment", "web", "-o", "jsonpath={.spec.replicas}")
	s.says("deployment.apps/web configured", "apply", "-f", changed)
	s.says("3 registry.example/web:v2", "get", "deployment", "web", "-o", "jsonpath={.spec.replicas} {.spec.template.spec.containers[0].image}")
	// What the file does not have any more goes; what others set stays.
	s.run("annotate", "deployment", "web", "by=somebody")
	s.says("deployment.apps/web configured", "apply", "-f", s.file("less.yaml", strings.Replace(webManifest, "        ports: [{containerPort: 80}]\n", "", 1)))
	s.says("somebody []", "get", "deployment", "web", "-o", "jsonpath={.metadata.annotations.by} [{.spec.template.spec.containers[0].ports}]")
	s.shows([]string{"apply", "view-last-applied", "deployment/web"}, "image: registry.example/web:v1")
	s.shows([]string{"apply", "--prune", "-l", "app=web", "-f", path, "--prune-allowlist=core/v1/ConfigMap"}, "deployment.apps/web configured")
}

func kubectlServerSide(s *shell) {
	path := s.file("web.yaml", webManifest)
	s.says("deployment.apps/web serverside-applied", "apply", "--server-side", "-f", path)
	s.says("deployment.apps/web serverside-applied", "apply", "--server-side", "--field-manager=other", "-f", path)
	// Both own the replicas now; one alone cannot change them.
	changed := s.file("changed.yaml", strings.Replace(webManifest, "replicas: 2", "replicas: 5", 1))
	s.refuses("", []string{"apply", "--server-side", "-f", changed},
		`error: Apply failed with 1 conflict: conflict with "other": .spec.replicas`, "--force-conflicts")
	s.says("deployment.apps/web serverside-applied", "apply", "--server-side", "--force-conflicts", "-f", changed)
	s.says("5", "get", "deployment", "web", "-o", "jsonpath={.spec.replicas}")
	s.shows([]string{"get", "deployment", "web", "-o", "yaml", "--show-managed-fields"}, "manager: kubectl", "manager: other", "operation: Apply", "f:replicas: {}")
	// From client side to server side: kubectl's own former fields do not conflict.
	old := s.file("old.yaml", strings.ReplaceAll(webManifest, "name: web", "name: old"))
	s.says("deployment.apps/old created", "apply", "-f", old)
	s.says("deployment.apps/old serverside-applied", "apply", "--server-side", "-f", s.file("old2.yaml", strings.NewReplacer("name: web", "name: old", "replicas: 2", "replicas: 4").Replace(webManifest)))
	s.says("4", "get", "deployment", "old", "-o", "jsonpath={.spec.replicas}")
	out, err := s.try("", "diff", "--server-side", "-f", old)
	if err == nil || !strings.Contains(out, "+  replicas: 2") {
		s.t.Errorf("diff --server-side: %v\n%s", err, out)
	}
}

func kubectlEdit(s *shell) {
	s.feed(webManifest, "apply", "-f", "-")
	editor := func(script string) { s.env = []string{"KUBE_EDITOR=" + s.file("editor", "#!/bin/sh\n"+script)} }
	editor(`sed -i 's/replicas: 2/replicas: 4/' "$1"`)
	s.says("deployment.apps/web edited", "edit", "deployment", "web")
	s.says("4", "get", "deployment", "web", "-o", "jsonpath={.spec.replicas}")
	editor("true")
	s.says("Edit cancelled, no changes made.", "edit", "deployment", "web")
	// What the server refuses comes back to the editor with the reason, and then is
	// given up.
	editor(`grep -q "must be greater than or equal to 0" "$1" || sed -i 's/replicas: 4/replicas: -1/' "$1"`)
	s.refuses("", []string{"edit", "deployment", "web"}, `error: deployments.apps "web" is invalid`, "Edit cancelled, no valid changes were saved")
	s.says("4", "get", "deployment", "web", "-o", "jsonpath={.spec.replicas}")
}

func kubectlChange(s *shell) {
	s.feed(webManifest, "apply", "-f", "-")
	s.says("deployment.apps/web patched", "patch", "deployment", "web", "-p", `{"spec":{"template":{"spec":{"containers":[{"name":"server","image":"registry.example/web:v3"}]}}}}`)
	s.says("registry.example/web:v3 80", "get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].ports[0].containerPort}")
	s.says("deployment.apps/web patched", "patch", "deployment", "web", "--type=merge", "-p", `{"spec":{"paused":true}}`)
	s.says("deployment.apps/web patched", "patch", "deployment", "web", "--type=json", "-p", `[{"op":"remove","path":"/spec/paused"}]`)
	s.says("deployment.apps/web patched (no change)", "patch", "deployment", "web", "-p", `{"spec":{"replicas":2}}`)
	s.says("scale.autoscaling/web patched", "patch", "deployment", "web", "--subresource=scale", "--type=merge", "-p", `{"spec":{"replicas":3}}`)
	s.says("3", "get", "deployment", "web", "--subresource=scale", "-o", "jsonpath={.spec.replicas}")
	s.says("deployment.apps/web labeled", "label", "deployment", "web", "tier=front")
	s.refuses("", []string{"label", "deployment", "web", "tier=back"}, "error: 'tier' already has a value (front), and --overwrite is false")
	s.says("deployment.apps/web labeled", "label", "--overwrite", "deployment", "web", "tier=back")
	s.says("deployment.apps/web unlabeled", "label", "deployment", "web", "tier-")
	s.says("deployment.apps/web annotated", "annotate", "deployment", "web", "note=x y")
	s.says("x y", "get", "deployment", "web", "-o", "jsonpath={.metadata.annotations.note}")
}

func kubectlReplace(s *shell) {
	path := s.file("web.yaml", webManifest)
	s.refuses("", []string{"replace", "-f", path}, `Error from server (NotFound): error when replacing`, `deployments.apps "web" not found`)
	s.run("create", "-f", path)
	changed := s.file("changed.yaml", strings.Replace(webManifest, "replicas: 2", "replicas: 1", 1))
	s.says("deployment.apps/web replaced", "replace", "-f", changed)
	s.says("1", "get", "deployment", "web", "-o", "jsonpath={.spec.replicas}")
	s.shows([]string{"replace", "--force", "-f", path}, `deployment.apps "web" deleted`, "deployment.apps/web replaced")
	other := s.file("other.yaml", strings.Replace(webManifest, "matchLabels: {app: web}", "matchLabels: {app: web, tier: front}", 1))
	s.refuses("", []string{"replace", "-f", other}, `The Deployment "web" is invalid:`, "field is immutable")
}

func kubectlExplain(s *shell) {
	s.shows([]string{"explain", "pod"}, "KIND:       Pod", "VERSION:    v1", "Pod is a collection of containers that can run on a host.", "spec\t<PodSpec>")
	s.shows([]string{"explain", "deployments.spec.strategy.rollingUpdate"}, "GROUP:      apps", "FIELD: rollingUpdate <RollingUpdateDeployment>", "maxSurge\t<IntOrString>")
	s.shows([]string{"explain", "pods", "--recursive"}, "  spec\t<PodSpec>", "    containers\t<[]Container> -required-", "      image\t<string>")
	s.shows([]string{"explain", "hpa", "--api-version=autoscaling/v1"}, "VERSION:    v1")
	s.shows([]string{"explain", "crd.spec.versions"}, "FIELD: versions <[]CustomResourceDefinitionVersion>")
	s.refuses("", []string{"explain", "pod.spec.nonsense"}, `error: field "nonsense" does not exist`)
	for _, r := range strings.Fields(s.run("api-resources", "-o", "name", "--verbs=list")) {
		if strings.HasSuffix(r, ".example.com") || r == "events.events.k8s.io" { // kubectl takes the latter for a field of events
			continue // another test's own
		}
		if out := s.run("explain", r, "--recursive"); strings.Count(out, "\n") < 8 {
			s.t.Errorf("explain %s says little:\n%s", r, out)
		}
	}
}

func kubectlFormats(s *shell) {
	s.run("create", "configmap", "c", "--from-literal=a=b")
	s.says("configmap/c", "get", "configmap", "c", "-o", "name")
	s.says("b", "get", "configmap", "c", "-o", "jsonpath={.data.a}")
	s.says("b", "get", "configmap", "c", "-o", "go-template={{.data.a}}")
	s.says("NAME   A\nc      b", "get", "configmap", "c", "-o", "custom-columns=NAME:.metadata.name,A:.data.a")
	s.shows([]string{"get", "configmap", "c", "-o", "yaml"}, "apiVersion: v1\ndata:\n  a: b\nkind: ConfigMap\nmetadata:")
	s.shows([]string{"get", "configmap", "c", "-o", "json"}, `"a": "b"`)
	s.shows([]string{"get", "configmap", "c", "-o", "wide"}, "NAME   DATA   AGE\nc      1      ")
	s.shows([]string{"get", "configmap", "c", "--show-labels"}, "LABELS\n", "<none>")
	s.shows([]string{"get", "configmaps", "--no-headers"}, "c ", "kube-root-ca.crt")
	s.shows([]string{"get", "configmap", "c", "-L", "app"}, "NAME   DATA   AGE   APP")
	s.says("c\nkube-root-ca.crt", "get", "configmaps", "--sort-by=.metadata.name", "-o", `jsonpath={range .items[*]}{.metadata.name}{"\n"}{end}`)
	s.shows([]string{"get", "configmaps", "-A", "--chunk-size=1"}, "NAMESPACE", "kube-system")
	s.says("configmap/c", "get", "configmaps", "--field-selector=metadata.name=c", "-o", "name")
	s.shows([]string{"get", "--raw", "/version"}, `"major": "1"`, `"minor": "37"`)
	s.shows([]string{"get", "--raw", "/healthz"}, "ok")
	s.shows([]string{"get", "--raw", "/readyz?verbose"}, "[+]ping ok", "readyz check passed")
}

func kubectlWait(s *shell) {
	s.feed(webManifest, "apply", "-f", "-")
	s.says("deployment.apps/web condition met", "wait", "--for=condition=Available", "deployment/web", "--timeout=30s")
	s.says("deployment.apps/web condition met", "wait", "--for=jsonpath={.status.readyReplicas}=2", "deployment/web", "--timeout=30s")
	s.refuses("", []string{"wait", "--for=condition=Nonsense", "deployment/web", "--timeout=1s"}, "error: timed out waiting for the condition on deployments/web")
	s.run("create", "configmap", "c")
	done := make(chan string, 1)
	go func() {
		out, _ := s.try("", "wait", "--for=delete", "configmap/c", "--timeout=30s")
		done <- out
	}()
	s.run("delete", "configmap", "c")
	if out := <-done; out != "configmap/c condition met" && out != "" {
		s.t.Errorf("wait for deletion says %q", out)
	}
	s.shows([]string{"get", "pods", "-l", "app=web"}, "1/1", "Running")
}

func kubectlScale(s *shell) {
	s.feed(webManifest, "apply", "-f", "-")
	s.says("deployment.apps/web scaled", "scale", "deployment", "web", "--replicas=3")
	s.says("deployment.apps/web scaled", "scale", "--current-replicas=3", "deployment/web", "--replicas=1")
	s.refuses("", []string{"scale", "--current-replicas=3", "deployment/web", "--replicas=1"}, "error: Expected replicas to be 3, was 1")
	s.shows([]string{"autoscale", "deployment", "web", "--min=1", "--max=4", "--cpu-percent=50"}, "horizontalpodautoscaler.autoscaling/web autoscaled")
	s.shows([]string{"get", "hpa", "web"}, "NAME   REFERENCE        TARGETS              MINPODS   MAXPODS   REPLICAS   AGE", "Deployment/web   cpu: <unknown>/50%   1         4")
	s.says("50", "get", "horizontalpodautoscalers.v1.autoscaling", "web", "-o", "jsonpath={.spec.targetCPUUtilizationPercentage}")
	s.says("Resource cpu 50", "get", "horizontalpodautoscalers.v2.autoscaling", "web", "-o", "jsonpath={.spec.metrics[0].type} {.spec.metrics[0].resource.name} {.spec.metrics[0].resource.target.averageUtilization}")
	s.run("create", "-f", s.file("set.yaml", strings.NewReplacer("Deployment", "StatefulSet", "name: web", "name: set").Replace(webManifest)))
	s.says("statefulset.apps/set scaled", "scale", "statefulset/set", "--replicas=0")
	s.says("0", "get", "statefulset", "set", "-o", "jsonpath={.spec.replicas}")
}

func kubectlRollout(s *shell) {
	s.feed(webManifest, "apply", "-f", "-")
	s.shows([]string{"rollout", "status", "deployment/web", "--timeout=30s"}, `deployment "web" successfully rolled out`)
	s.run("set", "image", "deployment/web", "server=registry.example/web:v2")
	s.run("annotate", "deployment/web", "kubernetes.io/change-cause=to v2", "--overwrite")
	s.shows([]string{"rollout", "status", "deployment/web", "--timeout=30s"}, `deployment "web" successfully rolled out`)
	eventually(s.t, "the history has the cause", func() error {
		if out := s.run("rollout", "history", "deployment/web"); !strings.Contains(out, "2         to v2") {
			return fmt.Errorf("it is\n%s", out)
		}
		return nil
	})
	s.shows([]string{"rollout", "history", "deployment/web", "--revision=1"}, "registry.example/web:v1")
	s.says("deployment.apps/web rolled back", "rollout", "undo", "deployment/web")
	s.says("registry.example/web:v1", "get", "deployment", "web", "-o", "jsonpath={.spec.template.spec.containers[0].image}")
	s.says("deployment.apps/web paused", "rollout", "pause", "deployment/web")
	s.refuses("", []string{"rollout", "undo", "deployment/web"}, "cannot rollback a paused deployment")
	s.says("deployment.apps/web resumed", "rollout", "resume", "deployment/web")
	s.says("deployment.apps/web restarted", "rollout", "restart", "deployment/web")
}

func kubectlSet(s *shell) {
	s.feed(webManifest, "apply", "-f", "-")
	s.says("deployment.apps/web image updated", "set", "image", "deployment/web", "*=registry.example/web:v9")
	s.says("deployment.apps/web env updated", "set", "env", "deployment/web", "A=b")
	s.says("deployment.apps/web resource requirements updated", "set", "resources", "deployment/web", "--limits=cpu=200m,memory=64Mi")
	s.says("deployment.apps/web serviceaccount updated", "set", "serviceaccount", "deployment/web", "default")
	s.says("registry.example/web:v9 A=b 200m default", "get", "deployment", "web", "-o",
		"jsonpath={.spec.template.spec.containers[0].image} {.spec.template.spec.containers[0].env[0].name}={.spec.template.spec.containers[0].env[0].value} {.spec.template.spec.containers[0].resources.limits.cpu} {.spec.template.spec.serviceAccountName}")
	s.run("create", "service", "clusterip", "svc", "--tcp=80")
	s.says("service/svc selector updated", "set", "selector", "service", "svc", "app=web")
	s.run("create", "rolebinding", "rb", "--clusterrole=view", "--user=bob")
	s.says("rolebinding.rbac.authorization.k8s.io/rb subjects updated", "set", "subject", "rolebinding", "rb", "--user=alice")
}

func kubectlExpose(s *shell) {
	s.feed(webManifest, "apply", "-f", "-")
	s.says("service/web exposed", "expose", "deployment", "web", "--port=80", "--target-port=8080")
	s.shows([]string{"get", "service", "web"}, "NAME   TYPE        CLUSTER-IP", "ClusterIP   10.", "<none>        80/TCP")
	s.run("rollout", "status", "deployment/web", "--timeout=30s")
	s.shows([]string{"describe", "service", "web"}, "Selector:                 app=web", "TargetPort:               8080/TCP", "Session Affinity:         None")
	eventually(s.t, "the slice has both endpoints", func() error {
		if out := s.run("get", "endpointslices", "-l", "kubernetes.io/service-name=web", "-o", "jsonpath={.items[0].endpoints[*].conditions.ready}"); out != "true true" {
			return fmt.Errorf("it has %q", out)
		}
		return nil
	})
}

func kubectlAuth(s *shell) {
	s.says("yes", "auth", "can-i", "create", "deployments")
	s.shows([]string{"auth", "whoami"}, "Username", "kubernetes-admin", "[system:masters system:authenticated]")
	s.run("create", "serviceaccount", "reader")
	s.run("create", "role", "reads", "--verb=get,list,watch", "--resource=pods")
	s.run("create", "rolebinding", "reads", "--role=reads", "--serviceaccount="+s.namespace+":reader")
	as := "--as=system:serviceaccount:" + s.namespace + ":reader"
	eventually(s.t, "the binding counts", func() error {
		out, err := s.try("", "auth", "can-i", "list", "pods", as)
		if err != nil || out != "yes" {
			return fmt.Errorf("can-i says %q, %v", out, err)
		}
		return nil
	})
	s.refuses("", []string{"auth", "can-i", "delete", "pods", as}, "no")
	s.refuses("", []string{"get", "pods", "-n", "kube-system", as}, `Error from server (Forbidden): pods is forbidden: User "system:serviceaccount:NS:reader" cannot list resource "pods" in API group "" in the namespace "kube-system"`)
	s.shows([]string{"auth", "can-i", "--list", as}, "Resources", "pods", "[get list watch]", "selfsubjectaccessreviews.authorization.k8s.io")
	// Nobody hands out more than they have.
	s.run("create", "role", "grants", "--verb=create,get,update", "--resource=roles.rbac.authorization.k8s.io")
	s.run("create", "rolebinding", "grants", "--role=grants", "--serviceaccount="+s.namespace+":reader")
	s.refuses("", []string{"create", "role", "more", "--verb=delete", "--resource=pods", as},
		`is attempting to grant RBAC permissions not currently held:`, `{APIGroups:[""], Resources:["pods"], Verbs:["delete"]}`)
	s.file("role.yaml", "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: reconciled, namespace: "+s.namespace+"}\nrules: [{apiGroups: [\"\"], resources: [pods], verbs: [get]}]\n")
	s.shows([]string{"auth", "reconcile", "-f", "role.yaml"}, "role.rbac.authorization.k8s.io/reconciled reconciled")
	// A token of the account is the account.
	token := s.run("create", "token", "reader")
	s.shows([]string{"--token=" + token, "auth", "whoami"}, "system:serviceaccount:NS:reader")
}

func kubectlDiscovery(s *shell) {
	s.shows([]string{"api-resources"}, "NAME", "SHORTNAMES", "deployments ", "deploy", "apps/v1", "horizontalpodautoscalers", "hpa", "autoscaling/v2", "customresourcedefinitions")
	s.shows([]string{"api-resources", "-o", "wide", "--api-group=batch"}, "create,delete,deletecollection,get,list,patch,update,watch")
	s.shows([]string{"api-versions"}, "apps/v1", "autoscaling/v1", "autoscaling/v2", "batch/v1", "policy/v1", "rbac.authorization.k8s.io/v1", "storage.k8s.io/v1", "apiregistration.k8s.io/v1", "apiextensions.k8s.io/v1")
	s.shows([]string{"version"}, "Server Version: v1.37")
	s.shows([]string{"cluster-info"}, "Kubernetes control plane", "is running at", s.c.config.Host)
	s.shows([]string{"get", "apiservices"}, "v1.apps", "Local", "True")
	s.shows([]string{"get", "componentstatuses"}, "scheduler", "controller-manager", "etcd-0", "Healthy")
}

func kubectlMistakes(s *shell) {
	s.refuses("", []string{"get", "nonsense"}, `error: the server doesn't have a resource type "nonsense"`)
	s.refuses("", []string{"get", "pod", "none"}, `Error from server (NotFound): pods "none" not found`)
	s.refuses(strings.Replace(webManifest, "replicas: 2", "replicsa: 2", 1), []string{"apply", "-f", "-"}, `strict decoding error: unknown field "spec.replicsa"`)
	s.refuses(strings.Replace(webManifest, "replicas: 2", "replicas: two", 1), []string{"apply", "-f", "-"}, "cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32")
	s.refuses(strings.Replace(webManifest, "name: web", "name: Web_1", 1), []string{"apply", "-f", "-"}, `metadata.name: Invalid value: "Web_1"`)
	s.refuses(strings.Replace(webManifest, "labels: {app: web}}\n", "labels: {app: x}}\n", 1), []string{"apply", "-f", "-"}, "spec.template.metadata.labels: Invalid value", "`selector` does not match template `labels`")
	s.refuses("a: b\n  c: d", []string{"apply", "-f", "-"}, "error converting YAML to JSON")
	s.refuses("kind: Nonsense\napiVersion: example.org/v1\nmetadata: {name: a}", []string{"apply", "-f", "-"}, `no matches for kind "Nonsense" in version "example.org/v1"`)
	s.refuses("", []string{"create", "configmap", "c", "-n", "no-such-namespace"}, `namespaces "no-such-namespace" not found`)
	s.refuses("", []string{"create", "token", "nobody"}, `serviceaccounts "nobody" not found`)
}

func kubectlDelete(s *shell) {
	s.feed(webManifest, "apply", "-f", "-")
	s.run("rollout", "status", "deployment/web", "--timeout=30s")
	s.shows([]string{"delete", "deployment", "web", "--cascade=orphan"}, `deployment.apps "web" deleted`)
	s.shows([]string{"get", "replicasets"}, "web-")
	s.feed(webManifest, "apply", "-f", "-")
	s.shows([]string{"delete", "deployment", "web", "--cascade=foreground"}, `deployment.apps "web" deleted`)
	eventually(s.t, "nothing is left", func() error {
		if out := s.run("get", "deployments,replicasets,pods", "-o", "name"); out != "" {
			return fmt.Errorf("there is\n%s", out)
		}
		return nil
	})
	s.run("create", "configmap", "a")
	s.run("create", "configmap", "b")
	s.run("label", "configmap", "a", "b", "x=y")
	out := s.run("delete", "configmaps", "-l", "x=y")
	if strings.Count(out, "deleted") != 2 {
		s.t.Errorf("delete by label says\n%s", out)
	}
	s.shows([]string{"delete", "configmap", "none", "--ignore-not-found"})
}

const widgets = `apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata:
  name: widgets.GROUP
spec:
  group: GROUP
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd], categories: [all]}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.size, statusReplicasPath: .status.size, labelSelectorPath: .status.selector}}
    additionalPrinterColumns:
    - {name: Size, type: integer, jsonPath: .spec.size}
    - {name: Colour, type: string, jsonPath: .spec.colour, priority: 1}
    selectableFields: [{jsonPath: .spec.colour}]
    schema:
      openAPIV3Schema:
        type: object
        description: Widget is a thing to test with.
        properties:
          spec:
            type: object
            description: What is wanted.
            required: [size]
            x-kubernetes-validations:
            - {rule: "self.size % 2 == 0", message: size must be even}
            - {rule: "self.size >= oldSelf.size", message: it may only grow}
            properties:
              size: {type: integer, minimum: 0, maximum: 10, description: How large it is.}
              colour: {type: string, default: blue, enum: [blue, red]}
              parts:
                type: array
                x-kubernetes-list-type: map
                x-kubernetes-list-map-keys: [name]
                items: {type: object, required: [name], properties: {name: {type: string}, count: {type: integer}}}
          status: {type: object, properties: {size: {type: integer}, selector: {type: string}}}
`

func kubectlCustomResources(s *shell) {
	group := s.namespace + ".example.com"
	widget := "apiVersion: " + group + "/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 2, parts: [{name: a, count: 1}]}\n"
	s.says("customresourcedefinition.apiextensions.k8s.io/widgets."+"NS.example.com created", "apply", "-f", s.file("crd.yaml", strings.ReplaceAll(widgets, "GROUP", group)))
	s.t.Cleanup(func() { s.run("delete", "crd", "widgets."+group) })
	s.shows([]string{"wait", "--for=condition=Established", "crd/widgets." + group, "--timeout=5s"}, "condition met")
	s.says("widget.NS.example.com/w created", "apply", "-f", s.file("w.yaml", widget))
	s.says("widget.NS.example.com/w unchanged", "apply", "-f", "w.yaml")
	s.shows([]string{"get", "wd"}, "NAME   SIZE\nw      2")
	s.shows([]string{"get", "wd", "-o", "wide"}, "COLOUR", "blue")
	s.shows([]string{"get", "all"}, "widget.NS.example.com/w")
	s.says("widget.NS.example.com/w", "get", "wd", "--field-selector=spec.colour=blue", "-o", "name")
	s.says("", "get", "wd", "--field-selector=spec.colour=red", "-o", "name")
	s.shows([]string{"explain", "widgets.spec"}, "What is wanted.", "size\t<integer> -required-", "How large it is.")
	s.says("widget.NS.example.com/w scaled", "scale", "widget/w", "--replicas=4")
	s.says("4", "get", "wd", "w", "-o", "jsonpath={.spec.size}")
	for _, bad := range []struct{ patch, want string }{
		{`{"spec":{"size":5}}`, `spec: Invalid value: `},
		{`{"spec":{"size":5}}`, `size must be even`},
		{`{"spec":{"size":2}}`, `it may only grow`},
		{`{"spec":{"size":12}}`, `spec.size: Invalid value: 12: spec.size in body should be less than or equal to 10`},
		{`{"spec":{"colour":"green"}}`, `spec.colour: Unsupported value: "green": supported values: "blue", "red"`},
		{`{"spec":{"size":null}}`, `spec.size: Required value`},
	} {
		s.refuses("", []string{"patch", "widget", "w", "--type=merge", "-p", bad.patch}, bad.want)
	}
	s.refuses(strings.Replace(widget, "size: 2", "size: 4, nonsense: 1", 1), []string{"apply", "-f", "-"}, `unknown field "spec.nonsense"`)
	s.says("widget.NS.example.com/w serverside-applied", "apply", "--server-side", "--field-manager=parts", "-f",
		s.file("part.yaml", "apiVersion: "+group+"/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 4, parts: [{name: b, count: 2}]}\n"))
	// kubectl hands what it had applied from the client over to the new manager, which
	// does not want part a any more; another manager adds to the list.
	s.says("b", "get", "wd", "w", "-o", "jsonpath={.spec.parts[*].name}")
	s.says("widget.NS.example.com/w serverside-applied", "apply", "--server-side", "--field-manager=more", "-f",
		s.file("more.yaml", "apiVersion: "+group+"/v1\nkind: Widget\nmetadata: {name: w}\nspec: {size: 4, parts: [{name: c}]}\n"))
	s.says("b c", "get", "wd", "w", "-o", "jsonpath={.spec.parts[*].name}")
	s.says("widget.NS.example.com/w patched", "patch", "widget", "w", "--subresource=status", "--type=merge", "-p", `{"status":{"size":4},"spec":{"size":8}}`)
	s.says("4 4", "get", "wd", "w", "-o", "jsonpath={.spec.size} {.status.size}")
	s.shows([]string{"delete", "-f", "w.yaml"}, `widget.NS.example.com "w" deleted`)
}

func kubectlWorkloads(s *shell) {
	s.run("create", "-f", s.file("set.yaml", strings.NewReplacer("Deployment", "StatefulSet", "replicas: 2", "replicas: 0", "name: web", "name: set").Replace(webManifest)))
	s.shows([]string{"get", "statefulsets"}, "NAME   READY   AGE", "set    0/0")
	s.run("create", "-f", s.file("daemon.yaml", strings.NewReplacer("Deployment", "DaemonSet", "  replicas: 2\n", "", "name: web", "name: daemon").Replace(webManifest)))
	s.shows([]string{"get", "daemonsets"}, "NAME     DESIRED   CURRENT   READY   UP-TO-DATE   AVAILABLE   NODE SELECTOR   AGE")
	s.run("create", "job", "j", "--image=registry.example/job:v1")
	s.shows([]string{"get", "jobs"}, "NAME   STATUS", "COMPLETIONS   DURATION   AGE")
	s.run("create", "cronjob", "cj", "--image=registry.example/job:v1", "--schedule=@daily")
	s.shows([]string{"get", "cronjobs"}, "NAME   SCHEDULE   TIMEZONE   SUSPEND   ACTIVE   LAST SCHEDULE   AGE", "@daily     <none>     False     0        <none>")
	s.run("create", "pdb", "p", "--selector=app=web", "--max-unavailable=1")
	s.shows([]string{"get", "pdb"}, "NAME   MIN AVAILABLE   MAX UNAVAILABLE   ALLOWED DISRUPTIONS   AGE", "p      N/A             1")
	for _, what := range []string{"statefulset/set", "daemonset/daemon", "job/j", "cronjob/cj", "pdb/p"} {
		s.shows([]string{"describe", what}, "Name:")
	}
	s.refuses("", []string{"create", "cronjob", "bad", "--image=i", "--schedule=nonsense"}, `spec.schedule: Invalid value: "nonsense"`)
	s.refuses("", []string{"patch", "job", "j", "-p", `{"spec":{"completions":9}}`}, "spec.completions: Invalid value: 9: field is immutable")
}

func kubectlKustomize(s *shell) {
	s.file("web.yaml", webManifest)
	s.file("kustomization.yaml", "resources: [web.yaml]\nnamePrefix: my-\nnamespace: "+s.namespace+"\nconfigMapGenerator: [{name: settings, literals: [a=b]}]\n")
	s.shows([]string{"apply", "-k", "."}, "deployment.apps/my-web created", "configmap/my-settings-")
	s.shows([]string{"apply", "-k", "."}, "deployment.apps/my-web unchanged", "unchanged")
	s.shows([]string{"delete", "-k", "."}, `deployment.apps "my-web" deleted`)
}

func kubectlCertificates(s *shell) {
	csr := fill(s.t, manifests(s.t)[csrKind], s.namespace)
	data, err := csr.MarshalJSON()
	if err != nil {
		s.t.Fatal(err)
	}
	name := csr.GetName()
	s.feed(string(data), "create", "-f", "-")
	s.t.Cleanup(func() { s.run("delete", "csr", name) })
	s.shows([]string{"get", "csr", name}, "NAME", "SIGNERNAME", "REQUESTOR", "REQUESTEDDURATION", "CONDITION", "example.com/signer   kubernetes-admin   <none>              Pending")
	s.says("certificatesigningrequest.certificates.k8s.io/"+name+" approved", "certificate", "approve", name)
	s.shows([]string{"get", "csr", name}, "Approved")
	s.refuses("", []string{"certificate", "deny", name}, "is already Approved")
	s.shows([]string{"describe", "csr", name}, "Requesting User:", "Subject:", "Common Name:    bob")
}

func kubectlDebug(s *shell) {
	s.run("run", "p", "--image=registry.example/app:v1")
	s.run("wait", "--for=condition=Ready", "pod/p", "--timeout=30s")
	s.shows([]string{"debug", "p", "--image=registry.example/tools:v1", "--container=tools", "--target=p", "--attach=false"}, "Targeting container")
	s.says("tools registry.example/tools:v1 p", "get", "pod", "p", "-o", "jsonpath={.spec.ephemeralContainers[0].name} {.spec.ephemeralContainers[0].image} {.spec.ephemeralContainers[0].targetContainerName}")
	s.run("debug", "p", "--image=registry.example/tools:v1", "--copy-to=p2", "--share-processes", "--attach=false")
	s.says("true 2", "get", "pod", "p2", "-o", `go-template={{.spec.shareProcessNamespace}} {{len .spec.containers}}`)
}

package apiserver_test

import (
	"encoding/json"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	applycorev1 "k8s.io/client-go/applyconfigurations/core/v1"
)

func TestCreate(t *testing.T) {
	c := clientWithNamespace(t, start(t))
	p := pod("p")
	p.Status.Phase = corev1.PodRunning
	got, err := c.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{FieldManager: "me"})
	if err != nil {
		t.Fatal(err)
	}
	if got.UID == "" || got.ResourceVersion == "" || got.CreationTimestamp.IsZero() || got.Status.Phase != corev1.PodPending ||
		got.Spec.RestartPolicy != corev1.RestartPolicyAlways || len(got.ManagedFields) != 1 || got.ManagedFields[0].Manager != "me" {
		t.Errorf("created: %+v", got)
	}
	read, err := c.CoreV1().Pods("default").Get(t.Context(), "p", metav1.GetOptions{})
	if err != nil || read.ResourceVersion != got.ResourceVersion {
		t.Errorf("read back: %+v, %v", read, err)
	}

	errs := map[string]struct {
		pod  func(*corev1.Pod)
		want string
	}{
		"same name":    {func(*corev1.Pod) {}, `pods "p" already exists`},
		"bad name":     {func(p *corev1.Pod) { p.Name = "P!" }, `Pod "P!" is invalid: metadata.name: Invalid value: "P!": a lowercase RFC 1123 subdomain`},
		"no name":      {func(p *corev1.Pod) { p.Name = "" }, `Pod "" is invalid: metadata.name: Required value: name or generateName is required`},
		"invalid":      {func(p *corev1.Pod) { p.Name = "q"; p.Spec.Containers = nil }, `Pod "q" is invalid: spec.containers: Required value`},
		"no namespace": {func(p *corev1.Pod) { p.Name = "q"; p.Namespace = "nowhere" }, `namespaces "nowhere" not found`},
		"versioned":    {func(p *corev1.Pod) { p.Name = "q"; p.ResourceVersion = "7" }, `resourceVersion should not be set on objects to be created`},
	}
	for name, test := range errs {
		t.Run(name, func(t *testing.T) {
			p := pod("p")
			test.pod(p)
			_, err := c.CoreV1().Pods(p.Namespace).Create(t.Context(), p, metav1.CreateOptions{})
			if err == nil || !strings.HasPrefix(err.Error(), test.want) {
				t.Errorf("got  %v\nwant %s", err, test.want)
			}
		})
	}

	generated := pod("")
	generated.GenerateName = "gen-"
	if got, err = c.CoreV1().Pods("default").Create(t.Context(), generated, metav1.CreateOptions{}); err != nil || len(got.Name) != 9 {
		t.Errorf("generateName: %v, %v", got, err)
	}
	dry := pod("dry")
	if got, err = c.CoreV1().Pods("default").Create(t.Context(), dry, metav1.CreateOptions{DryRun: []string{"All"}}); err != nil || got.UID == "" {
		t.Errorf("dry run: %v, %v", got, err)
	}
	if _, err = c.CoreV1().Pods("default").Get(t.Context(), "dry", metav1.GetOptions{}); !apierrors.IsNotFound(err) || err.Error() != `pods "dry" not found` {
		t.Errorf("a dry run wrote: %v", err)
	}
}

func TestUpdate(t *testing.T) {
	c := clientWithNamespace(t, start(t)).CoreV1().ConfigMaps("default")
	made, err := c.Create(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Data: map[string]string{"a": "1"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	same, err := c.Update(t.Context(), made, metav1.UpdateOptions{})
	if err != nil || same.ResourceVersion != made.ResourceVersion {
		t.Errorf("an update without change wrote: %v, %v", same, err)
	}
	changed := made.DeepCopy()
	changed.Data["a"] = "2"
	if changed, err = c.Update(t.Context(), changed, metav1.UpdateOptions{}); err != nil || changed.ResourceVersion == made.ResourceVersion {
		t.Fatalf("update: %v, %v", changed, err)
	}
	stale := made.DeepCopy()
	stale.Data["a"] = "3"
	_, err = c.Update(t.Context(), stale, metav1.UpdateOptions{})
	want := `Operation cannot be fulfilled on configmaps "m": the object has been modified; please apply your changes to the latest version and try again`
	if err == nil || err.Error() != want || !apierrors.IsConflict(err) {
		t.Errorf("stale update: %v", err)
	}
	stale.ResourceVersion = ""
	if stale, err = c.Update(t.Context(), stale, metav1.UpdateOptions{}); err != nil || stale.Data["a"] != "3" {
		t.Errorf("unconditional update: %v, %v", stale, err)
	}
	other := stale.DeepCopy()
	other.ResourceVersion, other.UID = "", "11111111-1111-1111-1111-111111111111"
	if _, err = c.Update(t.Context(), other, metav1.UpdateOptions{}); !apierrors.IsConflict(err) {
		t.Errorf("other uid: %v", err)
	}
	yes := true
	fixed := stale.DeepCopy()
	fixed.Immutable = &yes
	if fixed, err = c.Update(t.Context(), fixed, metav1.UpdateOptions{}); err != nil {
		t.Fatal(err)
	}
	fixed.Data = nil
	if _, err = c.Update(t.Context(), fixed, metav1.UpdateOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("immutable: %v", err)
	}
	created, err := c.Update(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "n"}}, metav1.UpdateOptions{})
	if err != nil || created.UID == "" {
		t.Errorf("create on update: %v, %v", created, err)
	}
}

func TestPatch(t *testing.T) {
	c := clientWithNamespace(t, start(t)).CoreV1().Pods("default")
	p := pod("p")
	p.Spec.Containers = append(p.Spec.Containers, corev1.Container{Name: "d", Image: "j"})
	if _, err := c.Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name  string
		kind  types.PatchType
		patch string
		check func(*corev1.Pod) bool
		err   string
	}{
		{"json", types.JSONPatchType, `[{"op":"replace","path":"/spec/containers/0/image","value":"new"}]`, func(p *corev1.Pod) bool { return p.Spec.Containers[0].Image == "new" }, ""},
		{"json test fails", types.JSONPatchType, `[{"op":"test","path":"/spec/containers/0/image","value":"no"}]`, nil, "the server rejected our request due to an error in our request"},
		{"merge", types.MergePatchType, `{"metadata":{"labels":{"app":null,"b":"c"}}}`, func(p *corev1.Pod) bool { return len(p.Labels) == 1 && p.Labels["b"] == "c" }, ""},
		{"strategic", types.StrategicMergePatchType, `{"spec":{"containers":[{"name":"d","image":"k"}]}}`, func(p *corev1.Pod) bool { return len(p.Spec.Containers) == 2 && p.Spec.Containers[1].Image == "k" }, ""},
		{"status is not here", types.MergePatchType, `{"status":{"phase":"Failed"}}`, func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodPending }, ""},
		{"wrong type", types.MergePatchType, `{"spec":{"containers":"x"}}`, nil, ` "" is invalid: patch: Invalid value: "{`},
		{"wrong type, strategic", types.StrategicMergePatchType, `{"spec":{"restartPolicy":3}}`, nil, ` "" is invalid: patch: Invalid value: "map[spec:map[restartPolicy:3]]": cannot convert int64 to v1.RestartPolicy`},
		{"array", types.MergePatchType, `[1]`, nil, "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"},
		{"unknown operation", types.JSONPatchType, `[{"op":"foo","path":"/a"}]`, nil, "the server rejected our request due to an error in our request"},
		{"another kind", types.MergePatchType, `{"kind":"Namespace"}`, nil, ` "" is invalid: patch: Invalid value: "{`},
		{"another kind, strategic", types.StrategicMergePatchType, `{"kind":"Secret"}`, func(p *corev1.Pod) bool { return true }, ""},
		{"replace what is not there", types.JSONPatchType, `[{"op":"replace","path":"/metadata/annotations","value":{"x":"y"}}]`, func(p *corev1.Pod) bool { return p.Annotations["x"] == "y" }, ""},
		{"no merge key", types.StrategicMergePatchType, `{"spec":{"containers":[{"image":"k"}]}}`, nil, `map: map[image:k] does not contain declared merge key: name`},
		{"another namespace", types.MergePatchType, `{"metadata":{"namespace":"q"}}`, nil, "the namespace of the provided object does not match the namespace sent on the request"},
		{"another uid", types.MergePatchType, `{"metadata":{"uid":"q"}}`, nil, `Pod "p" is invalid: metadata.uid: Invalid value: "q": field is immutable`},
		{"no object", types.MergePatchType, `null`, nil, "Invalid JSON Patch"},
		{"stale", types.MergePatchType, `{"metadata":{"resourceVersion":"1"}}`, nil, `Operation cannot be fulfilled on pods "p"`},
		{"not JSON", types.MergePatchType, `{`, nil, "invalid JSON patch"},
		{"new name", types.MergePatchType, `{"metadata":{"name":"q"}}`, nil, "the name of the object (q) does not match the name on the URL (p)"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := c.Patch(t.Context(), "p", test.kind, []byte(test.patch), metav1.PatchOptions{})
			switch {
			case test.err != "":
				if err == nil || !strings.HasPrefix(err.Error(), test.err) {
					t.Errorf("got  %v\nwant %s", err, test.err)
				}
			case err != nil:
				t.Error(err)
			case !test.check(got):
				t.Errorf("patched to %+v", got)
			}
		})
	}
	if _, err := c.Patch(t.Context(), "missing", types.MergePatchType, []byte(`{}`), metav1.PatchOptions{}); !apierrors.IsNotFound(err) {
		t.Errorf("missing: %v", err)
	}
}

func TestApply(t *testing.T) {
	c := clientWithNamespace(t, start(t)).CoreV1().ConfigMaps("default")
	apply := func(manager, value string, force bool) (*corev1.ConfigMap, error) {
		return c.Apply(t.Context(), applycorev1.ConfigMap("m", "default").WithData(map[string]string{"k": value}),
			metav1.ApplyOptions{FieldManager: manager, Force: force})
	}
	got, err := apply("one", "1", false)
	if err != nil || got.Data["k"] != "1" || len(got.ManagedFields) != 1 || got.ManagedFields[0].Operation != metav1.ManagedFieldsOperationApply {
		t.Fatalf("create by apply: %+v, %v", got, err)
	}
	again, err := apply("one", "1", false)
	if err != nil || again.ResourceVersion != got.ResourceVersion {
		t.Errorf("the same apply wrote: %v, %v", again, err)
	}
	_, err = apply("two", "2", false)
	var status apierrors.APIStatus
	want := `Apply failed with 1 conflict: conflict with "one": .data.k`
	if status, _ = err.(apierrors.APIStatus); status == nil || !apierrors.IsConflict(err) || err.Error() != want || len(status.Status().Details.Causes) != 1 {
		t.Errorf("conflict: %v", err)
	}
	if got, err = apply("two", "2", true); err != nil || got.Data["k"] != "2" {
		t.Errorf("forced: %v, %v", got, err)
	}
	if _, err = c.Patch(t.Context(), "m", types.ApplyPatchType, []byte(`{"apiVersion":"v1","kind":"ConfigMap"}`), metav1.PatchOptions{}); !apierrors.IsInvalid(err) {
		t.Errorf("apply without a manager: %v", err)
	}
	// A manager that applies less gives the rest up.
	got, err = c.Apply(t.Context(), applycorev1.ConfigMap("m", "default"), metav1.ApplyOptions{FieldManager: "two"})
	if err != nil || len(got.Data) != 0 {
		t.Errorf("after giving up: %v, %v", got.Data, err)
	}
}

func TestStrictDecoding(t *testing.T) {
	s := start(t)
	clientWithNamespace(t, s)
	const body = `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p"},"spec":{"foo":1,"containers":[{"name":"c","name":"c"}]}}`
	code, _, data := do(t, s, "POST", "/api/v1/namespaces/default/pods?fieldValidation=Strict", body)
	var status metav1.Status
	_ = json.Unmarshal(data, &status)
	want := `Pod in version "v1" cannot be handled as a Pod: strict decoding error: unknown field "spec.foo", duplicate field "spec.containers[0].name"`
	if code != 400 || status.Message != want {
		t.Errorf("strict: %d %s", code, status.Message)
	}
	code, header, data := do(t, s, "POST", "/api/v1/namespaces/default/pods", body)
	if code != 201 || len(header["Warning"]) != 2 || header["Warning"][0] != `299 - "unknown field \"spec.foo\""` {
		t.Errorf("warn: %d %v %s", code, header["Warning"], data)
	}
	if code, header, data = do(t, s, "PUT", "/api/v1/namespaces/default/pods/p?fieldValidation=Ignore", body); code != 200 || len(header["Warning"]) != 0 {
		t.Errorf("ignore: %d %v %s", code, header["Warning"], data)
	}
	if code, _, data = do(t, s, "POST", "/api/v1/namespaces/default/pods", `{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"}}`); code != 400 {
		t.Errorf("wrong kind: %d %s", code, data)
	}
	if code, _, data = do(t, s, "POST", "/api/v1/namespaces/default/pods?fieldValidation=Strict", "kind: Pod\nmetadata: [", "Content-Type", "application/yaml"); code != 400 {
		t.Errorf("bad YAML: %d %s", code, data)
	}
	if code, _, _ = do(t, s, "POST", "/api/v1/namespaces/default/pods", body, "Content-Type", "text/plain"); code != 415 {
		t.Errorf("media type: %d", code)
	}
	if code, _, _ = do(t, s, "POST", "/api/v1/namespaces/default/pods", strings.Repeat(" ", 4<<20)); code != 413 {
		t.Errorf("too large: %d", code)
	}
}

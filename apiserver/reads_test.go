package apiserver_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/strake-io/strake/apiserver"
)

func withPods(t *testing.T, n int, change ...func(*apiserver.Config)) (*apiserver.Server, kubernetes.Interface) {
	s := start(t, change...)
	c := clientWithNamespace(t, s)
	for i := range n {
		p := pod(fmt.Sprintf("p%02d", i))
		p.Labels["parity"] = fmt.Sprint(i % 2)
		p.Spec.NodeName = fmt.Sprintf("n%d", i%3)
		if _, err := c.CoreV1().Pods("default").Create(t.Context(), p, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	return s, c
}

func TestListSelectors(t *testing.T) {
	_, c := withPods(t, 12)
	tests := []struct {
		labels, fields string
		want           int
		err            string
	}{
		{"", "", 12, ""},
		{"parity=1", "", 6, ""},
		{"parity in (0,1),app!=y", "", 12, ""},
		{"", "spec.nodeName=n1", 4, ""},
		{"parity=0", "spec.nodeName=n1", 2, ""},
		{"", "metadata.name=p03", 1, ""},
		{"", "metadata.name=p03,spec.nodeName=n1", 0, ""},
		{"", "status.phase!=Pending", 0, ""},
		{"", "spec.nodeName!=n1", 8, ""},
		{"", "spec.foo=x", 0, "field label not supported: spec.foo"},
		{"a in b", "", 0, "unable to parse requirement"},
	}
	for _, test := range tests {
		list, err := c.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{LabelSelector: test.labels, FieldSelector: test.fields})
		if test.err != "" {
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("%q %q: %v, want %s", test.labels, test.fields, err, test.err)
			}
			continue
		}
		if err != nil || len(list.Items) != test.want {
			t.Errorf("%q %q: %d, %v, want %d", test.labels, test.fields, len(list.Items), err, test.want)
		}
	}
	_, err := c.CoreV1().ConfigMaps("").List(t.Context(), metav1.ListOptions{FieldSelector: "data=x"})
	if err == nil || err.Error() != `"data" is not a known field selector: only "metadata.name", "metadata.namespace"` {
		t.Errorf("unknown field: %v", err)
	}
}

func TestPagesAreOneRevision(t *testing.T) { synctest.Test(t, testPages) }

func testPages(t *testing.T) {
	// A short history: the last pages come from the store.
	_, c := withPods(t, 10, func(c *apiserver.Config) { c.History = 4 })
	pods := c.CoreV1().Pods("default")
	var names []string
	var revision, token string
	for page := 0; ; page++ {
		list, err := pods.List(t.Context(), metav1.ListOptions{Limit: 3, Continue: token})
		if err != nil {
			t.Fatal(err)
		}
		if revision == "" {
			revision = list.ResourceVersion
			if list.RemainingItemCount == nil || *list.RemainingItemCount != 7 {
				t.Errorf("remaining: %v, want 7", list.RemainingItemCount)
			}
		}
		if list.ResourceVersion != revision {
			t.Errorf("page %d is at %s, the first at %s", page, list.ResourceVersion, revision)
		}
		for _, p := range list.Items {
			names = append(names, p.Name)
		}
		if token = list.Continue; token == "" {
			break
		}
		for i := range 3 {
			if _, err := pods.Create(t.Context(), pod(fmt.Sprintf("z%d-%d", page, i)), metav1.CreateOptions{}); err != nil {
				t.Fatal(err)
			}
		}
		if err := pods.Delete(t.Context(), "p09", metav1.DeleteOptions{GracePeriodSeconds: new(int64)}); err != nil && !apierrors.IsNotFound(err) {
			t.Fatal(err)
		}
	}
	if len(names) != 10 || names[9] != "p09" {
		t.Errorf("the pages hold %v", names)
	}
	at := func(opts metav1.ListOptions) error {
		_, err := pods.List(t.Context(), opts)
		return err
	}
	if err := at(metav1.ListOptions{ResourceVersion: "1000000"}); !apierrors.IsTimeout(err) || !strings.Contains(err.Error(), "Too large resource version") {
		t.Errorf("future revision: %v", err)
	}
	if err := at(metav1.ListOptions{Continue: "nonsense"}); !apierrors.IsBadRequest(err) {
		t.Errorf("bad token: %v", err)
	}
	if err := at(metav1.ListOptions{ResourceVersionMatch: "Exact"}); !apierrors.IsInvalid(err) {
		t.Errorf("match without version: %v", err)
	}
	if err := at(metav1.ListOptions{ResourceVersion: "x"}); err == nil {
		t.Error("a resourceVersion that is no number was accepted")
	}
	list, err := pods.List(t.Context(), metav1.ListOptions{ResourceVersion: revision, ResourceVersionMatch: metav1.ResourceVersionMatchExact})
	if err != nil || len(list.Items) != 10 || list.ResourceVersion != revision {
		t.Errorf("exact: %d, %v", len(list.Items), err)
	}
}

func TestViews(t *testing.T) {
	s, _ := withPods(t, 2)
	const tableType = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"
	code, _, data := do(t, s, "GET", "/api/v1/namespaces/default/pods", "", "Accept", tableType)
	var table metav1.Table
	if err := json.Unmarshal(data, &table); err != nil || code != 200 {
		t.Fatalf("%d %v %s", code, err, data)
	}
	if table.Kind != "Table" || len(table.ColumnDefinitions) != 2 || len(table.Rows) != 2 || table.Rows[1].Cells[0] != "p01" || table.ResourceVersion == "" {
		t.Errorf("table: %s", data)
	}
	if !strings.Contains(string(table.Rows[0].Object.Raw), `"kind":"PartialObjectMetadata"`) {
		t.Errorf("row object: %s", table.Rows[0].Object.Raw)
	}
	if _, _, data = do(t, s, "GET", "/api/v1/namespaces/default/pods/p00?includeObject=Object", "", "Accept", tableType); !strings.Contains(string(data), `"kind":"Pod"`) {
		t.Errorf("table of one with the object: %s", data)
	}
	if _, _, data = do(t, s, "GET", "/api/v1/namespaces", "", "Accept", tableType); !strings.Contains(string(data), `"name":"Age"`) {
		t.Errorf("default columns: %s", data)
	}
	_, _, data = do(t, s, "GET", "/api/v1/namespaces/default/pods", "", "Accept", "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io")
	if !strings.HasPrefix(string(data), `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1"`) || strings.Contains(string(data), `"image":"i"`) {
		t.Errorf("partial list: %s", data)
	}
	if _, _, data = do(t, s, "GET", "/api/v1/namespaces/default/pods/p00?pretty=true", ""); !strings.HasPrefix(string(data), "{\n  \"kind\": \"Pod\",") {
		t.Errorf("pretty: %.60s", data)
	}
	if _, _, data = do(t, s, "GET", "/api/v1/namespaces/default/pods/p00", "", "Accept", "application/yaml"); !strings.HasPrefix(string(data), "apiVersion: v1\nkind: Pod\n") {
		t.Errorf("yaml: %.60s", data)
	}
	if code, _, data = do(t, s, "GET", "/api/v1/namespaces/default/pods/p00", "", "Accept", "text/html"); code != 406 || !strings.Contains(string(data), "406: Not Acceptable\\n\\nAvailable representations: application/json, application/yaml, application/vnd.kubernetes.protobuf\"") {
		t.Errorf("text/html: %d %s", code, data)
	}
	code, header, _ := do(t, s, "GET", "/api/v1/namespaces/default/pods", "", "Accept-Encoding", "gzip")
	if code != 200 || header.Get("Content-Encoding") != "" {
		t.Errorf("a small list was compressed: %v", header)
	}
}

func TestLargeListIsCompressed(t *testing.T) {
	s, c := withPods(t, 0)
	big := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Data: map[string]string{"k": strings.Repeat("x", 200<<10)}}
	if _, err := c.CoreV1().ConfigMaps("default").Create(t.Context(), big, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	_, header, data := do(t, s, "GET", "/api/v1/configmaps", "", "Accept-Encoding", "gzip")
	if header.Get("Content-Encoding") != "gzip" || len(data) > 20<<10 {
		t.Errorf("%v, %d bytes", header, len(data))
	}
}

// Bytes made by hand must be those of the generated code.
func TestProtobufIsTheGeneratedOnes(t *testing.T) {
	s, c := withPods(t, 3)
	list, err := c.CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want, err := list.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	_, header, data := do(t, s, "GET", "/api/v1/namespaces/default/pods", "", "Accept", "application/vnd.kubernetes.protobuf")
	if header.Get("Content-Type") != "application/vnd.kubernetes.protobuf" || !strings.Contains(string(data), string(want)) {
		t.Errorf("%v: %d bytes, the generated code makes %d", header, len(data), len(want))
	}
}

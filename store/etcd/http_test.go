package etcd_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"github.com/strake-io/strake/store/etcd"
)

func TestHandler(t *testing.T) {
	s, _ := run(t, etcd.Config{
		DataDir: t.TempDir(), UnsafeNoFsync: true,
		Cluster: &etcd.Cluster{Name: "one", PeerURL: peerURL(t)},
	})
	put(t, s, "/a", "b")
	server := httptest.NewServer(s.Handler("/etcd"))
	defer server.Close()
	do := func(method, path, body string) (int, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), method, server.URL+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		data, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, string(data)
	}
	members := func(method, path, body string) (all []etcd.Member) {
		t.Helper()
		code, data := do(method, path, body)
		if err := json.Unmarshal([]byte(data), &all); err != nil || code != http.StatusOK {
			t.Fatalf("%s %s: %d %s %v", method, path, code, data, err)
		}
		return all
	}
	if all := members("GET", "/etcd/members", ""); len(all) != 1 || all[0].Name != "one" || !all[0].Self || !all[0].Leader {
		t.Errorf("%+v", all)
	}
	all := members("POST", "/etcd/members", `{"peerURL": "http://127.0.0.1:9"}`)
	if len(all) != 2 {
		t.Fatalf("%+v", all)
	}
	var added string
	for _, m := range all {
		if m.Learner && m.Name == "" {
			added = m.ID
		}
	}
	if all := members("DELETE", "/etcd/members/"+added, ""); len(all) != 1 {
		t.Errorf("%+v", all)
	}
	for _, test := range []struct {
		method, path, body string
		code               int
		why                string
	}{
		{"DELETE", "/etcd/members/x", "", 404, "there is no such member"},
		{"POST", "/etcd/members", "{", 400, "want a body"},
		{"POST", "/etcd/members", `{"peerURL": "x"}`, 400, `peerURL "x": want a URL`},
		{"GET", "/etcd/nothing", "", 404, ""},
		{"PUT", "/etcd/members", "", 405, ""},
	} {
		if code, data := do(test.method, test.path, test.body); code != test.code || !strings.Contains(data, test.why) {
			t.Errorf("%s %s: %d %s", test.method, test.path, code, data)
		}
	}
	code, backup := do("GET", "/etcd/snapshot", "")
	file := filepath.Join(t.TempDir(), "backup.db")
	if err := os.WriteFile(file, []byte(backup), 0o600); err != nil || code != http.StatusOK {
		t.Fatal(code, err)
	}
	dir := filepath.Join(t.TempDir(), "restored")
	if err := etcd.Restore(file, dir, nil, logr.Discard()); err != nil {
		t.Fatal(err)
	}
	restored, _ := run(t, etcd.Config{DataDir: dir, UnsafeNoFsync: true})
	if value(t, restored, "/a") != "b" {
		t.Error("the backup lacks a key")
	}
}

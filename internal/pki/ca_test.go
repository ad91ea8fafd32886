package pki

import (
	"bytes"
	"crypto/x509"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func TestOpenKeepsTheAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "pki")
	first, err := Open(dir, "ca", start)
	if err != nil {
		t.Fatal(err)
	}
	second, err := Open(dir, "ca", start)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(first.PEM(), second.PEM()) {
		t.Error("the second start made another authority")
	}
	info, err := os.Stat(filepath.Join(dir, "ca.key"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode of the key: %v, %v; want 0600", info.Mode(), err)
	}
}

// A crash during the first start may leave the key alone.
func TestOpenWithTheKeyAlone(t *testing.T) {
	dir := t.TempDir()
	first, err := Open(dir, "ca", start)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "ca.crt")); err != nil {
		t.Fatal(err)
	}
	second, err := Open(dir, "ca", start)
	if err != nil {
		t.Fatal(err)
	}
	for name, pair := range map[string][2]*Authority{"old by new": {first, second}, "new by old": {second, first}} {
		cert, err := pair[0].Issue(Request{CommonName: "u", DNSNames: []string{"localhost"}}, start)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{Roots: pair[1].Pool(), CurrentTime: start}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	third, err := Open(dir, "ca", start)
	if err != nil || !bytes.Equal(second.PEM(), third.PEM()) {
		t.Errorf("the new certificate was not kept: %v", err)
	}
}

func TestOpenRefusesHalfOrForeignFiles(t *testing.T) {
	other := filepath.Join(t.TempDir(), "other")
	if _, err := Open(other, "ca", start); err != nil {
		t.Fatal(err)
	}
	otherKey, err := os.ReadFile(filepath.Join(other, "ca.key"))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		spoil func(dir string) error
		now   time.Time
		want  string
	}{
		"no key":      {func(dir string) error { return os.Remove(filepath.Join(dir, "ca.key")) }, start, "does not"},
		"another key": {func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.key"), otherKey, 0o600) }, start, "belong together"},
		"garbage":     {func(dir string) error { return os.WriteFile(filepath.Join(dir, "ca.key"), []byte("x"), 0o600) }, start, "no PEM block"},
		"expired":     {func(string) error { return nil }, start.Add(20 * 365 * 24 * time.Hour), "expired"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := Open(dir, "ca", start); err != nil {
				t.Fatal(err)
			}
			if err := test.spoil(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Open(dir, "ca", test.now); err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v, want an error with %q", err, test.want)
			}
		})
	}
}

func TestIssueVerifies(t *testing.T) {
	a, err := New("ca", start)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.Issue(Request{CommonName: "api", DNSNames: []string{"localhost"}, IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, start)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"localhost", "127.0.0.1"} {
		if _, err := cert.Leaf.Verify(x509.VerifyOptions{DNSName: name, Roots: a.Pool(), CurrentTime: start}); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	client, err := a.Issue(Request{CommonName: "u", Organization: []string{"g"}}, start)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Leaf.Verify(x509.VerifyOptions{Roots: a.Pool(), CurrentTime: start, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}); err == nil {
		t.Error("a client's certificate passes for a server's")
	}
}

func TestRenewingRenewsInTime(t *testing.T) {
	now := start
	a, err := New("ca", start)
	if err != nil {
		t.Fatal(err)
	}
	r := a.Renew(Request{CommonName: "u"}, func() time.Time { return now })
	first, err := r.Current()
	if err != nil {
		t.Fatal(err)
	}
	now = start.Add(leafValidity / 2)
	if again, _ := r.Current(); again != first {
		t.Error("renewed at half its life")
	}
	now = start.Add(leafValidity * 3 / 4)
	again, err := r.Current()
	if err != nil || again == first || !again.Leaf.NotAfter.After(first.Leaf.NotAfter) {
		t.Errorf("not renewed at three quarters: %v", err)
	}
}

package registry

import (
	"strings"
	"testing"
)

func TestContinue(t *testing.T) {
	token := encodeContinue("/registry/pods/default/p", "/registry/pods/", 42)
	after, revision, err := decodeContinue(token, "/registry/pods/")
	if err != nil || after != "/registry/pods/default/p" || revision != 42 {
		t.Errorf("%q %d %v", after, revision, err)
	}
	if _, revision, err = decodeContinue(encodeContinue("/a/b", "/a/", -1), "/a/"); err != nil || revision != -1 {
		t.Errorf("an inconsistent token: %d %v", revision, err)
	}
}

func FuzzContinue(f *testing.F) {
	f.Add(encodeContinue("/registry/pods/default/p", "/registry/pods/", 42))
	f.Add("eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6MSwic3RhcnQiOiJhIn0")
	f.Add("")
	f.Fuzz(func(t *testing.T, token string) {
		const prefix = "/registry/pods/default/"
		after, revision, err := decodeContinue(token, prefix)
		if err != nil {
			return
		}
		if !strings.HasPrefix(after, prefix) {
			t.Errorf("the token %q leads out of the list: %q", token, after)
		}
		if revision < -1 || revision == 0 {
			t.Errorf("revision %d", revision)
		}
	})
}

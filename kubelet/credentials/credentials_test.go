package credentials_test

import (
	"encoding/base64"
	"fmt"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/kubelet/credentials"
)

func secret(registry, user string) *corev1.Secret {
	auth := base64.StdEncoding.EncodeToString([]byte(user + ":pass:word"))
	return &corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{
		corev1.DockerConfigJsonKey: []byte(fmt.Sprintf(`{"auths":{%q:{"auth":%q}}}`, registry, auth))}}
}

func TestLookup(t *testing.T) {
	tests := []struct {
		registry, image string
		want            bool
	}{
		{"https://index.docker.io/v1/", "nginx", true},
		{"docker.io", "library/nginx:1", true},
		{"registry.example.com", "nginx", false},
		{"registry.example.com", "registry.example.com/a/b:1", true},
		{"registry.example.com:5000", "registry.example.com/a", false},
		{"*.example.com", "registry.example.com/a", true},
		{"*.example.com", "a.b.example.com/a", false},
		{"registry.example.com/team", "registry.example.com/team/app", true},
		{"registry.example.com/team", "registry.example.com/teammates/app", false},
		{"localhost", "localhost/a", true},
	}
	for _, tt := range tests {
		var ring credentials.Keyring
		if err := ring.Add(secret(tt.registry, "me")); err != nil {
			t.Fatal(err)
		}
		got := ring.Lookup(tt.image)
		if (len(got) == 1) != tt.want {
			t.Errorf("credentials of %s for %s: %v", tt.registry, tt.image, got)
		}
		if len(got) == 1 && (got[0].Username != "me" || got[0].Password != "pass:word") {
			t.Errorf("read as %+v", got[0])
		}
	}
}

func FuzzAdd(f *testing.F) {
	f.Add([]byte(`{"auths":{"a":{"auth":"YTpi"}}}`), "a/b")
	f.Fuzz(func(_ *testing.T, data []byte, image string) {
		var ring credentials.Keyring
		_ = ring.Add(&corev1.Secret{Type: corev1.SecretTypeDockerConfigJson, Data: map[string][]byte{corev1.DockerConfigJsonKey: data}})
		_ = ring.Add(&corev1.Secret{Type: corev1.SecretTypeDockercfg, Data: map[string][]byte{corev1.DockerConfigKey: data}})
		ring.Lookup(image)
	})
}

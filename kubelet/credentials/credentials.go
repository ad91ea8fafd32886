// Package credentials finds out how to log in to the registry of an image: from
// a pod's imagePullSecrets, in either of Docker's formats.
package credentials

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net"
	"path"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/runtime"
)

// DockerHub is the registry of images that name none.
const DockerHub = "index.docker.io"

type entry struct {
	Username      string `json:"username"`
	Password      string `json:"password"`
	Auth          string `json:"auth"`
	IdentityToken string `json:"identitytoken"`
	RegistryToken string `json:"registrytoken"`
}

type rule struct {
	host, path string
	auth       runtime.RegistryAuth
}

// Keyring holds credentials by registry. The zero value is empty.
type Keyring struct{ rules []rule }

// Add takes the credentials of a pull secret; a secret of another type has none.
func (k *Keyring) Add(secret *corev1.Secret) error {
	var entries map[string]entry
	switch secret.Type {
	case corev1.SecretTypeDockerConfigJson:
		var file struct {
			Auths map[string]entry `json:"auths"`
		}
		if err := json.Unmarshal(secret.Data[corev1.DockerConfigJsonKey], &file); err != nil {
			return fmt.Errorf("credentials: secret %s/%s: %w", secret.Namespace, secret.Name, err)
		}
		entries = file.Auths
	case corev1.SecretTypeDockercfg:
		if err := json.Unmarshal(secret.Data[corev1.DockerConfigKey], &entries); err != nil {
			return fmt.Errorf("credentials: secret %s/%s: %w", secret.Namespace, secret.Name, err)
		}
	}
	for registry, e := range entries {
		auth := runtime.RegistryAuth{Username: e.Username, Password: e.Password, IdentityToken: e.IdentityToken, RegistryToken: e.RegistryToken}
		if e.Auth != "" {
			raw, err := base64.StdEncoding.DecodeString(e.Auth)
			if err != nil {
				return fmt.Errorf("credentials: secret %s/%s: %w", secret.Namespace, secret.Name, err)
			}
			user, password, ok := strings.Cut(string(raw), ":")
			if !ok {
				return fmt.Errorf("credentials: secret %s/%s: auth is not user:password", secret.Namespace, secret.Name)
			}
			auth.Username, auth.Password = user, strings.TrimRight(password, "\x00")
		}
		host, p := split(registry)
		k.rules = append(k.rules, rule{host: host, path: p, auth: auth})
	}
	// The most specific path wins; ties keep a fixed order.
	slices.SortStableFunc(k.rules, func(a, b rule) int {
		if len(a.path) != len(b.path) {
			return len(b.path) - len(a.path)
		}
		return strings.Compare(a.host, b.host)
	})
	return nil
}

// split a registry as configurations write it (https://index.docker.io/v1/)
// into host and path.
func split(registry string) (host, p string) {
	for _, scheme := range []string{"https://", "http://"} {
		registry = strings.TrimPrefix(registry, scheme)
	}
	host, p, _ = strings.Cut(registry, "/")
	p = strings.Trim(p, "/")
	if p == "v1" || p == "v2" {
		p = ""
	}
	if host == "docker.io" || host == "registry-1.docker.io" {
		host = DockerHub
	}
	return host, p
}

// Lookup lists the credentials that may serve an image, the best first.
func (k *Keyring) Lookup(image string) []runtime.RegistryAuth {
	host, repository := DockerHub, image
	if first, rest, ok := strings.Cut(image, "/"); ok && (strings.ContainsAny(first, ".:") || first == "localhost") {
		host, repository = first, rest
		if host == "docker.io" {
			host = DockerHub
		}
	}
	var out []runtime.RegistryAuth
	for _, r := range k.rules {
		if matchHost(r.host, host) && (r.path == "" || repository == r.path || strings.HasPrefix(repository, r.path+"/") ||
			strings.HasPrefix(repository, r.path+":") || strings.HasPrefix(repository, r.path+"@")) {
			out = append(out, r.auth)
		}
	}
	return out
}

// matchHost compares hosts part by part; a part may be a pattern (*.example.com),
// and ports must be equal.
func matchHost(pattern, host string) bool {
	patternName, patternPort := splitPort(pattern)
	name, port := splitPort(host)
	if patternPort != port {
		return false
	}
	want, have := strings.Split(patternName, "."), strings.Split(name, ".")
	if len(want) != len(have) {
		return false
	}
	for i := range want {
		if ok, err := path.Match(want[i], have[i]); err != nil || !ok {
			return false
		}
	}
	return true
}

func splitPort(host string) (name, port string) {
	if h, p, err := net.SplitHostPort(host); err == nil {
		return h, p
	}
	return host, ""
}

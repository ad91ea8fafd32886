package bootstraptokens

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apiserver/pkg/authentication/user"
)

type secrets map[string]*corev1.Secret // by namespace/name

func (s secrets) Get(_ context.Context, of schema.GroupResource, namespace, name string) (runtime.Object, error) {
	if name == "bootstrap-token-broken" {
		return nil, errors.New("the store is gone")
	}
	if secret, ok := s[namespace+"/"+name]; ok && of.Resource == "secrets" {
		return secret, nil
	}
	return nil, apierrors.NewNotFound(of, name)
}

const (
	id    = "abc123"
	key   = "0123456789abcdef"
	token = id + "." + key
)

func TestAuthenticateToken(t *testing.T) {
	for name, test := range map[string]struct {
		token  string
		change func(*corev1.Secret)
		groups []string // nil: the token is not believed
	}{
		"good":                  {groups: []string{Group}},
		"groups":                {change: data(groupsKey, "system:bootstrappers:z,system:bootstrappers:kubeadm:default-node-token,system:bootstrappers:z"), groups: []string{Group, Group + ":kubeadm:default-node-token", Group + ":z"}},
		"a group of others":     {change: data(groupsKey, "system:bootstrappers:z,system:masters")},
		"a group without name":  {change: data(groupsKey, "system:bootstrappers:")},
		"a line more":           {change: data(groupsKey, "system:bootstrappers:z\n")},
		"in time":               {change: data(expirationKey, time.Now().Add(time.Hour).Format(time.RFC3339)), groups: []string{Group}},
		"too late":              {change: data(expirationKey, time.Now().Add(-time.Second).Format(time.RFC3339))},
		"some day":              {change: data(expirationKey, "soon")},
		"for signing only":      {change: func(s *corev1.Secret) { delete(s.Data, usageKey) }},
		"perhaps":               {change: data(usageKey, "True")},
		"of another type":       {change: func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }},
		"being deleted":         {change: func(s *corev1.Secret) { s.DeletionTimestamp = &metav1.Time{} }},
		"another secret":        {token: id + ".0123456789abcdeX"},
		"wrong secret":          {token: id + ".0123456789abcde0"},
		"of another id":         {change: data(idKey, "abc124")},
		"not there":             {token: "abc124." + key},
		"elsewhere":             {change: func(s *corev1.Secret) { s.Namespace = "default" }},
		"without data":          {change: func(s *corev1.Secret) { s.Data = nil }},
		"too long":              {token: token + "0"},
		"a line at its end":     {token: token + "\n"},
		"another form":          {token: "ABC123." + key},
		"a path of its own":     {token: "../../." + key},
		"nothing but the point": {token: "."},
	} {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "kube-system", Name: "bootstrap-token-" + id}, Type: corev1.SecretTypeBootstrapToken,
			Data: map[string][]byte{idKey: []byte(id), secretKey: []byte(key), usageKey: []byte("true")},
		}
		if test.change != nil {
			test.change(secret)
		}
		if test.token == "" {
			test.token = token
		}
		all := secrets{secret.Namespace + "/" + secret.Name: secret}
		response, ok, err := New(func() Reader { return all }).AuthenticateToken(t.Context(), test.token)
		if err != nil || ok != (test.groups != nil) {
			t.Errorf("%s: %v, %v", name, ok, err)
			continue
		}
		if !ok {
			continue
		}
		if diff := cmp.Diff(user.Info(&user.DefaultInfo{Name: "system:bootstrap:" + id, Groups: test.groups}), response.User); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if _, ok, err := New(func() Reader { return secrets{} }).AuthenticateToken(t.Context(), "broken."+key); ok || err == nil {
		t.Errorf("a secret that cannot be read: %v, %v", ok, err)
	}
}

func data(key, value string) func(*corev1.Secret) {
	return func(s *corev1.Secret) { s.Data[key] = []byte(value) }
}

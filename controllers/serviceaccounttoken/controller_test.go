package serviceaccounttoken

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/controllers"
)

func TestReconcile(t *testing.T) {
	c := Config{RootCA: []byte("PEM"), Token: func(namespace, account string, uid types.UID, secret string) (string, error) {
		return namespace + "/" + account + "/" + string(uid) + "/" + secret, nil
	}}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a", UID: "u"}}
	secret := func(change func(*corev1.Secret)) *corev1.Secret {
		s := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "s", Annotations: map[string]string{corev1.ServiceAccountNameKey: "a"}},
			Type:       corev1.SecretTypeServiceAccountToken,
		}
		change(s)
		return s
	}
	full := func(s *corev1.Secret) {
		s.Annotations[corev1.ServiceAccountUIDKey] = "u"
		s.Data = map[string][]byte{"token": []byte("t"), "ca.crt": []byte("PEM"), "namespace": []byte("ns")}
	}
	for name, test := range map[string]struct {
		secret  *corev1.Secret
		account *corev1.ServiceAccount
		want    controllers.Verb // "": nothing
		token   string
	}{
		"new":           {secret(func(*corev1.Secret) {}), account, controllers.Update, "ns/a/u/s"},
		"full":          {secret(full), account, "", ""},
		"new authority": {secret(func(s *corev1.Secret) { full(s); s.Data["ca.crt"] = nil }), account, controllers.Update, "t"},
		"no account":    {secret(full), nil, controllers.Delete, ""},
		"another one":   {secret(func(s *corev1.Secret) { full(s); s.Annotations[corev1.ServiceAccountUIDKey] = "x" }), account, controllers.Delete, ""},
		"other secret":  {secret(func(s *corev1.Secret) { s.Type = corev1.SecretTypeOpaque }), nil, "", ""},
	} {
		plan, err := c.Reconcile(test.secret, test.account)
		if err != nil || (len(plan.Steps) > 0) != (test.want != "") {
			t.Errorf("%s: %+v, %v", name, plan, err)
			continue
		}
		if test.want == "" {
			continue
		}
		w := plan.Steps[0].Writes[0]
		if w.Verb != test.want {
			t.Errorf("%s: %s, want %s", name, w.Verb, test.want)
		}
		if test.token != "" && (string(w.Object.(*corev1.Secret).Data["token"]) != test.token || w.Object.GetAnnotations()[corev1.ServiceAccountUIDKey] != "u") {
			t.Errorf("%s: %v", name, w.Object)
		}
	}
}

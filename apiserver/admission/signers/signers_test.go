package signers_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"strings"
	"testing"

	certificatesv1 "k8s.io/api/certificates/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/apiserver/pkg/authorization/authorizer"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/admission/certificateapproval"
	"github.com/strake-io/strake/apiserver/admission/certificatesigning"
	"github.com/strake-io/strake/apiserver/admission/certificatesubjectrestriction"
	"github.com/strake-io/strake/apiserver/admission/clustertrustbundleattest"
)

func request(signer string, change ...func(*certificatesv1.CertificateSigningRequest)) *certificatesv1.CertificateSigningRequest {
	r := &certificatesv1.CertificateSigningRequest{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: certificatesv1.CertificateSigningRequestSpec{SignerName: signer}}
	for _, c := range change {
		c(r)
	}
	return r
}

func asks(t *testing.T, groups ...string) func(*certificatesv1.CertificateSigningRequest) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "me", Organization: groups}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return func(r *certificatesv1.CertificateSigningRequest) {
		r.Spec.Request = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})
	}
}

func signed(r *certificatesv1.CertificateSigningRequest)   { r.Status.Certificate = []byte("x") }
func labelled(r *certificatesv1.CertificateSigningRequest) { r.Labels = map[string]string{"a": "b"} }

func bundle(signer string, change ...func(*certificatesv1.ClusterTrustBundle)) *certificatesv1.ClusterTrustBundle {
	b := &certificatesv1.ClusterTrustBundle{ObjectMeta: metav1.ObjectMeta{Name: "x"}, Spec: certificatesv1.ClusterTrustBundleSpec{SignerName: signer}}
	for _, c := range change {
		c(b)
	}
	return b
}

// The four plugins about certificates.
func TestValidate(t *testing.T) {
	const requests, bundles, client = "certificatesigningrequests", "clustertrustbundles", certificatesv1.KubeAPIServerClientSignerName
	for name, test := range map[string]struct {
		resource string // with its sub-resource
		obj, old runtime.Object
		may      string // verb and signers
		want     string
	}{
		"approves what it may":           {resource: requests + "/approval", obj: request("a.b/other"), old: request("a.b/c"), may: "approve a.b/c"},
		"approves for a domain":          {resource: requests + "/approval", obj: request("a.b/c"), old: request("a.b/c"), may: "approve a.b/*"},
		"approves what it may not":       {resource: requests + "/approval", obj: request("a.b/c"), old: request("a.b/c"), may: "sign a.b/c", want: `certificatesigningrequests.certificates.k8s.io "x" is forbidden: user not permitted to approve requests with signerName "a.b/c"`},
		"signs what it may":              {resource: requests + "/status", obj: request("a.b/c", signed), old: request("a.b/c"), may: "sign a.b/c"},
		"signs what it may not":          {resource: requests + "/status", obj: request("a.b/c", signed), old: request("a.b/c"), may: "approve a.b/c", want: `user not permitted to sign requests with signerName "a.b/c"`},
		"signs nothing":                  {resource: requests + "/status", obj: request("a.b/c", labelled), old: request("a.b/c")},
		"a certificate for a user":       {resource: requests, obj: request(client, asks(t, "people"))},
		"a certificate for an almighty":  {resource: requests, obj: request(client, asks(t, "people", "system:masters")), want: "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed"},
		"the same of another signer":     {resource: requests, obj: request("a.b/c", asks(t, "system:masters"))},
		"no request":                     {resource: requests, obj: request(client), want: "failed to parse CSR: PEM block type must be CERTIFICATE REQUEST"},
		"a bundle of nobody":             {resource: bundles, obj: bundle("")},
		"a bundle of a signer":           {resource: bundles, obj: bundle("a.b/c"), want: `clustertrustbundles.certificates.k8s.io "x" is forbidden: user not permitted to attest for signerName "a.b/c"`},
		"a bundle by who may":            {resource: bundles, obj: bundle("a.b/c"), may: "attest a.b/c"},
		"a bundle that gets a finalizer": {resource: bundles, obj: bundle("a.b/c", func(b *certificatesv1.ClusterTrustBundle) { b.Finalizers = []string{"f"} }), old: bundle("a.b/c")},
		"a bundle that gets a label":     {resource: bundles, obj: bundle("a.b/c", func(b *certificatesv1.ClusterTrustBundle) { b.Labels = map[string]string{"a": "b"} }), old: bundle("a.b/c"), want: "user not permitted to attest"},
	} {
		t.Run(name, func(t *testing.T) {
			by := authorizer.AuthorizerFunc(func(_ context.Context, a authorizer.Attributes) (authorizer.Decision, string, error) {
				if a.GetAPIGroup() == "certificates.k8s.io" && a.GetAPIVersion() == "*" && a.GetResource() == "signers" && a.IsResourceRequest() && a.GetVerb()+" "+a.GetName() == test.may {
					return authorizer.DecisionAllow, "", nil
				}
				return authorizer.DecisionNoOpinion, "", nil
			})
			resource, below, _ := strings.Cut(test.resource, "/")
			a := &admission.Attributes{
				Operation: admission.Create, Resource: certificatesv1.SchemeGroupVersion.WithResource(resource), Subresource: below, Name: "x",
				Object: test.obj, Old: test.old, User: &user.DefaultInfo{Name: "me"},
			}
			if test.old != nil {
				a.Operation = admission.Update
			}
			err := admission.Chain{
				certificateapproval.Plugin{Authorizer: by}, certificatesigning.Plugin{Authorizer: by},
				clustertrustbundleattest.Plugin{Authorizer: by}, certificatesubjectrestriction.Plugin{},
			}.Validate(t.Context(), a)
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

package certificates

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
)

func lines(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func requestOf(t *testing.T, key *ecdsa.PrivateKey) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "me"}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// certificate issues one for key, signed by itself.
func certificate(t *testing.T, key *ecdsa.PrivateKey, authority bool, begins time.Time, life time.Duration) string {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: begins, NotAfter: begins.Add(life), IsCA: authority, BasicConstraintsValid: authority,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func signingRequest(t *testing.T) *certificatesv1.CertificateSigningRequest {
	return &certificatesv1.CertificateSigningRequest{
		ObjectMeta: metav1.ObjectMeta{Name: "me"},
		Spec: certificatesv1.CertificateSigningRequestSpec{
			Request:    pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: requestOf(t, newKey(t))}),
			SignerName: "kubernetes.io/kube-apiserver-client", Usages: []certificatesv1.KeyUsage{"client auth"},
		},
	}
}

func TestNewRequestSaysWhoAsks(t *testing.T) {
	r := signingRequest(t)
	r.Spec.Username, r.Spec.Groups = "admin", []string{"system:masters"}
	r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue}}
	signingRequests().PrepareForCreate(resource.Request{User: &user.DefaultInfo{
		Name: "bob", UID: "7", Groups: []string{"dev"}, Extra: map[string][]string{"k": {"v"}},
	}}, r)
	want := certificatesv1.CertificateSigningRequestSpec{
		Request: r.Spec.Request, SignerName: r.Spec.SignerName, Usages: r.Spec.Usages,
		Username: "bob", UID: "7", Groups: []string{"dev"}, Extra: map[string]certificatesv1.ExtraValue{"k": {"v"}},
	}
	if diff := cmp.Diff(want, r.Spec); diff != "" || len(r.Status.Conditions) != 0 {
		t.Error(diff, r.Status)
	}
}

func TestValidateSigningRequest(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*certificatesv1.CertificateSigningRequestSpec)
		want   []string
	}{
		"right": {change: func(*certificatesv1.CertificateSigningRequestSpec) {}},
		"usages": {change: func(s *certificatesv1.CertificateSigningRequestSpec) { s.Usages = nil }, want: []string{
			"spec.usages: Required value",
		}},
		"the same usage twice": {change: func(s *certificatesv1.CertificateSigningRequestSpec) { s.Usages = append(s.Usages, s.Usages[0]) }, want: []string{
			`spec.usages[1]: Duplicate value: "client auth"`,
		}},
		"signer": {change: func(s *certificatesv1.CertificateSigningRequestSpec) { s.SignerName = "nobody" }, want: []string{
			`spec.signerName: Invalid value: "nobody": must be a fully qualified domain and path of the form 'example.com/signer-name'`,
		}},
		"legacy": {change: func(s *certificatesv1.CertificateSigningRequestSpec) { s.SignerName = "kubernetes.io/legacy-unknown" }, want: []string{
			`spec.signerName: Invalid value: "kubernetes.io/legacy-unknown": the legacy signerName is not allowed via this API version`,
		}},
		"life": {change: func(s *certificatesv1.CertificateSigningRequestSpec) { s.ExpirationSeconds = ptr.To(int32(599)) }, want: []string{
			`spec.expirationSeconds: Invalid value: 599: may not specify a duration less than 600 seconds (10 minutes)`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := signingRequest(t)
			test.change(&r.Spec)
			if diff := cmp.Diff(test.want, lines(validateNew(r))); diff != "" {
				t.Error(diff)
			}
		})
	}
	r := signingRequest(t)
	r.Spec.Request = []byte("x")
	if errs := validateNew(r); len(errs) != 1 || errs[0].Field != "spec.request" || errs[0].Detail != "PEM block type must be CERTIFICATE REQUEST" {
		t.Error(errs)
	}
}

func TestDecisionsStay(t *testing.T) {
	is := func(types ...certificatesv1.RequestConditionType) (out []certificatesv1.CertificateSigningRequestCondition) {
		for _, c := range types {
			out = append(out, certificatesv1.CertificateSigningRequestCondition{Type: c, Status: corev1.ConditionTrue, Reason: "R"})
		}
		return out
	}
	const approved, denied, failed = certificatesv1.CertificateApproved, certificatesv1.CertificateDenied, certificatesv1.CertificateFailed
	for name, test := range map[string]struct {
		endpoint string
		old, now []certificatesv1.CertificateSigningRequestCondition
		want     []string
	}{
		"approve":         {endpoint: "approval", now: is(approved)},
		"deny too":        {endpoint: "approval", old: is(approved), now: is(approved, denied), want: []string{"status.conditions: Invalid value: \"{conditions[{\\\"type\\\": \\\"Approved\\\"}], conditions[{\\\"type\\\": \\\"Denied\\\"}]}\": must specify at most one of: `conditions[{\"type\": \"Approved\"}]`, `conditions[{\"type\": \"Denied\"}]`"}},
		"take back":       {endpoint: "approval", old: is(approved), want: []string{`status.conditions: Forbidden: updates may not remove a condition of type "Approved"`}},
		"not quite":       {endpoint: "approval", now: []certificatesv1.CertificateSigningRequestCondition{{Type: approved, Status: "False"}}, want: []string{`status.conditions[0].status: Unsupported value: "False": supported values: "True"`}},
		"no status":       {endpoint: "approval", now: []certificatesv1.CertificateSigningRequestCondition{{Type: "Mine"}}, want: []string{`status.conditions[0].status: Required value`}},
		"signer approves": {endpoint: "status", now: is(approved), want: []string{`status.conditions: Forbidden: updates may not add a condition of type "Approved"`}},
		"signer fails":    {endpoint: "status", old: is(approved), now: is(approved, failed)},
		"signer forgets":  {endpoint: "status", old: is(approved), want: []string{`status.conditions: Forbidden: updates may not remove a condition of type "Approved"`}},
		"signer rewrites": {endpoint: "status", old: is(approved), now: []certificatesv1.CertificateSigningRequestCondition{{Type: approved, Status: "True", Reason: "Other"}}},
	} {
		t.Run(name, func(t *testing.T) {
			old, r := signingRequest(t), signingRequest(t)
			old.Status.Conditions, r.Status.Conditions = test.old, test.now
			for i := range old.Status.Conditions {
				c := &old.Status.Conditions[i]
				c.LastUpdateTime, c.LastTransitionTime = metav1.Now(), metav1.Now()
			}
			r.Spec.SignerName = "example.com/other"
			view := signingRequests().Subresource(test.endpoint).View
			view.PrepareForUpdate(resource.Request{}, r, old)
			if diff := cmp.Diff(test.want, lines(view.Validate(r, old))); diff != "" {
				t.Error(diff)
			}
			if r.Spec.SignerName != old.Spec.SignerName {
				t.Errorf("%s changed the spec", test.endpoint)
			}
			for _, c := range r.Status.Conditions {
				if len(test.want) == 0 && (c.LastUpdateTime.IsZero() || c.LastTransitionTime.IsZero() || c.Reason != "R") {
					t.Errorf("%+v", c)
				}
			}
		})
	}
}

func TestIssuing(t *testing.T) {
	view := signingRequests().Subresource("status").View
	old, r := signingRequest(t), signingRequest(t)
	for data, want := range map[string][]string{
		certificate(t, newKey(t), false, time.Now(), time.Hour): nil,
		"none": {`status.certificate: Invalid value: "<certificate data>": must contain at least one CERTIFICATE PEM block`},
		"-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n": {`status.certificate: Invalid value: "<certificate data>": only CERTIFICATE PEM blocks are allowed, found "KEY"`},
	} {
		r.Status.Certificate = []byte(data)
		if diff := cmp.Diff(want, lines(view.Validate(r, old))); diff != "" {
			t.Error(diff)
		}
	}
	old.Status.Certificate = []byte("first")
	if diff := cmp.Diff([]string{"status.certificate: Forbidden: updates may not modify existing certificate content"}, lines(view.Validate(r, old))); diff != "" {
		t.Error(diff)
	}
	approval := signingRequests().Subresource("approval").View
	approval.PrepareForUpdate(resource.Request{}, r, old)
	if string(r.Status.Certificate) != "first" {
		t.Errorf("approving issued %q", r.Status.Certificate)
	}
}

func TestTrustBundles(t *testing.T) {
	key := newKey(t)
	anchor, leaf := certificate(t, key, true, time.Now(), time.Hour), certificate(t, key, false, time.Now(), time.Hour)
	for name, test := range map[string]struct {
		name, signer, bundle string
		want                 []string
	}{
		"right":       {name: "mine", bundle: anchor},
		"of a signer": {name: "example.com:s:v1", signer: "example.com/s", bundle: anchor},
		"colon":       {name: "a:b", bundle: anchor, want: []string{`metadata.name: Invalid value: "a:b": ClusterTrustBundle without signer name must not have ":" in its name`}},
		"no prefix":   {name: "v1", signer: "example.com/s", bundle: anchor, want: []string{`metadata.name: Invalid value: "v1": ClusterTrustBundle for signerName example.com/s must be named with prefix example.com:s:`}},
		"nothing":     {name: "mine", want: []string{`spec.trustBundle: Invalid value: "<value omitted>": at least one trust anchor must be provided`}},
		"twice":       {name: "mine", bundle: anchor + anchor, want: []string{`spec.trustBundle: Invalid value: "<value omitted>": duplicate trust anchor (indices [0 1])`}},
		"wrong entries": {name: "mine", bundle: leaf + "-----BEGIN KEY-----\nAAAA\n-----END KEY-----\n-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", want: []string{
			`spec.trustBundle: Invalid value: "<value omitted>": entry 0 does not have the CA bit set`,
			`spec.trustBundle: Invalid value: "<value omitted>": entry 1 has bad block type: KEY`,
			`spec.trustBundle: Invalid value: "<value omitted>": entry 2 does not parse as X.509`,
		}},
		"too much": {name: "mine", bundle: strings.Repeat("x", 1<<20+1), want: []string{`spec.trustBundle: Too long: may not be more than 1048576 bytes`}},
	} {
		t.Run(name, func(t *testing.T) {
			b := &certificatesv1.ClusterTrustBundle{
				ObjectMeta: metav1.ObjectMeta{Name: test.name}, Spec: certificatesv1.ClusterTrustBundleSpec{SignerName: test.signer, TrustBundle: test.bundle},
			}
			if diff := cmp.Diff(test.want, lines(trustBundles().Validate(b))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func podRequest(t *testing.T, key *ecdsa.PrivateKey) *certificatesv1.PodCertificateRequest {
	r := &certificatesv1.PodCertificateRequest{Spec: certificatesv1.PodCertificateRequestSpec{
		SignerName: "example.com/s", PodName: "p", PodUID: "1", ServiceAccountName: "default", ServiceAccountUID: "2", NodeName: "n", NodeUID: "3",
		StubPKCS10Request: requestOf(t, key),
	}}
	podRequests().Default(r)
	return r
}

func TestPodRequests(t *testing.T) {
	key := newKey(t)
	for name, test := range map[string]struct {
		change func(*certificatesv1.PodCertificateRequestSpec)
		want   []string
	}{
		"right": {change: func(*certificatesv1.PodCertificateRequestSpec) {}},
		"uid":   {change: func(s *certificatesv1.PodCertificateRequestSpec) { s.PodUID = "" }, want: []string{`spec.podUID: Invalid value: "": must not be empty`}},
		"life": {change: func(s *certificatesv1.PodCertificateRequestSpec) { s.MaxExpirationSeconds = ptr.To(int32(60)) }, want: []string{
			`spec.maxExpirationSeconds: Invalid value: 60: must be in the range [3600, 7862400]`,
		}},
		"life of upstream's signers": {change: func(s *certificatesv1.PodCertificateRequestSpec) {
			s.SignerName, s.MaxExpirationSeconds = "kubernetes.io/s", ptr.To(int32(86401))
		}, want: []string{`spec.maxExpirationSeconds: Invalid value: 86401: must be in the range [3600, 86400]`}},
		"annotations": {change: func(s *certificatesv1.PodCertificateRequestSpec) {
			s.UnverifiedUserAnnotations = map[string]string{"a": ""}
		}, want: []string{
			`spec.unverifiedUserAnnotations: Invalid value: "a": must be a domain-prefixed key (such as "acme.io/foo")`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r := podRequest(t, key)
			test.change(&r.Spec)
			if diff := cmp.Diff(test.want, lines(podRequests().Validate(r))); diff != "" {
				t.Error(diff)
			}
		})
	}
	// A request that another key signed is none.
	r := podRequest(t, key)
	r.Spec.StubPKCS10Request[len(r.Spec.StubPKCS10Request)-1] ^= 1
	if errs := podRequests().Validate(r); len(errs) != 1 || errs[0].Field != "spec.stubPKCS10Request" {
		t.Error(errs)
	}
}

func TestAnsweringPodRequests(t *testing.T) {
	key, now := newKey(t), time.Now().Truncate(time.Second)
	is := func(kind string) []metav1.Condition {
		return []metav1.Condition{{Type: kind, Status: metav1.ConditionTrue, Reason: "R", LastTransitionTime: metav1.NewTime(now)}}
	}
	at := func(d time.Duration) *metav1.Time { return ptr.To(metav1.NewTime(now.Add(d))) }
	issued := func() certificatesv1.PodCertificateRequestStatus {
		return certificatesv1.PodCertificateRequestStatus{
			Conditions: is("Issued"), CertificateChain: certificate(t, key, false, now, 2*time.Hour),
			NotBefore: at(0), NotAfter: at(2 * time.Hour), BeginRefreshAt: at(time.Hour),
		}
	}
	for name, test := range map[string]struct {
		change func(r, old *certificatesv1.PodCertificateRequest)
		want   []string
	}{
		"issued": {change: func(r, _ *certificatesv1.PodCertificateRequest) { r.Status = issued() }},
		"denied": {change: func(r, _ *certificatesv1.PodCertificateRequest) { r.Status.Conditions = is("Denied") }},
		"denied with a certificate": {change: func(r, _ *certificatesv1.PodCertificateRequest) {
			r.Status = issued()
			r.Status.Conditions = is("Denied")
		}, want: []string{"status: Invalid value: non-condition status fields must be empty when denying or failing the PodCertificateRequest"}},
		"again": {change: func(r, old *certificatesv1.PodCertificateRequest) {
			old.Status.Conditions, r.Status.Conditions = is("Denied"), is("Failed")
		}, want: []string{"status: Invalid value: immutable after PodCertificateRequest is issued, denied, or failed"}},
		"no answer": {change: func(r, _ *certificatesv1.PodCertificateRequest) { r.Status.NotBefore = at(0) }, want: []string{
			`status: Invalid value: status is immutable unless transitioning to "Issued", "Denied", or "Failed"`,
		}},
		"unknown": {change: func(r, _ *certificatesv1.PodCertificateRequest) { r.Status.Conditions = is("Pondering") }, want: []string{
			`status.conditions[0].type: Unsupported value: "Pondering": supported values: "Issued", "Denied", "Failed"`,
		}},
		"without times": {change: func(r, _ *certificatesv1.PodCertificateRequest) {
			r.Status = issued()
			r.Status.NotBefore, r.Status.NotAfter, r.Status.BeginRefreshAt = nil, nil, nil
		}, want: []string{
			"status.notBefore: Required value: must be present and consistent with the issued certificate",
			"status.notAfter: Required value: must be present and consistent with the issued certificate",
			"status.beginRefreshAt: Required value: must be present and in the range [notbefore+10min, notafter-10min]",
		}},
		"refreshed too late": {change: func(r, _ *certificatesv1.PodCertificateRequest) {
			r.Status = issued()
			r.Status.BeginRefreshAt = at(115 * time.Minute)
		}, want: []string{`status.beginRefreshAt: Invalid value: "` + now.Add(115*time.Minute).Format(time.RFC3339) + `": must be at least 10 minutes before status.notAfter`}},
	} {
		t.Run(name, func(t *testing.T) {
			r, old := podRequest(t, key), podRequest(t, key)
			test.change(r, old)
			if diff := cmp.Diff(test.want, lines(validatePodRequestStatus(r, old, now))); diff != "" {
				t.Error(diff)
			}
		})
	}
	r := podRequest(t, newKey(t))
	r.Status = issued()
	if errs := validatePodRequestStatus(r, podRequest(t, key), now); len(errs) != 1 || errs[0].Detail != "leaf certificate was not issued to the requested public key" {
		t.Error(errs)
	}
}

func TestCells(t *testing.T) {
	for _, r := range Resources() {
		if cells := r.Cells(r.New(), time.Now()); len(cells) != len(r.Columns) {
			t.Errorf("%s: %d columns for %d cells", r.Plural, len(r.Columns), len(cells))
		}
	}
	r := signingRequest(t)
	r.Spec.Username, r.Spec.ExpirationSeconds = "bob", ptr.To(int32(86400))
	want := []any{"me", "<unknown>", "kubernetes.io/kube-apiserver-client", "bob", "24h", "Pending"}
	if diff := cmp.Diff(want, signingRequests().Cells(r, time.Now())); diff != "" {
		t.Error(diff)
	}
	r.Status.Conditions = []certificatesv1.CertificateSigningRequestCondition{{Type: certificatesv1.CertificateApproved}, {Type: certificatesv1.CertificateFailed}}
	r.Status.Certificate = []byte("x")
	if got := signingRequests().Cells(r, time.Now())[5]; got != "Approved,Failed,Issued" {
		t.Error(got)
	}
}

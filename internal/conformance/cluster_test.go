package conformance

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apiserver/pkg/authentication/user"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/rest"

	"github.com/strake-io/strake"
	"github.com/strake-io/strake/apiserver/authn"
	"github.com/strake-io/strake/internal/kubeconfig"
	"github.com/strake-io/strake/internal/pki"
)

const adminToken = "the-administrator-of-a-cluster-that-lives-for-one-test-run"

// server is the cluster that all tests share, reached over TLS.
type server struct {
	config     *rest.Config
	kubeconfig string
	ca         *pki.Authority
	cluster    *strake.Cluster
	stop       func() error
}

// shared starts the cluster when the first test asks for it.
var shared = sync.OnceValues(start)

func TestMain(m *testing.M) {
	code := m.Run()
	if s, err := shared(); err == nil {
		if err := s.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "stopping the cluster:", err)
			code = 1
		}
	}
	os.Exit(code)
}

func start() (*server, error) {
	ca, err := pki.New("kubernetes", time.Now())
	if err != nil {
		return nil, err
	}
	serving, err := ca.Issue(pki.Request{CommonName: "kube-apiserver", IPs: []net.IP{net.IPv4(127, 0, 0, 1)}}, time.Now())
	if err != nil {
		return nil, err
	}
	cluster, err := strake.New(strake.Config{FakeNodes: 2, ControlPlane: strake.ControlPlaneConfig{
		RootCA: ca.PEM(),
		Authenticator: authn.New(authn.Config{
			ClientCAs: ca.Pool(),
			Tokens: map[string]user.Info{
				adminToken: &user.DefaultInfo{Name: "kubernetes-admin", Groups: []string{user.SystemPrivilegedGroup}},
			},
		}),
	}})
	if err != nil {
		return nil, err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{
		Certificates: []tls.Certificate{*serving}, NextProtos: []string{"h2", "http/1.1"}, ClientAuth: tls.RequestClientCert, MinVersion: tls.VersionTLS12,
	})
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "strake-conformance")
	if err != nil {
		return nil, err
	}
	s := &server{
		config: &rest.Config{
			Host: "https://" + listener.Addr().String(), BearerToken: adminToken, QPS: -1,
			TLSClientConfig: rest.TLSClientConfig{CAData: ca.PEM()}, WarningHandlerWithContext: rest.NoWarnings{},
		},
		kubeconfig: filepath.Join(dir, "kubeconfig"), ca: ca, cluster: cluster,
	}
	if err := kubeconfig.Write(s.kubeconfig, kubeconfig.Entry{
		Cluster: "conformance", Server: s.config.Host, CA: ca.PEM(), User: "kubernetes-admin", Token: adminToken,
	}); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 2)
	go func() { ended <- cluster.Run(ctx) }()
	go func() { ended <- strake.Serve(ctx, listener, cluster.ControlPlane().Handler()) }()
	s.stop = func() error {
		cancel()
		return errors.Join(<-ended, <-ended, os.RemoveAll(dir))
	}
	select {
	case <-cluster.Ready():
		return s, nil
	case err := <-ended:
		cancel()
		return nil, fmt.Errorf("the cluster ended before it was ready: %w", errors.Join(err, <-ended))
	}
}

// connect is the shared cluster with one client of each sort.
func connect(t testing.TB) *clients {
	t.Helper()
	s, err := shared()
	if err != nil {
		t.Fatal(err)
	}
	c := &clients{server: s}
	for _, err := range []error{
		made(&c.typed, kubernetes.NewForConfig, s.config),
		made(&c.dynamic, dynamic.NewForConfig, s.config),
		made(&c.metadata, metadata.NewForConfig, s.config),
		made(&c.discovery, discovery.NewDiscoveryClientForConfig, s.config),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return c
}

type clients struct {
	*server
	typed     *kubernetes.Clientset
	dynamic   *dynamic.DynamicClient
	metadata  metadata.Interface
	discovery *discovery.DiscoveryClient
}

func made[T any](to *T, make func(*rest.Config) (T, error), config *rest.Config) (err error) {
	*to, err = make(config)
	return err
}

// namespace makes a namespace that goes with the test, with its service account.
func (c *clients) namespace(t testing.TB) string {
	t.Helper()
	ns, err := c.typed.CoreV1().Namespaces().Create(context.Background(),
		&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "conformance-"}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.typed.CoreV1().Namespaces().Delete(context.Background(), ns.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
	eventually(t, "the namespace has its service account", func() error {
		_, err := c.typed.CoreV1().ServiceAccounts(ns.Name).Get(t.Context(), "default", metav1.GetOptions{})
		return err
	})
	return ns.Name
}

// eventually asks until check returns nil, for half a minute.
func eventually(t testing.TB, what string, check func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = check(); err == nil {
			return
		}
	}
	t.Fatalf("%s: not within half a minute: %v", what, err)
}

// shell runs kubectl in a folder of its own, in one namespace.
type shell struct {
	t         testing.TB
	c         *clients
	namespace string
	dir       string
	env       []string
}

func (c *clients) shell(t testing.TB) *shell {
	t.Helper()
	if _, err := exec.LookPath("kubectl"); err != nil {
		t.Skip("this test needs kubectl on the PATH; `make test` installs it")
	}
	return &shell{t: t, c: c, namespace: c.namespace(t), dir: t.TempDir()}
}

// try runs a command line of kubectl, with stdin, and returns both streams.
func (s *shell) try(stdin string, args ...string) (string, error) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "kubectl", append([]string{"--namespace", s.namespace}, args...)...)
	cmd.Dir = s.dir
	cmd.Env = append(append(os.Environ(), "KUBECONFIG="+s.c.kubeconfig, "HOME="+s.dir, "TMPDIR="+s.dir), s.env...)
	var out bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &out
	err := cmd.Run()
	return strings.TrimSpace(strings.ReplaceAll(out.String(), s.namespace, "NS")), err
}

// run runs kubectl, which must not fail.
func (s *shell) run(args ...string) string {
	s.t.Helper()
	out, err := s.try("", args...)
	if err != nil {
		s.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// feed runs kubectl with stdin, and it must not fail.
func (s *shell) feed(stdin string, args ...string) string {
	s.t.Helper()
	out, err := s.try(stdin, args...)
	if err != nil {
		s.t.Fatalf("kubectl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return out
}

// says runs kubectl and wants just that output.
func (s *shell) says(want string, args ...string) {
	s.t.Helper()
	if out := s.run(args...); out != want {
		s.t.Errorf("kubectl %s says\n%s\nwant\n%s", strings.Join(args, " "), out, want)
	}
}

// shows runs kubectl and wants its output to contain each of the texts.
func (s *shell) shows(args []string, wants ...string) {
	s.t.Helper()
	out := s.run(args...)
	for _, want := range wants {
		if !strings.Contains(out, want) {
			s.t.Errorf("kubectl %s lacks %q:\n%s", strings.Join(args, " "), want, out)
		}
	}
}

// refuses wants kubectl to fail and to say each of the texts.
func (s *shell) refuses(stdin string, args []string, wants ...string) {
	s.t.Helper()
	out, err := s.try(stdin, args...)
	if err == nil {
		s.t.Errorf("kubectl %s did not fail:\n%s", strings.Join(args, " "), out)
	}
	for _, want := range wants {
		if !strings.Contains(out, want) {
			s.t.Errorf("kubectl %s fails without %q:\n%s", strings.Join(args, " "), want, out)
		}
	}
}

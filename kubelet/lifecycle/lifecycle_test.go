package lifecycle_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/strake-io/strake/kubelet/lifecycle"
	"github.com/strake-io/strake/runtime"
)

type executor struct{ code int32 }

func (e executor) ExecSync(context.Context, string, []string, time.Duration) (runtime.ExecResult, error) {
	return runtime.ExecResult{ExitCode: e.code, Stderr: []byte("no")}, nil
}

func TestExec(t *testing.T) {
	hook := &corev1.LifecycleHandler{Exec: &corev1.ExecAction{Command: []string{"/bin/x", "y"}}}
	for code, want := range map[int32]string{0: "", 3: "command '/bin/x y' exited with 3: no"} {
		r, err := lifecycle.New(lifecycle.Config{Executor: executor{code}})
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := r.Run(t.Context(), &corev1.Container{Name: "c"}, "id", "", hook); err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestHTTP(t *testing.T) {
	var seen *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = r
		w.WriteHeader(http.StatusTeapot)
	}))
	defer server.Close()
	u, _ := url.Parse(server.URL)
	c := &corev1.Container{Name: "c", Ports: []corev1.ContainerPort{{Name: "web", ContainerPort: int32(intstr.Parse(u.Port()).IntVal)}}}
	r, err := lifecycle.New(lifecycle.Config{Executor: executor{}})
	if err != nil {
		t.Fatal(err)
	}
	hook := &corev1.LifecycleHandler{HTTPGet: &corev1.HTTPGetAction{Path: "/bye?now=1", Port: intstr.FromString("web"),
		HTTPHeaders: []corev1.HTTPHeader{{Name: "Host", Value: "example.com"}, {Name: "X-A", Value: "b"}}}}
	if err := r.Run(t.Context(), c, "id", u.Hostname(), hook); err != nil {
		t.Fatal(err)
	}
	if seen.URL.String() != "/bye?now=1" || seen.Host != "example.com" || seen.Header.Get("X-A") != "b" {
		t.Errorf("%s %s %v", seen.Host, seen.URL, seen.Header)
	}
	hook.HTTPGet.Port = intstr.FromString("absent")
	if err := r.Run(t.Context(), c, "id", u.Hostname(), hook); err == nil {
		t.Error("a port that does not exist")
	}
}

func TestSleepIsCutShort(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := lifecycle.New(lifecycle.Config{Executor: executor{}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		began := time.Now()
		hook := &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: 10}}
		if err := r.Run(ctx, &corev1.Container{}, "id", "", hook); err == nil || time.Since(began) != 3*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
}

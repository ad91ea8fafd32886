package objects

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/internal/history"
)

// reply is an answer to a request: an object, a list, or a status.
type reply struct {
	code int
	body body
}

// body is all that a reply may hold.
type body struct {
	metav1.TypeMeta
	Metadata struct {
		Name            string
		UID             string
		ResourceVersion string
		Continue        string
		Annotations     map[string]string
	}
	Data    map[string]string
	Items   []corev1.ConfigMap
	Reason  metav1.StatusReason
	Message string
	Code    int
	Details *metav1.StatusDetails
}

// errUnsent says that a request never left.
var errUnsent = errors.New("the server is not there")

func (w *workload) path(name string) string {
	path := "/api/v1/namespaces/" + w.Namespace + "/configmaps"
	if name != "" {
		path += "/" + name
	}
	return path
}

// open a request; the caller reads the body.
func (w *workload) open(ctx context.Context, s *Server, method, path string, query url.Values, contentType string, content any) (*http.Response, error) {
	var data []byte
	if content != nil {
		var err error
		if data, err = json.Marshal(content); err != nil {
			return nil, err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, s.URL+path+"?"+query.Encode(), bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", contentType)
	request.Header.Set("Accept", "application/json")
	response, err := s.Client.Do(request)
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return nil, fmt.Errorf("%w: %w", errUnsent, err)
	}
	return response, err
}

func (w *workload) do(ctx context.Context, s *Server, method, path string, query url.Values, contentType string, content any) (r reply, err error) {
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	response, err := w.open(ctx, s, method, path, query, contentType, content)
	if err != nil {
		return r, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return r, err
	}
	r.code = response.StatusCode
	if err := json.Unmarshal(data, &r.body); err != nil && r.code < 500 {
		return r, fmt.Errorf("%d %q: %w", r.code, data, err)
	}
	return r, nil
}

func (w *workload) list(ctx context.Context, s *Server, query url.Values) (reply, error) {
	return w.do(ctx, s, http.MethodGet, w.path(""), query, "", nil)
}

// failure is a status that is none of success.
func (r reply) failure() error {
	if r.code >= 200 && r.code < 300 {
		return nil
	}
	return fmt.Errorf("%d %s: %s", r.code, r.body.Reason, r.body.Message)
}

// silent says that an answer says nothing certain.
func (r reply) silent() bool { return r.code >= 500 }

func (r reply) revision() int64 { return number(r.body.Metadata.ResourceVersion) }

// kvs of a list that are ours.
func (r reply) kvs() (out []history.KV) {
	for _, cm := range r.body.Items {
		if strings.HasPrefix(cm.Name, Prefix) {
			out = append(out, history.KV{Key: cm.Name, Value: cm.Data["v"], Last: number(cm.ResourceVersion)})
		}
	}
	return out
}

// kv of an object.
func (b *body) kv() history.KV {
	return history.KV{Key: b.Metadata.Name, Value: b.Data["v"], Last: number(b.Metadata.ResourceVersion)}
}

// number of a resourceVersion. What is none is -1, which is no revision of anything.
func number(version string) int64 {
	n, err := strconv.ParseInt(version, 10, 64)
	if err != nil {
		return -1
	}
	return n
}

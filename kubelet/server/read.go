package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/kubelet/logs"
)

func (s *Server) healthz(w http.ResponseWriter, req *http.Request) {
	if err := s.cfg.Host.Healthy(req.Context()); err != nil {
		http.Error(w, "healthz check failed: "+err.Error(), http.StatusInternalServerError)
		return
	}
	io.WriteString(w, "ok")
}

func (s *Server) pods(w http.ResponseWriter, _ *http.Request) {
	list := corev1.PodList{TypeMeta: metav1.TypeMeta{Kind: "PodList", APIVersion: "v1"}, Items: []corev1.Pod{}}
	for _, pod := range s.cfg.Host.Pods() {
		list.Items = append(list.Items, *pod)
	}
	s.writeJSON(w, &list)
}

func (s *Server) configz(w http.ResponseWriter, _ *http.Request) {
	config := s.cfg.Configz
	if config == nil {
		config = struct{}{}
	}
	s.writeJSON(w, map[string]any{"kubeletconfig": config})
}

func (s *Server) writeJSON(w http.ResponseWriter, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if _, err := w.Write(b); err != nil {
		s.cfg.Logger.V(1).Info("could not answer", "err", err)
	}
}

// pod finds the pod of a request, or answers 404.
func (s *Server) pod(w http.ResponseWriter, req *http.Request) (*corev1.Pod, bool) {
	name := req.PathValue("pod")
	pod, ok := s.cfg.Host.Pod(req.PathValue("namespace"), name, types.UID(req.PathValue("uid")))
	if !ok {
		http.Error(w, fmt.Sprintf("pod %q does not exist", name), http.StatusNotFound)
	}
	return pod, ok
}

// hasContainer says whether a pod's spec has a container of a name.
func hasContainer(pod *corev1.Pod, name string) bool {
	for i := range pod.Spec.InitContainers {
		if pod.Spec.InitContainers[i].Name == name {
			return true
		}
	}
	for i := range pod.Spec.Containers {
		if pod.Spec.Containers[i].Name == name {
			return true
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if pod.Spec.EphemeralContainers[i].Name == name {
			return true
		}
	}
	return false
}

// refuse answers an error of the Host.
func refuse(w http.ResponseWriter, err error) {
	code := http.StatusBadRequest
	var status apierrors.APIStatus
	if errors.As(err, &status) && status.Status().Code != 0 {
		code = int(status.Status().Code)
	}
	http.Error(w, err.Error(), code)
}

func (s *Server) containerLogs(w http.ResponseWriter, req *http.Request) {
	opts, err := parseLogOptions(req.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	pod, ok := s.pod(w, req)
	if !ok {
		return
	}
	container := req.PathValue("container")
	if !hasContainer(pod, container) {
		http.Error(w, fmt.Sprintf("container %q not found in pod %q", container, pod.Name), http.StatusNotFound)
		return
	}
	log, err := s.cfg.Host.ContainerLog(req.Context(), pod, container, opts.Previous)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain")
	if log.Path == "" {
		s.emptyLog(w, req, log, opts.Follow)
		return
	}
	out := &flushWriter{w: w, flush: http.NewResponseController(w).Flush}
	if opts.Follow {
		// The client sees that the log is being followed before its first line.
		if _, err := os.Stat(log.Path); err == nil {
			w.WriteHeader(http.StatusOK)
			out.Write(nil)
		}
	}
	err = s.cfg.Logs.Read(req.Context(), log.Path, logs.FromPodLogOptions(opts, time.Now()), log.Running, out, out)
	if err != nil && !out.wrote {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("failed to try resolving symlinks in path %q: %w", log.Path, err)
		}
		refuse(w, err)
		return
	}
	if err != nil && req.Context().Err() == nil {
		s.cfg.Logger.Info("a log ended early", "namespace", pod.Namespace, "pod", pod.Name, "container", container, "err", err)
	}
}

// emptyLog serves the log of a container that keeps none, as a simulated one.
// Followed, it ends with the container like any other.
func (s *Server) emptyLog(w http.ResponseWriter, req *http.Request, log Log, follow bool) {
	w.WriteHeader(http.StatusOK)
	if !follow || log.Running == nil {
		return
	}
	if err := http.NewResponseController(w).Flush(); err != nil {
		return
	}
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	for {
		if running, err := log.Running(req.Context()); err != nil || !running {
			return
		}
		select {
		case <-req.Context().Done():
			return
		case <-ticker.C:
		}
	}
}

// parseLogOptions reads PodLogOptions from a query, with the API's own bounds.
func parseLogOptions(q url.Values) (*corev1.PodLogOptions, error) {
	opts := &corev1.PodLogOptions{}
	truth := func(name string) (bool, error) {
		if !q.Has(name) {
			return false, nil
		}
		switch q.Get(name) {
		case "", "1", "true", "True", "TRUE", "t", "T":
			return true, nil
		case "0", "false", "False", "FALSE", "f", "F":
			return false, nil
		}
		return false, fmt.Errorf("invalid value of %s: %q", name, q.Get(name))
	}
	number := func(name string, least int64) (*int64, error) {
		if q.Get(name) == "" {
			return nil, nil
		}
		n, err := strconv.ParseInt(q.Get(name), 10, 64)
		if err != nil {
			return nil, fmt.Errorf("invalid value of %s: %q", name, q.Get(name))
		}
		if n < least {
			return nil, fmt.Errorf("invalid value of %s: must be greater than or equal to %d", name, least)
		}
		return &n, nil
	}
	var errs [7]error
	opts.Follow, errs[0] = truth("follow")
	opts.Previous, errs[1] = truth("previous")
	opts.Timestamps, errs[2] = truth("timestamps")
	opts.SinceSeconds, errs[3] = number("sinceSeconds", 1)
	opts.LimitBytes, errs[4] = number("limitBytes", 1)
	if tail := q.Get("tailLines"); tail != "" && tail != "all" {
		opts.TailLines, errs[5] = number("tailLines", 0)
	}
	if since := q.Get("sinceTime"); since != "" {
		t, err := time.Parse(time.RFC3339, since)
		if err != nil {
			errs[6] = fmt.Errorf("invalid value of sinceTime: %q", since)
		}
		opts.SinceTime = &metav1.Time{Time: t}
	}
	if stream := q.Get("stream"); stream != "" {
		opts.Stream = &stream
		switch stream {
		case corev1.LogStreamStdout, corev1.LogStreamStderr, corev1.LogStreamAll:
		default:
			return nil, fmt.Errorf("invalid value of stream: %q", stream)
		}
	}
	if opts.SinceSeconds != nil && opts.SinceTime != nil {
		return nil, errors.New("at most one of `sinceTime` or `sinceSeconds` may be specified")
	}
	return opts, errors.Join(errs[:]...)
}

// flushWriter hands every write on at once.
type flushWriter struct {
	w     io.Writer
	flush func() error
	wrote bool
}

func (f *flushWriter) Write(b []byte) (int, error) {
	f.wrote = true
	n, err := f.w.Write(b)
	if err != nil {
		return n, err
	}
	if err := f.flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return n, err
	}
	return n, nil
}

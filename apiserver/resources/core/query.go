package core

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// query decodes options from the parameters of a URL; the first error stays.
type query struct {
	values url.Values
	err    error
}

func (q *query) text(name string) string { return q.values.Get(name) }

// flag is true for a parameter that is there, unless it says false.
func (q *query) flag(name string) bool {
	if !q.values.Has(name) {
		return false
	}
	switch strings.ToLower(q.values.Get(name)) {
	case "false", "0":
		return false
	}
	return true
}

func (q *query) int64(name string) *int64 {
	text := q.values.Get(name)
	if text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		q.fail(name, err)
		return nil
	}
	return &n
}

func (q *query) time(name string) *metav1.Time {
	text := q.values.Get(name)
	if text == "" {
		return nil
	}
	t, err := time.Parse(time.RFC3339, text)
	if err != nil {
		q.fail(name, err)
		return nil
	}
	return &metav1.Time{Time: t.Local()}
}

func (q *query) fail(name string, err error) {
	if q.err == nil {
		q.err = apierrors.NewBadRequest(fmt.Sprintf("invalid parameter %s: %v", name, err))
	}
}

func logOptions(values url.Values) (*corev1.PodLogOptions, error) {
	q := &query{values: values}
	o := &corev1.PodLogOptions{
		Container:                    q.text("container"),
		Follow:                       q.flag("follow"),
		Previous:                     q.flag("previous"),
		SinceSeconds:                 q.int64("sinceSeconds"),
		SinceTime:                    q.time("sinceTime"),
		Timestamps:                   q.flag("timestamps"),
		TailLines:                    q.int64("tailLines"),
		LimitBytes:                   q.int64("limitBytes"),
		InsecureSkipTLSVerifyBackend: q.flag("insecureSkipTLSVerifyBackend"),
	}
	if s := q.text("stream"); s != "" {
		o.Stream = &s
	}
	return o, q.err
}

// streamOptions are those of exec and of attach, which has no command.
type streamOptions struct {
	container                  string
	stdin, stdout, stderr, tty bool
	command                    []string
}

func execOptions(values url.Values) streamOptions {
	q := &query{values: values}
	o := streamOptions{
		container: q.text("container"),
		stdin:     q.flag("stdin"), stdout: q.flag("stdout"), stderr: q.flag("stderr"), tty: q.flag("tty"),
		command: values["command"],
	}
	if !values.Has("stdout") && !values.Has("stderr") {
		// Output is what one attaches for: it is on unless something was said.
		o.stdout, o.stderr = true, !o.tty
	}
	return o
}

// kubelet is the same in the words of the kubelet's server.
func (o streamOptions) kubelet() url.Values {
	out := url.Values{}
	for name, on := range map[string]bool{"input": o.stdin, "output": o.stdout, "error": o.stderr, "tty": o.tty} {
		if on {
			out.Set(name, "1")
		}
	}
	for _, c := range o.command {
		out.Add("command", c)
	}
	return out
}

func kubeletLogQuery(o *corev1.PodLogOptions) url.Values {
	out := url.Values{}
	set := func(name string, on bool) {
		if on {
			out.Set(name, "true")
		}
	}
	number := func(name string, n *int64) {
		if n != nil {
			out.Set(name, strconv.FormatInt(*n, 10))
		}
	}
	set("follow", o.Follow)
	set("previous", o.Previous)
	set("timestamps", o.Timestamps)
	number("sinceSeconds", o.SinceSeconds)
	number("tailLines", o.TailLines)
	number("limitBytes", o.LimitBytes)
	if o.SinceTime != nil {
		out.Set("sinceTime", o.SinceTime.UTC().Format(time.RFC3339))
	}
	if o.Stream != nil {
		out.Set("stream", *o.Stream)
	}
	return out
}

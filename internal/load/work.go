package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/json"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

// dialer makes connections that are nobody else's.
func dialer() func(ctx context.Context, network, address string) (net.Conn, error) {
	return (&net.Dialer{Timeout: 10 * time.Second}).DialContext
}

// bodies are the pods, encoded.
type bodies struct {
	media string
	pods  [][]byte
}

// nodes is over how many node names the pods are spread, for lists and watches by field.
const nodes = 100

// pod is of about 3.4 KB in JSON once the server has it.
func pod(i int) *corev1.Pod {
	var env []corev1.EnvVar
	for n := range 10 {
		env = append(env, corev1.EnvVar{Name: fmt.Sprintf("VARIABLE_%d", n), Value: fmt.Sprintf("the value of variable %d", n)})
	}
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name:        podName(i),
			Labels:      map[string]string{"app": "load", "part": fmt.Sprint(i % 100)},
			Annotations: map[string]string{"example.com/about": "a pod of the load generator, which nothing runs"},
		},
		Spec: corev1.PodSpec{
			NodeName:      fmt.Sprintf("load-node-%d", i%nodes),
			SchedulerName: "nobody",
			Containers: []corev1.Container{{
				Name: "main", Image: "registry.example.com/load:v1", Env: env,
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("16Mi"),
				}},
				ReadinessProbe: &corev1.Probe{ProbeHandler: corev1.ProbeHandler{Exec: &corev1.ExecAction{Command: []string{"true"}}}},
			}},
		},
	}
}

func podName(i int) string { return fmt.Sprintf("pod-%07d", i) }

func makeBodies(o options) (bodies, error) {
	b := bodies{media: jsonMedia}
	var encoder runtime.Serializer = json.NewSerializerWithOptions(json.DefaultMetaFactory, scheme.Scheme, scheme.Scheme, json.SerializerOptions{})
	if o.protobuf {
		b.media, encoder = protobufMedia, protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	}
	for i := range o.pods {
		p := pod(i)
		p.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Pod"))
		data, err := runtime.Encode(encoder, p)
		if err != nil {
			return b, err
		}
		b.pods = append(b.pods, data)
	}
	return b, nil
}

func (s *server) collection() string { return "/api/v1/namespaces/" + s.options.namespace + "/pods" }

func (s *server) create(ctx context.Context) (result, error) {
	return s.each(ctx, s.options.writers, s.options.pods, func(i int) request {
		return request{method: http.MethodPost, path: s.collection(), body: s.bodies.pods[i], contentType: s.bodies.media, accept: s.bodies.media}
	})
}

// some is a pod at random.
func (s *server) some() string { return s.collection() + "/" + podName(rand.IntN(s.options.pods)) }

func (s *server) get(int) request {
	return request{method: http.MethodGet, path: s.some(), accept: s.bodies.media}
}

func (s *server) patch(int) request {
	body := fmt.Appendf(nil, `{"metadata":{"annotations":{"example.com/patched":"%d"}}}`, s.next.Add(1))
	return request{method: http.MethodPatch, path: s.some(), body: body, contentType: mergePatch, accept: s.bodies.media}
}

func (s *server) delete(ctx context.Context) (result, error) {
	return s.each(ctx, s.options.writers, s.options.pods, func(i int) request {
		return request{method: http.MethodDelete, path: s.collection() + "/" + podName(i), query: "gracePeriodSeconds=0", accept: s.bodies.media}
	})
}

// listing is a way to ask for a list.
type listing struct{ name, accept, query string }

func (s *server) listings() []listing {
	return []listing{
		{"JSON", jsonMedia, ""},
		{"protobuf", protobufMedia, ""},
		{"any version", protobufMedia, "resourceVersion=0"},
		{"500 at a time", protobufMedia, "limit=500"},
		{"by label, 1 of 100", protobufMedia, "labelSelector=" + url.QueryEscape("part=7")},
		{"by node, 1 of 100", protobufMedia, "fieldSelector=" + url.QueryEscape("spec.nodeName=load-node-7")},
		{"table", "application/json;as=Table;v=v1;g=meta.k8s.io", ""},
	}
}

func (s *server) list(l listing) func(int) request {
	return func(int) request {
		return request{method: http.MethodGet, path: s.collection(), query: l.query, accept: l.accept}
	}
}

// patchWatched patches from one writer after the other while many watch the collection,
// and counts the events that reach them.
func (s *server) patchWatched(ctx context.Context) (result, error) {
	watching, stop := context.WithCancel(ctx)
	defer stop()
	list, err := s.client.CoreV1().Pods(s.options.namespace).List(ctx, metav1.ListOptions{Limit: 1})
	if err != nil {
		return result{}, err
	}
	var events atomic.Int64
	var watchers sync.WaitGroup
	for i := range s.options.watchers {
		response, err := s.open(watching, i, request{
			method: http.MethodGet, path: s.collection(), query: "watch=true&resourceVersion=" + list.ResourceVersion, accept: jsonMedia,
		})
		if err != nil {
			stop()
			watchers.Wait()
			return result{}, fmt.Errorf("watch %d: %w", i, err)
		}
		watchers.Go(func() {
			defer response.Body.Close()
			lines := bufio.NewReaderSize(response.Body, 64<<10)
			for {
				// An event is a line; of a long one this is called again.
				_, more, err := lines.ReadLine()
				if err != nil {
					return
				}
				if !more {
					events.Add(1)
				}
			}
		})
	}
	r, err := s.repeat(ctx, s.options.writers, s.patch)
	// What is on its way counts, and so does the time that it takes.
	want := int64(len(r.latencies)) * int64(s.options.watchers)
	for start := time.Now(); events.Load() < want && time.Since(start) < 30*time.Second && ctx.Err() == nil; {
		time.Sleep(time.Millisecond)
		if events.Load() >= want {
			r.took += time.Since(start)
		}
	}
	r.events = events.Load()
	if missing := want - r.events; missing > 0 && err == nil {
		r.errors += missing
		r.first = fmt.Errorf("%d events did not come", missing)
	}
	stop()
	watchers.Wait()
	return r, err
}

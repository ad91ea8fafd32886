package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	jsonMedia     = "application/json"
	protobufMedia = "application/vnd.kubernetes.protobuf"
	mergePatch    = "application/merge-patch+json"
)

// server is what is loaded.
type server struct {
	options options
	url     *url.URL
	clients []*http.Client // a connection each
	client  kubernetes.Interface
	bodies  bodies
	next    atomic.Int64
}

func connect(o options) (*server, error) {
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(
		&clientcmd.ClientConfigLoadingRules{ExplicitPath: o.kubeconfig}, &clientcmd.ConfigOverrides{}).ClientConfig()
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	s := &server{options: o}
	if s.url, _, err = rest.DefaultServerUrlFor(config); err != nil {
		return nil, err
	}
	if s.client, err = kubernetes.NewForConfig(config); err != nil {
		return nil, err
	}
	for range o.connections {
		// client-go shares a transport between equal configurations, unless it is told
		// how to connect.
		own := rest.CopyConfig(config)
		own.Dial = dialer()
		client, err := rest.HTTPClientFor(own)
		if err != nil {
			return nil, err
		}
		s.clients = append(s.clients, client)
	}
	s.bodies, err = makeBodies(o)
	return s, err
}

// prepare makes the namespace, empty, and waits until pods can be made in it.
func (s *server) prepare(ctx context.Context) error {
	if err := s.cleanUp(ctx); err != nil {
		return err
	}
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.options.namespace}}
	if _, err := s.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	// A controller may have been faster.
	if _, err := s.client.CoreV1().ServiceAccounts(s.options.namespace).Create(ctx, account, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	return nil
}

// cleanUp deletes the pods and the namespace.
func (s *server) cleanUp(ctx context.Context) error {
	zero := int64(0)
	err := s.client.CoreV1().Pods(s.options.namespace).DeleteCollection(ctx, metav1.DeleteOptions{GracePeriodSeconds: &zero}, metav1.ListOptions{})
	if err != nil && !apierrors.IsNotFound(err) {
		return err
	}
	namespaces := s.client.CoreV1().Namespaces()
	for {
		err := namespaces.Delete(ctx, s.options.namespace, metav1.DeleteOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil && !apierrors.IsConflict(err) {
			return err
		}
		ns, err := namespaces.Get(ctx, s.options.namespace, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return nil
		}
		if err == nil && len(ns.Spec.Finalizers) > 0 {
			// Where no controller does it.
			ns.Spec.Finalizers = nil
			if _, err := namespaces.Finalize(ctx, ns, metav1.UpdateOptions{}); err != nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				return err
			}
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// request is one operation.
type request struct {
	method, path, query string
	body                []byte
	contentType, accept string
}

// send makes a request on one of the connections and reads its answer away.
func (s *server) send(ctx context.Context, on int, r request) (n int64, err error) {
	response, err := s.open(ctx, on, r)
	if err != nil {
		return 0, err
	}
	defer response.Body.Close()
	return io.Copy(io.Discard, response.Body)
}

// open makes a request and leaves its answer to be read.
func (s *server) open(ctx context.Context, on int, r request) (*http.Response, error) {
	u := *s.url
	u.Path, u.RawQuery = r.path, r.query
	hr, err := http.NewRequestWithContext(ctx, r.method, u.String(), bytes.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	if r.contentType != "" {
		hr.Header.Set("Content-Type", r.contentType)
	}
	hr.Header.Set("Accept", r.accept)
	// Compression would measure gzip.
	hr.Header.Set("Accept-Encoding", "identity")
	response, err := s.clients[on%len(s.clients)].Do(hr)
	if err != nil {
		return nil, err
	}
	if response.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(io.LimitReader(response.Body, 300)) // an error without a text is one too
		response.Body.Close()
		return nil, fmt.Errorf("%s: %s", response.Status, text)
	}
	return response, nil
}

// each has n workers do total operations, or, with total 0, as many as they can in the
// time that ctx leaves.
func (s *server) each(ctx context.Context, n, total int, operation func(i int) request) (result, error) {
	var r result
	var mu sync.Mutex
	var count atomic.Int64
	var workers sync.WaitGroup
	start := time.Now()
	for worker := range n {
		workers.Go(func() {
			var own result
			for ctx.Err() == nil {
				i := int(count.Add(1)) - 1
				if total > 0 && i >= total {
					break
				}
				begun := time.Now()
				size, err := s.send(ctx, worker, operation(i))
				if err != nil && ctx.Err() != nil {
					break // cut off, and not counted
				}
				own.bytes += size
				if err != nil {
					own.errors++
					own.first = err
					continue
				}
				own.latencies = append(own.latencies, time.Since(begun))
			}
			mu.Lock()
			defer mu.Unlock()
			r.latencies = append(r.latencies, own.latencies...)
			r.bytes += own.bytes
			r.errors += own.errors
			if r.first == nil {
				r.first = own.first
			}
		})
	}
	workers.Wait()
	r.took = time.Since(start)
	if len(r.latencies) == 0 && r.first != nil {
		return r, r.first
	}
	return r, nil
}

// repeat has n workers do an operation for as long as one kind of work lasts.
func (s *server) repeat(ctx context.Context, n int, operation func(i int) request) (result, error) {
	limited, cancel := context.WithTimeout(ctx, s.options.duration)
	defer cancel()
	r, err := s.each(limited, n, 0, operation)
	return r, errors.Join(err, ctx.Err())
}

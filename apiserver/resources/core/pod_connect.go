package core

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resource"
)

var nodeResource = schema.GroupResource{Resource: "nodes"}

// connectLog serves pods/log.
func connectLog(proxy NodeProxy) resource.ConnectFunc {
	return func(ctx context.Context, req resource.Request, objects resource.Objects) (http.Handler, error) {
		opts, err := logOptions(req.Query)
		if err != nil {
			return nil, err
		}
		if errs := validateLogOptions(opts); len(errs) > 0 {
			return nil, apierrors.NewInvalid(gvk("PodLogOptions").GroupKind(), req.Name, errs)
		}
		pod, err := getPod(ctx, req, objects)
		if err != nil {
			return nil, err
		}
		container, err := chooseContainer(pod, opts.Container)
		if err != nil {
			return nil, err
		}
		if pod.Spec.NodeName == "" {
			// No node has run it: its log is empty.
			return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/plain")
				w.WriteHeader(http.StatusOK)
			}), nil
		}
		return kubeletOf(ctx, proxy, objects, pod, KubeletRequest{
			Path:       fmt.Sprintf("/containerLogs/%s/%s/%s", pod.Namespace, pod.Name, container),
			Query:      kubeletLogQuery(opts),
			Flush:      opts.Follow,
			SkipVerify: opts.InsecureSkipTLSVerifyBackend,
		})
	}
}

func validateLogOptions(o *corev1.PodLogOptions) field.ErrorList {
	var errs field.ErrorList
	if n := o.TailLines; n != nil && *n < 0 {
		errs = append(errs, field.Invalid(field.NewPath("tailLines"), *n, "must be greater than or equal to 0"))
	}
	if n := o.LimitBytes; n != nil && *n < 1 {
		errs = append(errs, field.Invalid(field.NewPath("limitBytes"), *n, "must be greater than 0"))
	}
	switch {
	case o.SinceSeconds != nil && o.SinceTime != nil:
		errs = append(errs, field.Forbidden(field.NewPath(""), "at most one of `sinceTime` or `sinceSeconds` may be specified"))
	case o.SinceSeconds != nil && *o.SinceSeconds < 1:
		errs = append(errs, field.Invalid(field.NewPath("sinceSeconds"), *o.SinceSeconds, "must be greater than 0"))
	}
	if s := o.Stream; s != nil {
		switch *s {
		case corev1.LogStreamAll:
		case corev1.LogStreamStdout, corev1.LogStreamStderr:
			if o.TailLines != nil {
				errs = append(errs, field.Forbidden(field.NewPath(""), "`tailLines` and specific `stream` are mutually exclusive for now"))
			}
		default:
			errs = append(errs, field.NotSupported(field.NewPath("stream"), *s, []string{corev1.LogStreamAll, corev1.LogStreamStdout, corev1.LogStreamStderr}))
		}
	}
	return errs
}

// connectStream serves pods/exec and pods/attach.
func connectStream(proxy NodeProxy, what string) resource.ConnectFunc {
	return func(ctx context.Context, req resource.Request, objects resource.Objects) (http.Handler, error) {
		pod, err := getPod(ctx, req, objects)
		if err != nil {
			return nil, err
		}
		opts := execOptions(req.Query)
		if what == "attach" {
			opts.command = nil
		}
		container, err := chooseContainer(pod, opts.container)
		if err != nil {
			return nil, err
		}
		if pod.Spec.NodeName == "" {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
		}
		return kubeletOf(ctx, proxy, objects, pod, KubeletRequest{
			Path:    fmt.Sprintf("/%s/%s/%s/%s", what, pod.Namespace, pod.Name, container),
			Query:   opts.kubelet(),
			Upgrade: true,
		})
	}
}

// connectPortForward serves pods/portforward. Over WebSocket the ports are in
// the query, over SPDY they come with each stream.
func connectPortForward(proxy NodeProxy) resource.ConnectFunc {
	return func(ctx context.Context, req resource.Request, objects resource.Objects) (http.Handler, error) {
		pod, err := getPod(ctx, req, objects)
		if err != nil {
			return nil, err
		}
		if pod.Spec.NodeName == "" {
			return nil, apierrors.NewBadRequest(fmt.Sprintf("pod %s does not have a host assigned", pod.Name))
		}
		query := url.Values{}
		if ports := req.Query["ports"]; len(ports) > 0 {
			query.Set("port", strings.Join(ports, ","))
		}
		return kubeletOf(ctx, proxy, objects, pod, KubeletRequest{
			Path:    fmt.Sprintf("/portForward/%s/%s", pod.Namespace, pod.Name),
			Query:   query,
			Upgrade: true,
		})
	}
}

func getPod(ctx context.Context, req resource.Request, objects resource.Objects) (*corev1.Pod, error) {
	obj, err := objects.Get(ctx, podResource, req.Namespace, req.Name)
	if err != nil {
		return nil, err
	}
	return obj.(*corev1.Pod), nil
}

func kubelet(ctx context.Context, proxy NodeProxy, objects resource.Objects, node string, to KubeletRequest) (http.Handler, error) {
	p, err := through(proxy)
	if err != nil {
		return nil, err
	}
	obj, err := objects.Get(ctx, nodeResource, "", node)
	if err != nil {
		return nil, err
	}
	return p.Kubelet(ctx, obj.(*corev1.Node), to)
}

// kubeletOf is that of a pod's node. In upstream's words, it is a pod that is missing
// where the node is.
func kubeletOf(ctx context.Context, proxy NodeProxy, objects resource.Objects, pod *corev1.Pod, to KubeletRequest) (http.Handler, error) {
	h, err := kubelet(ctx, proxy, objects, pod.Spec.NodeName, to)
	if apierrors.IsNotFound(err) {
		err = apierrors.NewNotFound(podResource, pod.Spec.NodeName)
	}
	return h, err
}

// chooseContainer is the named container, or the only one there is.
func chooseContainer(pod *corev1.Pod, name string) (string, error) {
	containers, inits, ephemeral := containerNames(pod)
	if name != "" {
		for _, list := range [][]string{containers, inits, ephemeral} {
			for _, n := range list {
				if n == name {
					return name, nil
				}
			}
		}
		return "", apierrors.NewBadRequest(fmt.Sprintf("container %s is not valid for pod %s", name, pod.Name))
	}
	switch len(containers) {
	case 1:
		return containers[0], nil
	case 0:
		return "", apierrors.NewBadRequest(fmt.Sprintf("a container name must be specified for pod %s", pod.Name))
	}
	message := fmt.Sprintf("a container name must be specified for pod %s, choose one of: [%s]", pod.Name, strings.Join(containers, " "))
	if len(inits) > 0 {
		message += fmt.Sprintf(" or one of the init containers: [%s]", strings.Join(inits, " "))
	}
	if len(ephemeral) > 0 {
		message += fmt.Sprintf(" or one of the ephemeral containers: [%s]", strings.Join(ephemeral, " "))
	}
	return "", apierrors.NewBadRequest(message)
}

func containerNames(pod *corev1.Pod) (containers, inits, ephemeral []string) {
	for i := range pod.Spec.Containers {
		containers = append(containers, pod.Spec.Containers[i].Name)
	}
	for i := range pod.Spec.InitContainers {
		inits = append(inits, pod.Spec.InitContainers[i].Name)
	}
	for i := range pod.Spec.EphemeralContainers {
		ephemeral = append(ephemeral, pod.Spec.EphemeralContainers[i].Name)
	}
	return containers, inits, ephemeral
}

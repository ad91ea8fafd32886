// Package cri runs pods by any runtime that speaks Kubernetes' Container Runtime
// Interface over gRPC: CRI-O, containerd's CRI plugin, and others.
//
// The words of package runtime are the CRI's, so this is a translation. Two things
// are added: a label on all that is made, since nothing made by others is listed or
// touched, and annotations on sandboxes that keep what the CRI wants to be told
// again with each container.
package cri

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	api "k8s.io/cri-api/pkg/apis/runtime/v1"

	"github.com/strake-io/strake/runtime"
)

// Config of a CRI client.
type Config struct {
	// Endpoint of the runtime: "unix:///run/crio/crio.sock", or a path. Required.
	Endpoint string
	// ImageEndpoint serves images where that is another one; default Endpoint.
	ImageEndpoint string
	// Owner labels what is made; only what carries it is seen. Two clusters on
	// one runtime take two. Default "strake".
	Owner string
}

// Runtime is a [runtime.Runtime] by way of the CRI.
type Runtime struct {
	config Config
	conns  []*grpc.ClientConn
	api    api.RuntimeServiceClient
	images api.ImageServiceClient

	mu    sync.Mutex // guards ended
	ended map[string]*api.ContainerStatus
}

var (
	_ runtime.Runtime       = (*Runtime)(nil)
	_ runtime.Streamer      = (*Runtime)(nil)
	_ runtime.StatsProvider = (*Runtime)(nil)
)

// New checks the configuration. Connections are made when first used, and again
// when they break.
func New(config Config) (*Runtime, error) {
	if config.Endpoint == "" {
		return nil, errors.New("cri runtime: Endpoint is required")
	}
	if config.Owner == "" {
		config.Owner = "strake"
	}
	r := &Runtime{config: config, ended: map[string]*api.ContainerStatus{}}
	dial := func(endpoint string) (*grpc.ClientConn, error) {
		if strings.HasPrefix(endpoint, "/") {
			endpoint = "unix://" + endpoint
		}
		conn, err := grpc.NewClient(endpoint, grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(16<<20)))
		if err != nil {
			return nil, fmt.Errorf("cri runtime: %s: %w", endpoint, err)
		}
		r.conns = append(r.conns, conn)
		return conn, nil
	}
	conn, err := dial(config.Endpoint)
	if err != nil {
		return nil, err
	}
	r.api, r.images = api.NewRuntimeServiceClient(conn), api.NewImageServiceClient(conn)
	if config.ImageEndpoint != "" {
		if conn, err = dial(config.ImageEndpoint); err != nil {
			return nil, errors.Join(err, r.Close())
		}
		r.images = api.NewImageServiceClient(conn)
	}
	return r, nil
}

// Close ends the connections. What runs keeps running.
func (r *Runtime) Close() error {
	var errs []error
	for _, conn := range r.conns {
		errs = append(errs, conn.Close())
	}
	return errors.Join(errs...)
}

// failure gives gRPC's errors our sentinels and drops its "rpc error" words.
func failure(err error) error {
	if err == nil {
		return nil
	}
	s, ok := status.FromError(err)
	if !ok {
		return err
	}
	var kind error
	switch s.Code() {
	case codes.NotFound:
		kind = runtime.ErrNotFound
	case codes.AlreadyExists:
		kind = runtime.ErrExists
	case codes.FailedPrecondition:
		kind = runtime.ErrState
	case codes.Unavailable:
		kind = runtime.ErrUnavailable
	case codes.Unimplemented:
		kind = runtime.ErrUnsupported
	case codes.DeadlineExceeded:
		kind = context.DeadlineExceeded
	case codes.Canceled:
		kind = context.Canceled
	default:
		return errors.New(s.Message())
	}
	return fmt.Errorf("%w: %s", kind, s.Message())
}

// Version implements [runtime.Runtime].
func (r *Runtime) Version(ctx context.Context) (runtime.Version, error) {
	v, err := r.api.Version(ctx, &api.VersionRequest{})
	if err != nil {
		return runtime.Version{}, failure(err)
	}
	return runtime.Version{Name: v.RuntimeName, Version: strings.TrimPrefix(v.RuntimeVersion, "v")}, nil
}

// Status implements [runtime.Runtime].
func (r *Runtime) Status(ctx context.Context) (runtime.Status, error) {
	response, err := r.api.Status(ctx, &api.StatusRequest{})
	if err != nil {
		return runtime.Status{}, failure(err)
	}
	var out runtime.Status
	for _, c := range response.GetStatus().GetConditions() {
		switch c.Type {
		case api.RuntimeReady:
			out.RuntimeReady, out.RuntimeMessage = c.Status, c.Message
		case api.NetworkReady:
			out.NetworkReady, out.NetworkMessage = c.Status, c.Message
		}
	}
	return out, nil
}

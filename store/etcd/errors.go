package etcd

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/strake-io/strake/store"
)

// readError maps an error of what changes no key: a read, or asking for a lease.
func (s *Store) readError(ctx context.Context, what string, err error) error {
	err = rpctypes.Error(err)
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return store.ErrCompacted
	case errors.Is(err, rpctypes.ErrFutureRev):
		return store.ErrFutureRevision
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("store/etcd: %s: %w", what, store.ErrNoSpace)
	case s.isClosing():
		return store.ErrClosed
	case ctx.Err() != nil:
		return ctx.Err()
	}
	return fmt.Errorf("store/etcd: %s: %w", what, err)
}

// writeError maps an error of a write. Whatever does not say for certain that
// nothing happened is ErrUncertain.
func (s *Store) writeError(ctx context.Context, what string, err error) error {
	err = rpctypes.Error(err)
	switch {
	case errors.Is(err, rpctypes.ErrNoSpace):
		return fmt.Errorf("store/etcd: %s: %w", what, store.ErrNoSpace)
	case errors.Is(err, store.ErrNoSpace):
		return fmt.Errorf("store/etcd: %s: %w", what, err)
	case errors.Is(err, rpctypes.ErrRequestTooLarge):
		return fmt.Errorf("store/etcd: %s: %w", what, store.ErrTooLarge)
	case refused(err):
		return fmt.Errorf("store/etcd: %s: %w", what, err)
	}
	wrapped := fmt.Errorf("store/etcd: %s: %w: %w", what, store.ErrUncertain, err)
	if s.isClosing() {
		return errors.Join(wrapped, store.ErrClosed)
	}
	if cause := ctx.Err(); cause != nil && !errors.Is(err, cause) {
		return errors.Join(wrapped, cause)
	}
	return wrapped
}

// refused says whether etcd turned a request down before it proposed it.
func refused(err error) bool {
	var etcdErr rpctypes.EtcdError
	if errors.As(err, &etcdErr) {
		switch {
		case errors.Is(err, rpctypes.ErrTooManyRequests), errors.Is(err, rpctypes.ErrCorrupt):
			return true
		}
		return certain(etcdErr.Code())
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	st, ok := status.FromError(err)
	return ok && certain(st.Code())
}

// certain are the codes of requests that were judged and found wanting.
func certain(code codes.Code) bool {
	switch code {
	case codes.InvalidArgument, codes.NotFound, codes.AlreadyExists, codes.PermissionDenied,
		codes.Unauthenticated, codes.FailedPrecondition, codes.OutOfRange, codes.Unimplemented:
		return true
	}
	return false
}

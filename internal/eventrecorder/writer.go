package eventrecorder

import (
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"
	"k8s.io/utils/clock"
)

const (
	maxTries   = 12
	firstRetry = 500 * time.Millisecond
	maxRetry   = 10 * time.Second
)

// writer owns the memory of what was written for its share of the objects.
type writer struct {
	client     kubernetes.Interface
	log        logr.Logger
	correlator *record.EventCorrelator
	series     *seriesCache
}

func newWriter(client kubernetes.Interface, log logr.Logger) *writer {
	return &writer{
		client:     client,
		log:        log,
		correlator: record.NewEventCorrelator(clock.RealClock{}),
		series:     newSeriesCache(),
	}
}

func (w *writer) run(ctx context.Context, q <-chan *corev1.Event) {
	for {
		select {
		case <-ctx.Done():
			return
		case e := <-q:
			if e.EventTime.IsZero() {
				w.writeCounted(ctx, e)
			} else {
				w.writeSeries(ctx, e)
			}
		}
	}
}

// writeCounted writes an event of the older form, or the higher count of one
// that was written before.
func (w *writer) writeCounted(ctx context.Context, e *corev1.Event) {
	result, err := w.correlator.EventCorrelate(e)
	if err != nil {
		w.log.Error(err, "Event cannot be correlated", "reason", e.Reason)
	}
	if result == nil || result.Skip {
		return
	}
	if written := w.write(ctx, result.Event, result.Event.Count > 1, result.Patch); written != nil {
		w.correlator.UpdateState(written)
	}
}

// writeSeries writes an event of the newer form, or the series of one that was
// written before.
func (w *writer) writeSeries(ctx context.Context, e *corev1.Event) {
	out, patch := w.series.observe(e, e.EventTime.Time)
	if out != nil {
		w.write(ctx, out, patch != nil, patch)
	}
}

// write patches or creates the event, and creates it where the one to patch is
// gone. It tries again as long as the server cannot be reached, and gives up on
// what the server refuses. It returns the server's object, or nil.
func (w *writer) write(ctx context.Context, e *corev1.Event, patchIt bool, patch []byte) *corev1.Event {
	delay := firstRetry
	for try := 1; ; try++ {
		written, err := w.tryWrite(ctx, e, patchIt, patch)
		if err == nil {
			return written
		}
		if ctx.Err() != nil {
			return nil
		}
		if final(err) || try == maxTries {
			// A namespace that is going away refuses events as a matter of course.
			if !apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause) && !apierrors.IsAlreadyExists(err) {
				w.log.Error(err, "Event not written", "object", e.InvolvedObject.Namespace+"/"+e.InvolvedObject.Name, "reason", e.Reason, "message", e.Message)
			}
			return nil
		}
		t := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case <-t.C:
		}
		delay = min(2*delay, maxRetry)
	}
}

func (w *writer) tryWrite(ctx context.Context, e *corev1.Event, patchIt bool, patch []byte) (*corev1.Event, error) {
	events := w.client.CoreV1().Events(e.Namespace)
	if patchIt {
		written, err := events.Patch(ctx, e.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{})
		if !apierrors.IsNotFound(err) {
			return written, err
		}
	}
	e.ResourceVersion = ""
	return events.Create(ctx, e, metav1.CreateOptions{})
}

// final says that the same write would fail again: the server answered, or the
// request cannot even be made. Being asked to come back later is not final.
func final(err error) bool {
	var construction *rest.RequestConstructionError
	if errors.As(err, &construction) {
		return true
	}
	if apierrors.IsTooManyRequests(err) || apierrors.IsServerTimeout(err) || apierrors.IsTimeout(err) || apierrors.IsServiceUnavailable(err) {
		return false
	}
	var status *apierrors.StatusError
	return errors.As(err, &status)
}

package controllers

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
)

// errOwnerGone says that the object that wanted the write is no longer there.
var errOwnerGone = errors.New("the object has gone, or another of its name has taken its place")

// writeError is a write that failed. Its message is for the log; what people see
// in a status is the cause alone.
type writeError struct {
	write Write
	cause error
}

func (e *writeError) Error() string {
	return fmt.Sprintf("%s %T %s: %v", e.write.Verb, e.write.Object, KeyOf(e.write.Object), e.cause)
}

func (e *writeError) Unwrap() error { return e.cause }

// causeOf is the error as the API gave it.
func causeOf(err error) error {
	var failed *writeError
	if errors.As(err, &failed) {
		return failed.cause
	}
	return err
}

// apply carries out a plan for a key and returns the first error.
func (l *loop) apply(ctx context.Context, key Key, plan Plan) error {
	for _, e := range plan.Events {
		l.env.Recorder.Event(e.About, e.Type, e.Reason, e.Message)
	}
	var outcome Outcome
	var err error
	for _, step := range plan.Steps {
		var results []Object
		results, err = l.step(ctx, key, step)
		outcome.Results = append(outcome.Results, results...)
		if err != nil {
			outcome.Err = causeOf(err)
			break
		}
	}
	if plan.Then != nil {
		if _, last := l.step(ctx, key, Step{Writes: plan.Then(outcome)}); last != nil {
			err = errors.Join(err, last)
		}
	}
	return err
}

func (l *loop) step(ctx context.Context, key Key, step Step) (results []Object, err error) {
	checked := map[Object]bool{}
	for _, w := range step.Writes {
		if w.OnlyIfLive == nil || checked[w.OnlyIfLive] {
			continue
		}
		if err := stillThere(ctx, l, w.OnlyIfLive); err != nil {
			return nil, err
		}
		checked[w.OnlyIfLive] = true
	}
	rest := step.Writes
	for size := batchSize(step.Mode, 0, len(rest)); len(rest) > 0; size = batchSize(step.Mode, size, len(rest)) {
		got, err := l.together(ctx, key, rest[:size])
		results = append(results, got...)
		if err != nil {
			return results, err
		}
		rest = rest[size:]
	}
	return results, nil
}

// batchSize is how many writes the next batch holds, after one of size last.
func batchSize(mode Mode, last, remaining int) int {
	switch mode {
	case Together:
		return remaining
	case SlowStart:
		return min(max(1, 2*last), remaining)
	}
	return min(1, remaining)
}

// together sends the writes in parallel and waits for all of them.
func (l *loop) together(ctx context.Context, key Key, writes []Write) ([]Object, error) {
	if len(writes) == 1 {
		o, err := l.write(ctx, key, writes[0])
		if o == nil {
			return nil, err
		}
		return []Object{o}, err
	}
	results, errs := make([]Object, len(writes)), make([]error, len(writes))
	var wg sync.WaitGroup
	for i := range writes {
		wg.Go(func() { results[i], errs[i] = l.write(ctx, key, writes[i]) })
	}
	wg.Wait()
	done := results[:0]
	var first error
	for i, o := range results {
		if o != nil {
			done = append(done, o)
		}
		if first == nil {
			first = errs[i]
		}
	}
	return done, first
}

// write sends one write, notes what the informers must show before the key may
// be looked at again, and records its event.
func (l *loop) write(ctx context.Context, key Key, w Write) (Object, error) {
	if w.First != nil {
		if _, err := l.write(ctx, key, *w.First); err != nil {
			return nil, err
		}
	}
	token := l.expectations.begin()
	result, err := send(ctx, l.env.Client, l.env.Metadata, w)
	if err == nil {
		l.expect(key, w, result)
	}
	l.expectations.end(token)

	switch {
	case err == nil:
		l.event(w.Done, nameOf(result, w.Object))
		return result, nil
	case w.Ignore != nil && w.Ignore(err):
		return nil, nil
	case w.Verb == Create && apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause):
		// The namespace is being emptied: this create can only fail, and there
		// is nobody to tell.
		return nil, nil
	case w.Verb == Delete && apierrors.IsNotFound(err):
		return nil, nil
	}
	l.event(w.Failed, err.Error())
	return nil, &writeError{w, err}
}

func (l *loop) expect(key Key, w Write, result Object) {
	o := result
	want := expected{}
	switch {
	case w.Verb == Delete:
		o = w.Object
		want.uid = o.GetUID()
	case result == nil:
		return // nothing that an informer could show
	default:
		want.uid, want.resourceVersion = o.GetUID(), o.GetResourceVersion()
		if want.resourceVersion == "" {
			return // an API without versions says nothing that one could wait for
		}
	}
	if state := l.watchOf(o); state != nil {
		l.expectations.expect(key, state, KeyOf(o), want, time.Now())
	}
}

func (l *loop) event(e *Event, fill string) {
	if e != nil {
		l.env.Recorder.Event(e.About, e.Type, e.Reason, strings.Replace(e.Message, "%s", fill, 1))
	}
}

func nameOf(result, object Object) string {
	if result != nil {
		return result.GetName()
	}
	return object.GetName()
}

// stillThere reads the object from the API and checks that it is the same one.
func stillThere(ctx context.Context, l *loop, o Object) error {
	now, err := live(ctx, l.env.Client, o)
	switch {
	case err != nil && !apierrors.IsNotFound(err):
		return fmt.Errorf("read %T %s again: %w", o, KeyOf(o), err)
	case err != nil || now.GetUID() != o.GetUID() || now.GetDeletionTimestamp() != nil:
		return fmt.Errorf("%T %s: %w", o, KeyOf(o), errOwnerGone)
	}
	return nil
}

package historytest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/strake-io/strake/store"
)

const (
	// openTime bounds the opening of a watch.
	openTime = 2 * time.Second
	// idle is how long a watch may be silent before it is asked for progress, and, where
	// it does not answer, opened again elsewhere.
	idle = 200 * time.Millisecond
	dead = 3 * time.Second
)

// follow watches a prefix from after a revision on, and gives every batch to take. It
// resumes where a watch is lost, and ends with the error of take or with one that the
// contract does not allow.
func (w *workload) follow(ctx context.Context, random *rand.Rand, prefix string, after int64, take func(store.Batch) error) error {
	for first := true; ctx.Err() == nil; first = false {
		if !first {
			w.watched.resumed.Add(1)
			time.Sleep(time.Duration(random.IntN(int(20 * time.Millisecond))))
		}
		opening, cancel := context.WithTimeout(ctx, openTime)
		watch, err := w.any(random).Watch(opening, prefix, after)
		cancel()
		if err == nil {
			after, err = w.drain(ctx, watch, after, take)
			watch.Stop()
		}
		switch {
		case errors.Is(err, errTaken):
			return err
		case errors.Is(err, store.ErrCompacted):
			if after >= w.compacted.Load() {
				return fmt.Errorf("a watch after %d is compacted away, and nobody compacted beyond %d", after, w.compacted.Load())
			}
			w.watched.compacted.Add(1)
			return err
		case errors.Is(err, store.ErrFutureRevision):
			return fmt.Errorf("a watch after %d, which was: %w", after, err)
		}
	}
	return ctx.Err()
}

// errTaken is in the chain of the errors of take.
var errTaken = errors.New("not taken")

// drain one watch until it is lost.
func (w *workload) drain(ctx context.Context, watch store.Watch, after int64, take func(store.Batch) error) (int64, error) {
	ctx, cancel := context.WithCancel(ctx)
	var asking sync.WaitGroup
	defer asking.Wait()
	defer cancel()
	asking.Go(func() {
		for ctx.Err() == nil {
			time.Sleep(idle)
			short, done := context.WithTimeout(ctx, callTime)
			_ = watch.Progress(short) // a watch that cannot answer is opened again
			done()
		}
	})
	for {
		next, done := context.WithTimeout(ctx, dead)
		batch, err := watch.Next(next)
		done()
		if err != nil {
			return after, err
		}
		if batch.Revision < after {
			return after, fmt.Errorf("%w: a watch at %d went back to %d", errTaken, after, batch.Revision)
		}
		if err := take(batch); err != nil {
			return after, fmt.Errorf("%w: %w", errTaken, err)
		}
		after = batch.Revision
	}
}

// witness writes the log.
func (w *workload) witness(ctx context.Context) error {
	return w.follow(ctx, w.Random("witness"), prefix, w.Reached(), func(batch store.Batch) error {
		return w.Append(toEvents(batch.Events), batch.Revision)
	})
}

// errEnough ends a watch that means to stop.
var errEnough = errors.New("enough")

// watcher checks one watch after the other against the log.
func (w *workload) watcher(ctx context.Context, kind string) error {
	random := w.Random(kind)
	under := prefix
	if kind == "narrow" {
		under = fmt.Sprintf("%s%c", prefix, 'a'+random.IntN(keys))
	}
	after := w.Reached()
	for ctx.Err() == nil {
		batches := 0
		take := func(batch store.Batch) error {
			if err := w.Wait(ctx, batch.Revision); err != nil {
				return err
			}
			if err := w.Between(under, after, batch.Revision, toEvents(batch.Events)); err != nil {
				return err
			}
			after = batch.Revision
			w.watched.events.Add(int64(len(batch.Events)))
			batches++
			return w.manner(random, kind, batches)
		}
		start := after
		var err error
		if kind == "listing" {
			err = w.listAndDrain(ctx, random, under, &after, take)
		} else {
			err = w.follow(ctx, random, under, after, take)
		}
		switch {
		case errors.Is(err, errEnough), kind == "listing" && passing(err) && !errors.Is(err, errTaken):
			w.watched.resumed.Add(1)
			time.Sleep(time.Duration(random.IntN(int(10 * time.Millisecond))))
			if kind == "old" {
				after = w.past(random)
			}
		case errors.Is(err, store.ErrCompacted):
			after = w.Reached()
		case ctx.Err() != nil:
			return nil
		default:
			return fmt.Errorf("begun after %d: %w", start, err)
		}
	}
	return nil
}

// listAndDrain takes a state and the watch after it, until that is lost.
func (w *workload) listAndDrain(ctx context.Context, random *rand.Rand, under string, after *int64, take func(store.Batch) error) error {
	opening, cancel := context.WithTimeout(ctx, openTime)
	defer cancel()
	list, watch, err := w.any(random).ListAndWatch(opening, under)
	if err != nil {
		return err
	}
	defer watch.Stop()
	if err := w.Wait(ctx, list.Revision); err != nil {
		return err
	}
	if err := errors.Join(isOurs(list.KVs), w.At(under, list.Revision, toKVs(list.KVs))); err != nil {
		return fmt.Errorf("%w: %w", errTaken, err)
	}
	w.watched.lists.Add(1)
	*after = list.Revision
	_, err = w.drain(ctx, watch, list.Revision, take)
	if errors.Is(err, store.ErrCompacted) && *after >= w.compacted.Load() {
		return fmt.Errorf("%w: a watch behind a list, at %d, is compacted away, and nobody compacted beyond %d", errTaken, *after, w.compacted.Load())
	}
	return err
}

// manner of a kind of watcher between two batches.
func (w *workload) manner(random *rand.Rand, kind string, batches int) error {
	switch kind {
	case "slow":
		time.Sleep(time.Duration(random.IntN(int(100 * time.Millisecond))))
	case "resuming", "listing":
		if random.IntN(20) == 0 {
			return errEnough
		}
	case "old":
		if batches > 5 && random.IntN(10) == 0 {
			return errEnough
		}
	}
	return nil
}

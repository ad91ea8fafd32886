package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"
	"k8s.io/client-go/kubernetes"

	"github.com/go-logr/logr"

	"github.com/strake-io/strake/kubelet/podstatus"
)

// statusWriter brings pods' statuses to the API. For each pod the newest wins,
// and never more than one write is under way. A write names the pod's UID, so
// that a namesake is never touched.
type statusWriter struct {
	client kubernetes.Interface
	log    logr.Logger
	slots  chan struct{} // bounds the writes at the same time
	group  *group        // of the owner, who joins the writers

	mu   sync.Mutex // guards pods
	pods map[types.UID]*statusEntry
}

type statusEntry struct {
	namespace, name string
	uid             types.UID
	// turn is held by who writes.
	turn chan struct{}

	mu     sync.Mutex // guards what follows
	want   corev1.PodStatus
	base   *corev1.Pod // the newest object known
	dirty  bool
	active bool // a goroutine is there to write it
}

func newStatusWriter(client kubernetes.Interface, log logr.Logger, writers int, g *group) *statusWriter {
	return &statusWriter{client: client, log: log, slots: make(chan struct{}, writers), group: g, pods: map[types.UID]*statusEntry{}}
}

func (s *statusWriter) entry(pod *corev1.Pod) *statusEntry {
	s.mu.Lock()
	defer s.mu.Unlock()
	e := s.pods[pod.UID]
	if e == nil {
		e = &statusEntry{namespace: pod.Namespace, name: pod.Name, uid: pod.UID, base: pod, turn: make(chan struct{}, 1)}
		s.pods[pod.UID] = e
	}
	return e
}

// observe takes an object that the API sent.
func (s *statusWriter) observe(pod *corev1.Pod) {
	e := s.entry(pod)
	e.mu.Lock()
	defer e.mu.Unlock()
	if newer(pod.ResourceVersion, e.base.ResourceVersion) {
		e.base = pod
	}
}

// newest is the newest object known of a pod: later than the informer's where
// this process wrote last.
func (s *statusWriter) newest(pod *corev1.Pod) *corev1.Pod {
	e := s.entry(pod)
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.base
}

// newer compares resource versions; those that are no numbers count as newer.
func newer(a, b string) bool {
	x, errX := strconv.ParseUint(a, 10, 64)
	y, errY := strconv.ParseUint(b, 10, 64)
	return errX != nil || errY != nil || x >= y
}

func (s *statusWriter) forget(uid types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pods, uid)
}

// set wants a status to be written, and does not wait for it.
func (s *statusWriter) set(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) {
	e := s.entry(pod)
	e.mu.Lock()
	defer e.mu.Unlock()
	if !e.dirty && equality.Semantic.DeepEqual(normal(status), normal(e.base.Status)) {
		e.want = status
		return
	}
	e.want, e.dirty = status, true
	if e.active || ctx.Err() != nil {
		return
	}
	e.active = s.group.Go(func() { s.drain(ctx, e) })
}

// drain writes until the entry is clean.
func (s *statusWriter) drain(ctx context.Context, e *statusEntry) {
	wait := 200 * time.Millisecond
	for {
		err := s.write(ctx, e)
		if err == nil {
			e.mu.Lock()
			if !e.dirty {
				e.active = false
				e.mu.Unlock()
				return
			}
			e.mu.Unlock()
			wait = 200 * time.Millisecond
			continue
		}
		s.log.V(1).Info("pod status not written", "pod", e.namespace+"/"+e.name, "err", err)
		select {
		case <-ctx.Done():
			e.mu.Lock()
			e.active = false
			e.mu.Unlock()
			return
		case <-time.After(wait):
			wait = min(2*wait, 10*time.Second)
		}
	}
}

// flush writes a status now and waits for it.
func (s *statusWriter) flush(ctx context.Context, pod *corev1.Pod, status corev1.PodStatus) error {
	e := s.entry(pod)
	e.mu.Lock()
	e.want, e.dirty = status, true
	e.mu.Unlock()
	return s.write(ctx, e)
}

// write sends what is wanted, if anything is. A pod that is gone needs no status.
func (s *statusWriter) write(ctx context.Context, e *statusEntry) error {
	select {
	case e.turn <- struct{}{}:
		defer func() { <-e.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return ctx.Err()
	}
	e.mu.Lock()
	base, want := e.base, normal(e.want)
	want.Conditions = podstatus.KeepForeign(want.Conditions, base.Status.Conditions)
	dirty := e.dirty
	e.dirty = false
	e.mu.Unlock()
	if !dirty {
		return nil
	}
	patch, same, err := statusPatch(base, want)
	if err != nil || same {
		return err
	}
	got, err := s.client.CoreV1().Pods(e.namespace).Patch(ctx, e.name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
	switch {
	case err == nil:
		e.mu.Lock()
		if got.UID == e.uid && newer(got.ResourceVersion, e.base.ResourceVersion) {
			e.base = got
		}
		e.mu.Unlock()
		return nil
	case apierrors.IsNotFound(err):
		return nil
	case apierrors.IsConflict(err), apierrors.IsInvalid(err):
		// Either a namesake took its place, or the base is old: read it.
		now, getErr := s.client.CoreV1().Pods(e.namespace).Get(ctx, e.name, metav1.GetOptions{})
		if apierrors.IsNotFound(getErr) || getErr == nil && now.UID != e.uid {
			return nil
		}
		if getErr == nil {
			e.mu.Lock()
			e.base = now
			e.mu.Unlock()
		}
	}
	e.mu.Lock()
	e.dirty = true
	e.mu.Unlock()
	return err
}

// statusPatch is the change from an object to a status.
func statusPatch(base *corev1.Pod, want corev1.PodStatus) (patch []byte, same bool, err error) {
	type object struct {
		Metadata struct {
			UID types.UID `json:"uid"`
		} `json:"metadata"`
		Status corev1.PodStatus `json:"status"`
	}
	var before, after object
	before.Status, after.Status = base.Status, want
	after.Metadata.UID = base.UID
	old, err := json.Marshal(before)
	if err != nil {
		return nil, false, fmt.Errorf("status of pod %s/%s: %w", base.Namespace, base.Name, err)
	}
	fresh, err := json.Marshal(after)
	if err != nil {
		return nil, false, fmt.Errorf("status of pod %s/%s: %w", base.Namespace, base.Name, err)
	}
	patch, err = strategicpatch.CreateTwoWayMergePatch(old, fresh, corev1.Pod{})
	if err != nil {
		return nil, false, fmt.Errorf("status of pod %s/%s: %w", base.Namespace, base.Name, err)
	}
	return patch, string(patch) == fmt.Sprintf(`{"metadata":{"uid":%q}}`, base.UID), nil
}

// normal cuts times to the seconds that the API keeps.
func normal(s corev1.PodStatus) corev1.PodStatus {
	s = *s.DeepCopy()
	cut := func(t *metav1.Time) {
		if t != nil && !t.IsZero() {
			*t = metav1.NewTime(t.Truncate(time.Second))
		}
	}
	cut(s.StartTime)
	for i := range s.Conditions {
		cut(&s.Conditions[i].LastTransitionTime)
		cut(&s.Conditions[i].LastProbeTime)
	}
	for _, list := range [][]corev1.ContainerStatus{s.InitContainerStatuses, s.ContainerStatuses, s.EphemeralContainerStatuses} {
		for i := range list {
			for _, state := range []*corev1.ContainerState{&list[i].State, &list[i].LastTerminationState} {
				if state.Running != nil {
					cut(&state.Running.StartedAt)
				}
				if state.Terminated != nil {
					cut(&state.Terminated.StartedAt)
					cut(&state.Terminated.FinishedAt)
				}
			}
		}
	}
	return s
}

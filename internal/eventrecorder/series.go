package eventrecorder

import (
	"encoding/json"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/lru"
)

const (
	seriesMemory = 4096            // events remembered per writer
	seriesEnds   = 6 * time.Minute // silence after which the same event starts afresh
	seriesWrites = time.Minute     // a series that goes on is written at most this often
)

// seriesKey is what makes two events the same one again. The message is part of
// it: an event whose reason for failing changed is news.
type seriesKey struct {
	eventType, action, reason, message string
	regarding                          objectKey
}

type objectKey struct{ kind, namespace, name, uid, fieldPath string }

// seriesState is the last of one event.
type seriesState struct {
	first     *corev1.Event // as created
	count     int32
	last      time.Time
	lastWrite time.Time
}

// seriesCache turns repeated events into series. One goroutine uses it.
type seriesCache struct{ states *lru.Cache }

func newSeriesCache() *seriesCache { return &seriesCache{states: lru.New(seriesMemory)} }

// observe says what to write for e, seen now: e itself with no patch where it
// is new, the first one with its series and a patch where it is a repetition,
// nothing where a recent write says enough.
func (c *seriesCache) observe(e *corev1.Event, now time.Time) (*corev1.Event, []byte) {
	o := &e.InvolvedObject
	key := seriesKey{e.Type, e.Action, e.Reason, e.Message, objectKey{o.Kind, o.Namespace, o.Name, string(o.UID), o.FieldPath}}
	v, ok := c.states.Get(key)
	if ok {
		if s := v.(*seriesState); now.Sub(s.last) < seriesEnds {
			return s.again(now)
		}
	}
	c.states.Add(key, &seriesState{first: e, count: 1, last: now})
	return e.DeepCopy(), nil
}

func (s *seriesState) again(now time.Time) (*corev1.Event, []byte) {
	s.count++
	s.last = now
	if s.count > 2 && now.Sub(s.lastWrite) < seriesWrites {
		return nil, nil
	}
	s.lastWrite = now
	e := s.first.DeepCopy()
	e.Series = &corev1.EventSeries{Count: s.count, LastObservedTime: metav1.NewMicroTime(now)}
	patch, err := json.Marshal(map[string]any{"series": e.Series})
	if err != nil {
		return nil, nil // a count and a time always marshal
	}
	return e, patch
}

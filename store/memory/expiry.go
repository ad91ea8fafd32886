package memory

import (
	"encoding/binary"
	"time"
)

// expiryKey sorts records by when they expire.
func expiryKey(r *record) string {
	var b [8]byte
	binary.BigEndian.PutUint64(b[:], uint64(r.expires.UnixNano()))
	return string(b[:]) + r.kv.Key
}

// armTimer sets the timer to the next expiry. The caller holds mu.
func (s *Store) armTimer() {
	_, key, ok := s.state.expiries.Min()
	if !ok {
		s.disarmTimer()
		return
	}
	r, _ := s.state.tree.Get(key)
	if r.expires.Equal(s.wakeAt) {
		return
	}
	s.disarmTimer()
	s.expiring.Add(1)
	s.wakeAt = r.expires
	s.timer = time.AfterFunc(time.Until(r.expires), s.expire)
}

func (s *Store) disarmTimer() {
	if s.timer != nil && s.timer.Stop() {
		s.expiring.Done()
	}
	s.timer, s.wakeAt = nil, time.Time{}
}

// expire deletes what has reached the end of its TTL.
func (s *Store) expire() {
	defer s.expiring.Done()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return
	}
	now := time.Now()
	for {
		_, key, ok := s.state.expiries.Min()
		if !ok {
			break
		}
		r, _ := s.state.tree.Get(key)
		if r.expires.After(now) {
			break
		}
		s.delete(r)
	}
	s.wakeAt = time.Time{} // it has fired
	s.armTimer()
}

package framework

import (
	"encoding/binary"
	"maps"
	"slices"
)

// Signature collects what plugins look at in a pod. Pods with equal signatures
// get equal answers. Every part is written with its length, so that no two
// different sequences read the same.
type Signature struct{ buf []byte }

// Reset empties it, keeping its memory.
func (s *Signature) Reset() { s.buf = s.buf[:0] }

// Bytes is what was written; valid until the next write.
func (s *Signature) Bytes() []byte { return s.buf }

// String writes a string.
func (s *Signature) String(v string) {
	s.buf = binary.AppendUvarint(s.buf, uint64(len(v)))
	s.buf = append(s.buf, v...)
}

// Int writes a number.
func (s *Signature) Int(v int64) { s.buf = binary.AppendVarint(s.buf, v) }

// Map writes a map in the order of its keys.
func (s *Signature) Map(m map[string]string) {
	s.Int(int64(len(m)))
	if len(m) == 0 {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(m)) {
		s.String(k)
		s.String(m[k])
	}
}

// Resource writes an amount.
func (s *Signature) Resource(r *Resource) {
	s.Int(r.MilliCPU)
	s.Int(r.Memory)
	s.Int(r.EphemeralStorage)
	s.Int(int64(len(r.Scalar)))
	if len(r.Scalar) == 0 {
		return
	}
	for _, k := range slices.Sorted(maps.Keys(r.Scalar)) {
		s.String(string(k))
		s.Int(r.Scalar[k])
	}
}

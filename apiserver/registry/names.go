package registry

import (
	crand "crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"sync"

	"k8s.io/apimachinery/pkg/types"
)

// Names makes random names and UIDs. It is safe for concurrent use.
type Names struct {
	mu     sync.Mutex // guards source
	source rand.Source
}

// NewNames draws from source; nil means a strong generator with a seed of its own.
func NewNames(source rand.Source) *Names {
	if source == nil {
		var seed [32]byte
		// It never fails, by its contract.
		_, _ = crand.Read(seed[:])
		source = rand.NewChaCha8(seed)
	}
	return &Names{source: source}
}

// Uint64 is the next random number; Names is itself a rand.Source.
func (n *Names) Uint64() uint64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.source.Uint64()
}

const (
	suffixLength  = 5
	maxNameLength = 63
	// Without vowels and the characters that look like them, so that no words
	// come out.
	alphabet = "bcdfghjklmnpqrstvwxz2456789"
)

// Generate appends a random suffix to the base of a name, cut so that the whole
// fits into a DNS label.
func (n *Names) Generate(base string) string {
	if len(base) > maxNameLength-suffixLength {
		base = base[:maxNameLength-suffixLength]
	}
	suffix := make([]byte, suffixLength)
	random := n.Uint64()
	for i := range suffix {
		suffix[i] = alphabet[random%uint64(len(alphabet))]
		random /= uint64(len(alphabet))
	}
	return base + string(suffix)
}

// UID is a random UUID (version 4).
func (n *Names) UID() types.UID {
	var b [16]byte
	binary.LittleEndian.PutUint64(b[:8], n.Uint64())
	binary.LittleEndian.PutUint64(b[8:], n.Uint64())
	b[6] = b[6]&0x0f | 0x40
	b[8] = b[8]&0x3f | 0x80
	var out [36]byte
	hex.Encode(out[:], b[:4])
	hex.Encode(out[9:], b[4:6])
	hex.Encode(out[14:], b[6:8])
	hex.Encode(out[19:], b[8:10])
	hex.Encode(out[24:], b[10:])
	out[8], out[13], out[18], out[23] = '-', '-', '-', '-'
	return types.UID(out[:])
}

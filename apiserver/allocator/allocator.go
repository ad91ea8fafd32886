// Package allocator hands out what services need from small shared pools:
// cluster addresses and node ports.
//
// The pools live in the store in the layout of Kubernetes (KEP-1880): one
// networking.k8s.io IPAddress object per cluster address, created only where it
// is absent, and one bitmap of all node ports, changed by compare and swap. So
// several masters may allocate at once, and what one holds the others see. Addresses
// come from all the ranges that [Addresses.Use] names: those of the ServiceCIDRs, which
// apiserver/servicecidrs follows.
//
// It stands beside apiserver/resources, whose services take from it just before
// they are written and give back when they are gone; [Repairer] finds what a
// crash in between left taken.
package allocator

import (
	"errors"
	"fmt"
	"math/rand/v2"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	"k8s.io/client-go/kubernetes/scheme"
)

// What clients see of a failed allocation; the words are upstream's.
var (
	// ErrFull says that nothing in the pool is free.
	ErrFull = errors.New("range is full")
	// ErrAddressTaken says that the wanted address belongs to someone.
	ErrAddressTaken = errors.New("provided IP is already allocated")
	// ErrOtherNetwork says that the wanted address is not in the pool.
	ErrOtherNetwork = errors.New("the provided network does not match the current range")
	// ErrPortTaken says that the wanted port belongs to someone.
	ErrPortTaken = errors.New("provided port is already allocated")
)

// NotInRangeError says that a wanted port is not in the pool.
type NotInRangeError struct{ Range PortRange }

func (e *NotInRangeError) Error() string {
	return fmt.Sprintf("provided port is not in the valid range. The range of valid ports is %s", e.Range)
}

// staticBand is how many places at the start of a pool are left to those who ask
// for a certain one (KEP-3070, KEP-3668): automatic choices come from behind it
// while there are any.
func staticBand(size, divisor, most uint64) uint64 {
	const least = 16
	if size <= least {
		return 0
	}
	return min(max(least, size/divisor), most)
}

func intN(f func(n int) int) func(n int) int {
	if f == nil {
		return rand.IntN
	}
	return f
}

// Objects travel to the store as upstream's: the protobuf envelope.
var (
	encoder = protobuf.NewSerializer(scheme.Scheme, scheme.Scheme)
	decoder = scheme.Codecs.UniversalDeserializer()
)

func encode(obj runtime.Object) ([]byte, error) { return runtime.Encode(encoder, obj) }

func decode[T runtime.Object](value []byte, into T) error {
	_, _, err := decoder.Decode(value, nil, into)
	return err
}

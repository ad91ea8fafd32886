package allocator

import (
	"context"
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/store"
)

const portsKey = "/registry/ranges/servicenodeports"

// PortRange is an inclusive range of ports, printed as "30000-32767".
type PortRange struct{ First, Last int32 }

// DefaultPortRange is where node ports come from unless the host says otherwise.
var DefaultPortRange = PortRange{First: 30000, Last: 32767}

func (r PortRange) String() string { return fmt.Sprintf("%d-%d", r.First, r.Last) }

func (r PortRange) size() uint64 { return uint64(r.Last-r.First) + 1 }

func (r PortRange) contains(port int32) bool { return r.First <= port && port <= r.Last }

// ParsePortRange reads "first-last".
func ParsePortRange(s string) (PortRange, error) {
	a, b, ok := strings.Cut(s, "-")
	first, err1 := strconv.ParseInt(a, 10, 32)
	last, err2 := strconv.ParseInt(b, 10, 32)
	if !ok || err1 != nil || err2 != nil || first < 1 || last > 65535 || last < first {
		return PortRange{}, fmt.Errorf("%q is no port range of the form first-last", s)
	}
	return PortRange{First: int32(first), Last: int32(last)}, nil
}

// PortConfig configures [NewPorts].
type PortConfig struct {
	// Store that keeps the bitmap. Required.
	Store store.Store
	// Range of ports; zero means [DefaultPortRange].
	Range PortRange
	// IntN gives a random number in [0, n) and must be safe for concurrent use;
	// nil means math/rand/v2.
	IntN func(n int) int
}

// Ports is the pool of node ports. It is safe for concurrent use, by several
// processes too.
type Ports struct{ cfg PortConfig }

// NewPorts makes a pool; it touches no store.
func NewPorts(cfg PortConfig) (*Ports, error) {
	if cfg.Store == nil {
		return nil, errors.New("allocator: a store is required")
	}
	if cfg.Range == (PortRange{}) {
		cfg.Range = DefaultPortRange
	}
	if cfg.Range.First < 1 || cfg.Range.Last > 65535 || cfg.Range.Last < cfg.Range.First {
		return nil, fmt.Errorf("allocator: %s is no range of ports", cfg.Range)
	}
	cfg.IntN = intN(cfg.IntN)
	return &Ports{cfg: cfg}, nil
}

// Range is the pool.
func (p *Ports) Range() PortRange { return p.cfg.Range }

// Allocate takes certain ports, all or none. It fails with a *[PortError] that
// names the first which is taken or out of range. A dry run only looks.
func (p *Ports) Allocate(ctx context.Context, dryRun bool, ports ...int32) error {
	return p.change(ctx, dryRun, func(bits *big.Int) (bool, error) {
		for _, port := range ports {
			if !p.cfg.Range.contains(port) {
				return false, &PortError{Port: port, Err: &NotInRangeError{Range: p.cfg.Range}}
			}
			n := int(port - p.cfg.Range.First)
			if bits.Bit(n) == 1 {
				return false, &PortError{Port: port, Err: ErrPortTaken}
			}
			bits.SetBit(bits, n, 1)
		}
		return len(ports) > 0, nil
	})
}

// PortError says which port could not be had.
type PortError struct {
	Port int32
	Err  error
}

func (e *PortError) Error() string { return e.Err.Error() }
func (e *PortError) Unwrap() error { return e.Err }

// AllocateNext takes any free port for which fits holds (nil: any), or fails
// with [ErrFull].
func (p *Ports) AllocateNext(ctx context.Context, dryRun bool, fits func(port int32) bool) (int32, error) {
	size := p.cfg.Range.size()
	band := staticBand(size, 32, 128)
	var port int32
	err := p.change(ctx, dryRun, func(bits *big.Int) (bool, error) {
		for _, part := range [][2]uint64{{band, size}, {0, band}} {
			n := int(part[1] - part[0])
			if n == 0 {
				continue
			}
			start := p.cfg.IntN(n)
			for i := range n {
				at := int(part[0]) + (start+i)%n
				port = p.cfg.Range.First + int32(at)
				if bits.Bit(at) == 0 && (fits == nil || fits(port)) {
					bits.SetBit(bits, at, 1)
					return true, nil
				}
			}
		}
		return false, ErrFull
	})
	return port, err
}

// Release gives ports back.
func (p *Ports) Release(ctx context.Context, ports ...int32) error {
	return p.change(ctx, false, func(bits *big.Int) (bool, error) {
		changed := false
		for _, port := range ports {
			if n := int(port - p.cfg.Range.First); p.cfg.Range.contains(port) && bits.Bit(n) == 1 {
				bits.SetBit(bits, n, 0)
				changed = true
			}
		}
		return changed, nil
	})
}

// change applies a function to the bitmap by compare and swap, until it is not
// overtaken. The function says whether there is anything to write.
func (p *Ports) change(ctx context.Context, dryRun bool, apply func(bits *big.Int) (bool, error)) error {
	kv, _, err := p.cfg.Store.Get(ctx, portsKey)
	if err != nil {
		return fmt.Errorf("reading the node ports: %w", err)
	}
	for {
		held := &corev1.RangeAllocation{}
		cond := store.Absent
		if kv != nil {
			cond = store.At(kv.ModRevision)
			if err := decode(kv.Value, held); err != nil {
				return fmt.Errorf("decoding the node ports: %w", err)
			}
		}
		bits, err := p.rebase(held)
		if err != nil {
			return err
		}
		write, err := apply(bits)
		if err != nil || !write || dryRun {
			return err
		}
		held.TypeMeta = metav1.TypeMeta{APIVersion: "v1", Kind: "RangeAllocation"}
		if held.CreationTimestamp.IsZero() {
			held.CreationTimestamp = metav1.NewTime(time.Now().Truncate(time.Second))
		}
		held.Range, held.Data = p.cfg.Range.String(), bits.Bytes()
		value, err := encode(held)
		if err != nil {
			return fmt.Errorf("encoding the node ports: %w", err)
		}
		_, err = p.cfg.Store.Put(ctx, store.Put{Key: portsKey, Value: value, If: cond})
		var conflict *store.ConflictError
		switch {
		case err == nil:
			return nil
		case errors.As(err, &conflict):
			kv = conflict.Current
		default:
			return fmt.Errorf("writing the node ports: %w", err)
		}
	}
}

// rebase is the stored bitmap in terms of the range in force: a host may have
// moved its range since.
func (p *Ports) rebase(held *corev1.RangeAllocation) (*big.Int, error) {
	bits := new(big.Int).SetBytes(held.Data)
	if held.Range == "" || held.Range == p.cfg.Range.String() {
		return bits, nil
	}
	was, err := ParsePortRange(held.Range)
	if err != nil {
		return nil, fmt.Errorf("the stored node ports: %w", err)
	}
	moved := new(big.Int)
	for n := range bits.BitLen() {
		if port := was.First + int32(n); bits.Bit(n) == 1 && p.cfg.Range.contains(port) {
			moved.SetBit(moved, int(port-p.cfg.Range.First), 1)
		}
	}
	return moved, nil
}

package history

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"strconv"
	"time"
)

// Settings of a run, which the environment may change: see the package comment.
type Settings struct {
	// Seed of everything that is chosen at random.
	Seed uint64
	// Time that the clients work.
	Time time.Duration
	// Dir for drawings.
	Dir string
}

// FromEnvironment reads HISTORY_SEED (default: another one each time), HISTORY_TIME
// (default: the argument) and HISTORY_DIR.
func FromEnvironment(usual time.Duration) (s Settings, err error) {
	s = Settings{Seed: rand.Uint64(), Time: usual, Dir: os.Getenv("HISTORY_DIR")}
	if seed := os.Getenv("HISTORY_SEED"); seed != "" {
		if s.Seed, err = strconv.ParseUint(seed, 10, 64); err != nil {
			return s, fmt.Errorf("HISTORY_SEED: %w", err)
		}
	}
	if long := os.Getenv("HISTORY_TIME"); long != "" {
		if s.Time, err = time.ParseDuration(long); err != nil {
			return s, fmt.Errorf("HISTORY_TIME: %w", err)
		}
	}
	return s, nil
}

// Random is a source of one part of the run, the same for the same seed.
func (s Settings) Random(part string) *rand.Rand {
	h := fnv.New64a()
	h.Write([]byte(part))
	return rand.New(rand.NewPCG(s.Seed, h.Sum64()))
}

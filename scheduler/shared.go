package scheduler

import (
	"math/rand/v2"

	"k8s.io/utils/lru"

	"github.com/strake-io/strake/scheduler/framework"
)

// maxShared is how many evaluations are kept. Each takes some 100 bytes a node.
const maxShared = 64

// sharedEvaluations keeps the evaluations of pods alike, by signature.
type sharedEvaluations struct {
	profile   *profile
	signature framework.Signature
	kept      *lru.Cache
}

func newSharedEvaluations(p *profile) *sharedEvaluations {
	return &sharedEvaluations{profile: p, kept: lru.New(maxShared)}
}

// of returns what the plugins say of a pod now. It is valid until the snapshot
// changes.
func (s *sharedEvaluations) of(snapshot *framework.Snapshot, pod *framework.PodInfo) (*evaluation, error) {
	if !s.profile.sign(pod, &s.signature) {
		return evaluate(s.profile, snapshot, pod)
	}
	key := string(s.signature.Bytes())
	if v, ok := s.kept.Get(key); ok {
		e := v.(*evaluation)
		valid, err := e.refresh(snapshot)
		if valid && err == nil {
			return e, nil
		}
		s.kept.Remove(key)
		if err != nil {
			return nil, err
		}
	}
	e, err := evaluate(s.profile, snapshot, pod)
	if err == nil && e.narrowedBy == nil && e.rejectedAll.status == nil {
		s.kept.Add(key, e)
	}
	return e, err
}

// choose draws one of the best nodes, by index; there must be one.
func (e *evaluation) choose(random *rand.Rand) int32 {
	top := e.rank.top()
	if len(top) == 1 {
		return top[0]
	}
	return top[random.IntN(len(top))]
}

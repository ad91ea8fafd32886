package framework

// DefaultNormalize scales scores so that the highest becomes [MaxNodeScore].
// With reverse the lowest raw score is the best: 0 becomes MaxNodeScore.
func DefaultNormalize(scores []NodeScore, reverse bool) {
	var highest int64
	for i := range scores {
		highest = max(highest, scores[i].Score)
	}
	for i := range scores {
		score := int64(0)
		if highest > 0 {
			score = MaxNodeScore * scores[i].Score / highest
		}
		if reverse {
			score = MaxNodeScore - score
		}
		scores[i].Score = score
	}
}

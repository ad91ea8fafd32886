// Package imagelocality prefers nodes that have the pod's images.
package imagelocality

import (
	"strings"

	corev1 "k8s.io/api/core/v1"

	"github.com/strake-io/strake/scheduler/framework"
)

// Name of the plugin.
const Name = "ImageLocality"

// Images smaller than minBytes in all are not worth a preference, and beyond
// maxBytes for each container there is no stronger one.
const (
	minBytes int64 = 23 << 20
	maxBytes int64 = 1000 << 20
)

// Plugin is the Score plugin.
type Plugin struct{}

var (
	_ framework.PreScorePlugin = Plugin{}
	_ framework.ScorePlugin    = Plugin{}
	_ framework.Signer         = Plugin{}
)

var skip = framework.NewStatus(framework.Skip)

// New returns the plugin.
func New() Plugin { return Plugin{} }

// Name is [Name].
func (Plugin) Name() string { return Name }

// wanted is the pod's images and how many nodes have each.
type wanted struct {
	images []image
	nodes  int
	max    int64
}

type image struct {
	name  string
	nodes int
}

// PreScore looks up the pod's images, and skips where no node has any.
func (Plugin) PreScore(c *framework.Cycle, _ []*framework.NodeInfo) *framework.Status {
	w := wanted{nodes: len(c.Snapshot.Nodes())}
	var containers int64
	eachImage(c.Pod.Pod, func(name string) {
		containers++
		if n := c.Snapshot.ImageNodes(name); n > 0 {
			w.images = append(w.images, image{name, n})
		}
	})
	if len(w.images) == 0 {
		return skip
	}
	w.max = maxBytes * containers
	c.SetState(Name, &w)
	return nil
}

// Score grows with the bytes that the node need not pull. An image that only few
// nodes have counts for less, so that pods do not all go where the first one went.
func (Plugin) Score(c *framework.Cycle, node *framework.NodeInfo) (int64, *framework.Status) {
	w, ok := c.State(Name).(*wanted)
	if !ok {
		return 0, nil
	}
	var sum int64
	for _, im := range w.images {
		if size, ok := node.Images[im.name]; ok {
			sum += int64(float64(size) * (float64(im.nodes) / float64(w.nodes)))
		}
	}
	sum = min(max(sum, minBytes), w.max)
	return framework.MaxNodeScore * (sum - minBytes) / (w.max - minBytes), nil
}

// Sign writes the images.
func (Plugin) Sign(pod *framework.PodInfo, s *framework.Signature) bool {
	n := 0
	eachImage(pod.Pod, func(string) { n++ })
	s.Int(int64(n))
	eachImage(pod.Pod, s.String)
	return true
}

func eachImage(pod *corev1.Pod, f func(name string)) {
	for i := range pod.Spec.InitContainers {
		f(normalize(pod.Spec.InitContainers[i].Image))
	}
	for i := range pod.Spec.Containers {
		f(normalize(pod.Spec.Containers[i].Image))
	}
	for i := range pod.Spec.Volumes {
		if v := pod.Spec.Volumes[i].Image; v != nil {
			f(normalize(v.Reference))
		}
	}
}

// normalize adds the default tag. A digest has a colon too.
func normalize(name string) string {
	if strings.LastIndex(name, ":") <= strings.LastIndex(name, "/") {
		return name + ":latest"
	}
	return name
}

// Package nodepods finds the pods of a node in the shared pod informer.
package nodepods

import (
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/controllers"
)

const name = "strake.node"

// Index looks pods up by their node.
type Index struct{ indexer cache.Indexer }

// New adds the index to the informer of pods.
func New(pods cache.SharedIndexInformer) (Index, error) {
	err := controllers.AddIndex(pods, name, func(o any) ([]string, error) {
		if p, ok := o.(*corev1.Pod); ok && p.Spec.NodeName != "" {
			return []string{p.Spec.NodeName}, nil
		}
		return nil, nil
	})
	return Index{pods.GetIndexer()}, err
}

// On are the pods of a node.
func (x Index) On(node string) []*corev1.Pod {
	items, err := x.indexer.ByIndex(name, node)
	if err != nil {
		return nil
	}
	pods := make([]*corev1.Pod, 0, len(items))
	for _, item := range items {
		if p, ok := item.(*corev1.Pod); ok {
			pods = append(pods, p)
		}
	}
	return pods
}

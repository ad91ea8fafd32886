// Package metadatawatch makes informers of kinds that are known by their names only,
// for controllers that look at objects of any kind and need little of each.
package metadatawatch

import (
	"context"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/tools/cache"

	"github.com/strake-io/strake/controllers"
)

// New makes an informer of the metadata of a kind in all namespaces, of which slim
// keeps what its user needs. It is the caller's to run. Env must have a metadata
// client.
func New(env *controllers.Env, of schema.GroupVersionResource, indexers cache.Indexers, slim cache.TransformFunc) (cache.SharedIndexInformer, error) {
	informer := metadatainformer.NewFilteredMetadataInformer(env.Metadata, of, metav1.NamespaceAll, 0, indexers, nil).Informer()
	if err := informer.SetTransform(slim); err != nil {
		return nil, fmt.Errorf("set transform: %w", err)
	}
	// A kind may go before its user hears of it. The default handler would tell a
	// process-wide logger.
	tell := func(_ context.Context, _ *cache.Reflector, err error) {
		env.Logger.V(1).Info("A watch broke off", "resource", of, "error", err.Error())
	}
	if err := informer.SetWatchErrorHandlerWithContext(tell); err != nil {
		return nil, fmt.Errorf("set watch error handler: %w", err)
	}
	return informer, nil
}

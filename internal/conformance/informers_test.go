package conformance

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/metadata/metadatainformer"
)

// TestInformers starts what every controller manager, scheduler and kubelet stands
// on: an informer for each kind that is served, typed (in protobuf) and of metadata
// only. All must become synced.
func TestInformers(t *testing.T) {
	c := connect(t)
	_, lists, err := c.discovery.ServerGroupsAndResources()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	typed := informers.NewSharedInformerFactory(c.typed, 0)
	partial := metadatainformer.NewSharedInformerFactory(c.metadata, 0)
	defer func() {
		cancel()
		typed.Shutdown()
		partial.Shutdown()
	}()
	n := 0
	for _, list := range lists {
		gv, err := schema.ParseGroupVersion(list.GroupVersion)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range list.APIResources {
			if strings.Contains(r.Name, "/") || !slices.Contains(r.Verbs, "watch") || strings.HasSuffix(gv.Group, ".example.com") {
				continue
			}
			n++
			partial.ForResource(gv.WithResource(r.Name))
			if informer, err := typed.ForResource(gv.WithResource(r.Name)); err == nil {
				informer.Informer()
			} else if gv.Group != "apiextensions.k8s.io" && gv.Group != "apiregistration.k8s.io" {
				t.Errorf("client-go knows no %s of %s", r.Name, gv)
			}
		}
	}
	typed.Start(ctx.Done())
	partial.Start(ctx.Done())
	for kind, synced := range typed.WaitForCacheSync(ctx.Done()) {
		if !synced {
			t.Errorf("the informer of %s is not synced", kind)
		}
	}
	for gvr, synced := range partial.WaitForCacheSync(ctx.Done()) {
		if !synced {
			t.Errorf("the metadata informer of %s is not synced", gvr)
		}
	}
	t.Logf("%d kinds are watched", n)
}

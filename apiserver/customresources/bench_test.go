package customresources_test

import (
	"context"
	"fmt"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// The paths of one object of a kind with a schema and a rule, in process.
func BenchmarkObject(b *testing.B) {
	w, ctx := start(b), context.Background()
	w.define(ships)
	if _, err := w.of("v1").Create(ctx, ship(b, "a", "{flag: nl, masts: 1}"), metav1.CreateOptions{}); err != nil {
		b.Fatal(err)
	}
	b.Run("create", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			if _, err := w.of("v1").Create(ctx, ship(b, fmt.Sprintf("n%d-%d", b.N, i), "{flag: nl, masts: 1}"), metav1.CreateOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("get", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := w.of("v1").Get(ctx, "a", metav1.GetOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("patch", func(b *testing.B) {
		b.ReportAllocs()
		for i := range b.N {
			patch := fmt.Appendf(nil, `{"metadata":{"labels":{"n":"%d-%d"}}}`, b.N, i)
			if _, err := w.of("v1").Patch(ctx, "a", types.MergePatchType, patch, metav1.PatchOptions{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// From the request that creates a definition until its objects are served.
func BenchmarkEstablish(b *testing.B) {
	w, ctx := start(b), context.Background()
	for b.Loop() {
		w.define(ships)
		b.StopTimer()
		if err := w.crds.ApiextensionsV1().CustomResourceDefinitions().Delete(ctx, "ships.example.com", metav1.DeleteOptions{}); err != nil {
			b.Fatal(err)
		}
		for {
			if _, err := w.crds.ApiextensionsV1().CustomResourceDefinitions().Get(ctx, "ships.example.com", metav1.GetOptions{}); err != nil {
				break
			}
		}
		b.StartTimer()
	}
}

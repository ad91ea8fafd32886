package apiserver

import (
	"fmt"
	"net/http"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/store/cache"
)

// getComputed answers with one object of a resource that is not stored. That there is
// no such object is an error of no kind, as upstream's.
func (x *exchange) getComputed(out codec.Output) error {
	all, err := x.resource.Computed(x.r.Context())
	if err != nil {
		return err
	}
	for _, obj := range all {
		if accessor, err := meta.Accessor(obj); err == nil && accessor.GetName() == x.info.Name {
			return x.sendObject(http.StatusOK, out, x.resource.GVK, obj, func() ([]byte, error) { return codec.Item(out.Media, obj) })
		}
	}
	return fmt.Errorf("Component not found: %s", x.info.Name) //nolint:staticcheck // upstream's message
}

// listComputed answers with all of them that the selectors choose, in one page.
func (x *exchange) listComputed(out codec.Output) error {
	opts, err := x.listOptions()
	if err != nil {
		return err
	}
	selection := x.selection(opts)
	if err := x.registry.Check(selection); err != nil {
		return err
	}
	all, err := x.resource.Computed(x.r.Context())
	if err != nil {
		return err
	}
	var chosen []runtime.Object
	for _, obj := range all {
		if x.registry.Matches(selection, obj) {
			chosen = append(chosen, obj)
		}
	}
	if out.View == codec.TableView {
		return x.sendTable(out, metav1.ListMeta{}, len(chosen), func(i int) (runtime.Object, *cache.Entry) { return chosen[i], nil })
	}
	kind := listKind(x.resource)
	item := func(i int) ([]byte, error) { return codec.Item(out.Media, chosen[i]) }
	if out.Partial() {
		kind = out.Kind()
		item = func(i int) ([]byte, error) {
			partial, err := codec.Partial(chosen[i], out.Beta)
			if err != nil {
				return nil, err
			}
			return codec.Item(out.Media, partial)
		}
	}
	return x.sendList(out, kind, metav1.ListMeta{}, len(chosen), item)
}

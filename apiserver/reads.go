package apiserver

import (
	"net/http"
	"strconv"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/strake-io/strake/apiserver/codec"
	"github.com/strake-io/strake/apiserver/registry"
	"github.com/strake-io/strake/store/cache"
)

func (x *exchange) get() error {
	out, err := x.accepts(x.offer())
	if err != nil {
		return err
	}
	if err := noExport(x.query["export"]); err != nil {
		return err
	}
	if x.resource.Computed != nil {
		return x.getComputed(out)
	}
	var opts metav1.GetOptions
	if err := metav1.Convert_url_Values_To_v1_GetOptions(&x.query, &opts, nil); err != nil {
		return apierrors.NewBadRequest(err.Error())
	}
	entry, err := x.registry.Get(x.r.Context(), x.namespace(), x.info.Name, opts.ResourceVersion)
	if err != nil {
		return err
	}
	return x.sendObject(http.StatusOK, out, x.resource.GVK, entry.Object, func() ([]byte, error) { return itemOf(entry, out.Media) })
}

// noExport refuses what a parameter of old asked for.
func noExport(values []string) error {
	var export bool
	// It fails for no value.
	_ = runtime.Convert_Slice_string_To_bool(&values, &export, nil)
	if export {
		return apierrors.NewBadRequest("the export parameter, deprecated since v1.14, is no longer supported")
	}
	return nil
}

func (x *exchange) list() error {
	out, err := x.accepts(x.offer())
	if err != nil {
		return err
	}
	if x.resource.Computed != nil {
		return x.listComputed(out)
	}
	opts, err := x.listOptions()
	if err != nil {
		return err
	}
	page, err := x.registry.List(x.r.Context(), registry.ListOptions{
		Selection: x.selection(opts), Version: opts.ResourceVersion, Match: opts.ResourceVersionMatch,
		Limit: opts.Limit, Continue: opts.Continue,
	})
	if err != nil {
		return err
	}
	return x.sendPage(out, page)
}

// sendPage answers with a list.
func (x *exchange) sendPage(out codec.Output, page *registry.Page) error {
	list := metav1.ListMeta{
		ResourceVersion: strconv.FormatInt(page.Revision, 10), Continue: page.Continue, RemainingItemCount: page.Remaining,
	}
	x.auditPage(page, list)
	switch out.View {
	case codec.PartialView:
		return wrongView("you requested PartialObjectMetadata, but the requested object is a list (" + internalName(listKind(x.resource)) + ")")
	case codec.TableView:
		return x.sendTable(out, list, len(page.Entries), func(i int) (runtime.Object, *cache.Entry) { return page.Entries[i].Object, page.Entries[i] })
	}
	kind, item := listKind(x.resource), func(i int) ([]byte, error) { return itemOf(page.Entries[i], out.Media) }
	if out.Partial() {
		kind, item = out.Kind(), func(i int) ([]byte, error) { return partialOf(page.Entries[i], out) }
	}
	return x.sendList(out, kind, list, len(page.Entries), item)
}

// sendTable answers with a table of n objects. One that stands in the cache comes with
// its entry, which keeps the JSON of its metadata: that is most of a row, and does not
// age as the cells do.
func (x *exchange) sendTable(out codec.Output, list metav1.ListMeta, n int, object func(i int) (runtime.Object, *cache.Entry)) error {
	opts, err := x.tableOptions()
	if err != nil {
		return err
	}
	columns := codec.Columns(&x.resource.Table)
	if opts.NoHeaders {
		columns = nil
	}
	now := time.Now()
	x.w.Header().Set("Content-Type", out.Media.String())
	body, finish := x.body(http.StatusOK)
	err = codec.WriteTable(body, out, list, columns, n, func(dst []byte, i int) ([]byte, error) {
		obj, entry := object(i)
		cells, err := codec.Cells(&x.resource.Table, obj, now)
		if err != nil {
			return dst, err
		}
		gvk, item, err := x.rowObject(out, opts.IncludeObject, obj, entry)
		if err != nil {
			return dst, err
		}
		return codec.AppendRow(dst, cells, gvk, item)
	})
	if err != nil {
		return err
	}
	return finish()
}

// rowObject is what a row of a table has beside its cells, in JSON.
func (x *exchange) rowObject(out codec.Output, include metav1.IncludeObjectPolicy, obj runtime.Object, entry *cache.Entry) (schema.GroupVersionKind, []byte, error) {
	var item []byte
	var err error
	switch {
	case include == metav1.IncludeNone:
		return schema.GroupVersionKind{}, nil, nil
	case include == metav1.IncludeObject:
		if item, err = codec.Item(codec.JSON, obj); selfDescribing(obj) {
			return schema.GroupVersionKind{}, item, err
		}
		return x.resource.GVK, item, err
	}
	partial := codec.Output{Media: codec.JSON, View: codec.PartialView, Beta: out.Beta}
	if entry != nil {
		item, err = partialOf(entry, partial)
		return partial.Kind(), item, err
	}
	metadata, err := codec.Partial(obj, out.Beta)
	if err != nil {
		return schema.GroupVersionKind{}, nil, err
	}
	item, err = codec.Item(codec.JSON, metadata)
	return partial.Kind(), item, err
}

// itemOf is an entry's ready bytes, made on first use. YAML is made from JSON.
func itemOf(e *cache.Entry, media codec.Media) ([]byte, error) {
	if media == codec.Protobuf {
		return e.Encoding("protobuf", func() ([]byte, error) { return codec.Item(codec.Protobuf, e.Object) })
	}
	return e.Encoding("json", func() ([]byte, error) { return codec.Item(codec.JSON, e.Object) })
}

// partialOf is the same of the metadata alone.
func partialOf(e *cache.Entry, out codec.Output) ([]byte, error) {
	key := "json;partial"
	switch {
	case out.Media == codec.Protobuf:
		key = "protobuf;partial"
	case out.Beta:
		key = "json;partial;beta"
	}
	return e.Encoding(key, func() ([]byte, error) {
		partial, err := codec.Partial(e.Object, out.Beta)
		if err != nil {
			return nil, err
		}
		return codec.Item(out.Media, partial)
	})
}

func versionOf(obj runtime.Object) string {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return ""
	}
	return accessor.GetResourceVersion()
}

// kindFor is the kind to put in front of an object's item: none where it tells by
// itself.
func (x *exchange) kindFor(obj runtime.Object) schema.GroupVersionKind {
	if selfDescribing(obj) {
		return schema.GroupVersionKind{}
	}
	return x.resource.GVK
}

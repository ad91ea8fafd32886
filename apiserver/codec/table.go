package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/strake-io/strake/apiserver/resource"
)

// Partial is the metadata of an object, in version v1 or else v1beta1.
func Partial(obj runtime.Object, beta bool) (*metav1.PartialObjectMetadata, error) {
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	partial := meta.AsPartialObjectMetadata(accessor)
	partial.SetGroupVersionKind(Output{View: PartialView, Beta: beta}.Kind())
	return partial, nil
}

// Columns of a resource's table: its own, or name and age.
func Columns(table *resource.Table) []metav1.TableColumnDefinition {
	if len(table.Columns) > 0 {
		return table.Columns
	}
	docs := metav1.ObjectMeta{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		{Name: "Name", Type: "string", Format: "name", Description: docs["name"]},
		{Name: "Age", Type: "string", Description: docs["creationTimestamp"]},
	}
}

// Cells of an object's row.
func Cells(table *resource.Table, obj runtime.Object, now time.Time) ([]any, error) {
	if len(table.Columns) > 0 && table.Cells != nil {
		return table.Cells(obj, now), nil
	}
	accessor, err := meta.Accessor(obj)
	if err != nil {
		return nil, err
	}
	return []any{accessor.GetName(), Age(accessor.GetCreationTimestamp(), now)}, nil
}

// AppendRow appends a row in JSON, whose object is item, the JSON of an object without
// its kind; nil: the row has none.
func AppendRow(dst []byte, cells []any, gvk schema.GroupVersionKind, item []byte) ([]byte, error) {
	data, err := json.Marshal(cells)
	if err != nil {
		return dst, err
	}
	dst = append(dst, `{"cells":`...)
	dst = append(dst, data...)
	dst = append(dst, `,"object":`...)
	if item == nil {
		return append(dst, `null}`...), nil
	}
	return append(appendJSONObject(dst, gvk, item), '}'), nil
}

// Row is one row of a table. include is the query parameter of that name: None,
// Metadata (the default) or Object.
func Row(table *resource.Table, out Output, gvk schema.GroupVersionKind, obj runtime.Object, include metav1.IncludeObjectPolicy, now time.Time) (metav1.TableRow, error) {
	var row metav1.TableRow
	var err error
	if row.Cells, err = Cells(table, obj, now); err != nil {
		return row, err
	}
	switch include {
	case metav1.IncludeNone:
	case metav1.IncludeObject:
		row.Object.Object = WithKind(obj, gvk)
	default:
		partial, err := Partial(obj, out.Beta)
		if err != nil {
			return row, err
		}
		row.Object.Object = partial
	}
	return row, nil
}

// Age is how kubectl shows the time since t.
func Age(t metav1.Time, now time.Time) string {
	if t.IsZero() {
		return "<unknown>"
	}
	return duration.HumanDuration(now.Sub(t.Time))
}

// NewTable is a table with these rows. columns nil leaves the definitions out, as
// in a watch after the first event.
func NewTable(out Output, list metav1.ListMeta, columns []metav1.TableColumnDefinition, rows ...metav1.TableRow) *metav1.Table {
	t := &metav1.Table{ListMeta: list, ColumnDefinitions: columns, Rows: rows}
	t.SetGroupVersionKind(out.Kind())
	if t.ColumnDefinitions == nil {
		t.ColumnDefinitions = []metav1.TableColumnDefinition{}
	}
	return t
}

// WriteTable streams a table of n rows to w; row appends the JSON of one.
func WriteTable(w io.Writer, out Output, list metav1.ListMeta, columns []metav1.TableColumnDefinition, n int, row func(dst []byte, i int) ([]byte, error)) error {
	var b bytes.Buffer
	whole := out.Media != JSON || out.Pretty
	target := w
	if whole {
		target = &b
	}
	head, err := json.Marshal(NewTable(out, list, columns))
	if err != nil {
		return err
	}
	const tail = `"rows":null}`
	if !bytes.HasSuffix(head, []byte(tail)) {
		return fmt.Errorf("encode table: unexpected form of an empty one")
	}
	if _, err := target.Write(append(head[:len(head)-len(`null}`)], '[')); err != nil {
		return err
	}
	var data []byte
	for i := range n {
		data = data[:0]
		if i > 0 {
			data = append(data, ',')
		}
		if data, err = row(data, i); err != nil {
			return err
		}
		if _, err := target.Write(data); err != nil {
			return err
		}
	}
	if !whole {
		_, err = target.Write([]byte("]}\n"))
		return err
	}
	b.WriteString("]}")
	data, err = finishJSON(out, b.Bytes())
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

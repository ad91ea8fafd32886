package customresources

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/util/jsonpath"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
)

// paths evaluates one JSON path, each evaluation with a parser of its own: parsers
// keep state.
type paths struct{ pool *sync.Pool }

// newPath says whether the text is a path.
func newPath(text string) (paths, error) {
	make := func() (*jsonpath.JSONPath, error) {
		p := jsonpath.New(text).AllowMissingKeys(true)
		return p, p.Parse("{" + text + "}")
	}
	first, err := make()
	if err != nil {
		return paths{}, err
	}
	pool := &sync.Pool{New: func() any {
		p, _ := make() // it has been parsed before
		return p
	}}
	pool.Put(first)
	return paths{pool}, nil
}

// first is the first value at the path; false where there is none.
func (p paths) first(object map[string]any) (any, bool) {
	parser := p.pool.Get().(*jsonpath.JSONPath)
	defer p.pool.Put(parser)
	results, err := parser.FindResults(object)
	if err != nil || len(results) == 0 || len(results[0]) == 0 {
		return nil, false
	}
	if v := results[0][0]; v.IsValid() && v.CanInterface() {
		return v.Interface(), true
	}
	return nil, false
}

// table of a version: its columns, or the age where it has none.
func (v *version) table() resource.Table {
	t := resource.Table{Columns: []metav1.TableColumnDefinition{columns.Name()}}
	printed := v.spec.AdditionalPrinterColumns
	if len(printed) == 0 {
		printed = []apiextensionsv1.CustomResourceColumnDefinition{{
			Name: "Age", Type: "date", Description: metav1.ObjectMeta{}.SwaggerDoc()["creationTimestamp"], JSONPath: ".metadata.creationTimestamp",
		}}
	}
	var values []paths
	for _, c := range printed {
		p, err := newPath(c.JSONPath)
		if err != nil {
			break // as upstream: the columns before it
		}
		description := c.Description
		if description == "" {
			description = "Custom resource definition column (in JSONPath format): " + c.JSONPath
		}
		values = append(values, p)
		t.Columns = append(t.Columns, metav1.TableColumnDefinition{
			Name: c.Name, Type: c.Type, Format: c.Format, Description: description, Priority: c.Priority,
		})
	}
	t.Cells = func(obj runtime.Object, now time.Time) []any {
		u, ok := obj.(*unstructured.Unstructured)
		if !ok {
			return make([]any, len(t.Columns))
		}
		cells := make([]any, 1, len(t.Columns))
		cells[0] = u.GetName()
		for i, p := range values {
			var cell any
			if value, ok := p.first(u.Object); ok {
				cell = cellOf(t.Columns[i+1].Type, value, now)
			}
			cells = append(cells, cell)
		}
		return cells
	}
	return t
}

// cellOf shows a value as a column of some type; nil where it is of another.
func cellOf(typ string, value any, now time.Time) any {
	switch typ {
	case "integer":
		switch n := value.(type) {
		case int64:
			return n
		case float64:
			return int64(n)
		}
	case "number":
		switch n := value.(type) {
		case int64:
			return float64(n)
		case float64:
			return n
		}
	case "boolean":
		if b, ok := value.(bool); ok {
			return b
		}
	case "string":
		return text(value)
	case "date":
		s, ok := value.(string)
		if !ok {
			return nil
		}
		var at metav1.Time
		if err := at.UnmarshalQueryParameter(s); err != nil {
			return "<invalid>"
		}
		return columns.Age(at, now)
	}
	return nil
}

// text is a value as JSON paths print it.
func text(value any) any {
	switch value := value.(type) {
	case nil:
		return ""
	case string:
		return value
	case map[string]any, []any:
		data, err := json.Marshal(value)
		if err != nil {
			return nil
		}
		return string(data)
	}
	return fmt.Sprint(value)
}

// selectable are the values of the fields by which objects can be selected; nil
// where there are none beside name and namespace.
func (v *version) selectable() func(obj runtime.Object) fields.Set {
	if len(v.spec.SelectableFields) == 0 {
		return nil
	}
	found := map[string]paths{}
	for _, f := range v.spec.SelectableFields {
		if p, err := newPath(f.JSONPath); err == nil {
			found[strings.TrimPrefix(f.JSONPath, ".")] = p
		}
	}
	return func(obj runtime.Object) fields.Set {
		set := fields.Set{}
		u, ok := obj.(*unstructured.Unstructured)
		for name, p := range found {
			set[name] = ""
			if !ok {
				continue
			}
			if value, has := p.first(u.Object); has && value != nil {
				set[name] = fmt.Sprint(value)
			}
		}
		return set
	}
}

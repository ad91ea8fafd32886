package customresources

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/api/equality"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	metavalidation "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
)

// converter converts objects of a kind between its versions: by another name of the
// version alone, or by the webhook that the definition names.
type converter struct {
	kind   *kind
	caller poster

	mu    sync.Mutex // guards alike
	alike map[[2]string]bool
}

// ToVersion implements resource.Converter.
func (c *converter) ToVersion(ctx context.Context, objs []runtime.Object, to schema.GroupVersion) ([]runtime.Object, error) {
	out := slices.Clone(objs)
	var other []int
	var sent []*unstructured.Unstructured
	for i, obj := range objs {
		u, ok := obj.(*unstructured.Unstructured)
		if !ok {
			return nil, fmt.Errorf("expected an unstructured object, got %T", obj)
		}
		if u.GetAPIVersion() != to.String() {
			other, sent = append(other, i), append(sent, u)
		}
	}
	if len(sent) == 0 {
		return out, nil
	}
	target := c.kind.versions[to.Version]
	if target == nil || to.Group != c.kind.crd.Spec.Group {
		return nil, fmt.Errorf("request to convert CR to an invalid group/version: %s", to)
	}
	for _, u := range sent {
		if c.kind.versionOf(u) == nil {
			return nil, fmt.Errorf("request to convert CR from an invalid group/version: %s", u.GetAPIVersion())
		}
	}
	converted, err := c.convert(ctx, sent, target)
	if err != nil {
		return nil, err
	}
	for n, i := range other {
		out[i] = converted[n]
	}
	return out, nil
}

func (c *converter) convert(ctx context.Context, objs []*unstructured.Unstructured, to *version) ([]*unstructured.Unstructured, error) {
	if conversion := c.kind.crd.Spec.Conversion; conversion != nil && conversion.Strategy == apiextensionsv1.WebhookConverter {
		converted, err := c.byWebhook(ctx, objs, to)
		if err != nil {
			return nil, err
		}
		for _, u := range converted {
			if _, err := to.coerce(u, fromStore); err != nil {
				return nil, err
			}
		}
		return converted, nil
	}
	out := make([]*unstructured.Unstructured, len(objs))
	for i, u := range objs {
		if c.sameSchema(u, to) {
			// What is shared is not changed: only the name of the version is new.
			object := maps.Clone(u.Object)
			object["apiVersion"] = to.gvk.GroupVersion().String()
			if metadata, ok := object["metadata"].(map[string]any); ok {
				object["metadata"] = maps.Clone(metadata)
			}
			out[i] = &unstructured.Unstructured{Object: object}
			continue
		}
		out[i] = u.DeepCopy()
		out[i].SetAPIVersion(to.gvk.GroupVersion().String())
		if _, err := to.coerce(out[i], fromStore); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// sameSchema says that an object's version knows the same fields as to: then
// nothing can be pruned.
func (c *converter) sameSchema(u *unstructured.Unstructured, to *version) bool {
	from := c.kind.versionOf(u)
	key := [2]string{from.spec.Name, to.spec.Name}
	c.mu.Lock()
	defer c.mu.Unlock()
	is, known := c.alike[key]
	if !known {
		is = equality.Semantic.DeepEqual(from.spec.Schema, to.spec.Schema)
		if c.alike == nil {
			c.alike = map[[2]string]bool{}
		}
		c.alike[key] = is
	}
	return is
}

// accept checks what a webhook made of an object, and gives it the object's own
// metadata back: only labels and annotations are a webhook's to change.
func accept(from, to *unstructured.Unstructured, want schema.GroupVersion) error {
	if got := to.GroupVersionKind().GroupVersion(); got != want {
		return fmt.Errorf("invalid groupVersion (expected %v, received %v)", want, got)
	}
	for _, f := range []struct{ name, want, got string }{
		{"kind", from.GetKind(), to.GetKind()}, {"name", from.GetName(), to.GetName()},
		{"namespace", from.GetNamespace(), to.GetNamespace()}, {"UID", string(from.GetUID()), string(to.GetUID())},
	} {
		if f.want != f.got {
			return fmt.Errorf("must have the same %s: %v != %v", f.name, f.want, f.got)
		}
	}
	given, found := to.Object["metadata"]
	if !found {
		return errors.New("missing metadata in converted object")
	}
	metadata, ok := given.(map[string]any)
	if !ok {
		return fmt.Errorf("invalid metadata of type %T in converted object", given)
	}
	own, ok := runtime.DeepCopyJSONValue(from.Object["metadata"]).(map[string]any)
	if !ok {
		own = map[string]any{}
	}
	for _, name := range []string{"labels", "annotations"} {
		value, found := metadata[name]
		if !found || value == nil {
			delete(own, name)
			continue
		}
		texts, ok := value.(map[string]any)
		if !ok {
			return fmt.Errorf("invalid metadata.%s of type %T in converted object", name, value)
		}
		if err := validTexts(name, texts); err != nil {
			return err
		}
		own[name] = texts
	}
	to.Object["metadata"] = own
	return nil
}

func validTexts(name string, texts map[string]any) error {
	plain := make(map[string]string, len(texts))
	for key, value := range texts {
		s, ok := value.(string)
		if !ok {
			return fmt.Errorf("metadata.%s[%s] must be a string, but is %T in converted object", name, key, value)
		}
		plain[key] = s
	}
	path := field.NewPath("metadata", name)
	errs := apivalidation.ValidateAnnotations(plain, path)
	if name == "labels" {
		errs = metavalidation.ValidateLabels(plain, path)
	}
	return errs.ToAggregate()
}

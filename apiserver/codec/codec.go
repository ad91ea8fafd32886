// Package codec turns objects into bytes and back: the media types of the API
// (JSON, YAML, protobuf in the Kubernetes envelope), the framing of watches, tables
// and metadata-only views, and the form in which objects are stored.
//
// An object's encoding is made in the form it has as an item of a list, without
// its kind. That one encoding serves a list, a get and a watch alike: the few
// bytes around it are put on when it is sent. The watch cache keeps it with the
// object.
package codec

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "k8s.io/apimachinery/pkg/runtime/serializer/json"
	kprotobuf "k8s.io/apimachinery/pkg/runtime/serializer/protobuf"
	sigsjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/internal/interned"
)

// Media is a media type.
type Media uint8

const (
	JSON Media = iota
	YAML
	Protobuf
)

// String is the media type's name in HTTP.
func (m Media) String() string {
	switch m {
	case YAML:
		return runtime.ContentTypeYAML
	case Protobuf:
		return runtime.ContentTypeProtobuf
	}
	return runtime.ContentTypeJSON
}

// Codec decodes and encodes the types of one scheme. It is safe for concurrent use.
type Codec struct {
	scheme *runtime.Scheme
	lax    map[Media]runtime.Serializer
	strict map[Media]runtime.Serializer
	shared interned.Values // of what comes from the store
}

// New makes a codec. Every type that travels is registered in scheme.
func New(scheme *runtime.Scheme) *Codec {
	serializer := func(yaml, strict bool) runtime.Serializer {
		return kjson.NewSerializerWithOptions(kjson.DefaultMetaFactory, scheme, scheme,
			kjson.SerializerOptions{Yaml: yaml, Strict: strict})
	}
	proto := kprotobuf.NewSerializer(scheme, scheme)
	return &Codec{
		scheme: scheme,
		lax:    map[Media]runtime.Serializer{JSON: serializer(false, false), YAML: serializer(true, false), Protobuf: proto},
		strict: map[Media]runtime.Serializer{JSON: serializer(false, true), YAML: serializer(true, true), Protobuf: proto},
	}
}

// Scheme is what the codec was made with.
func (c *Codec) Scheme() *runtime.Scheme { return c.scheme }

// Decode reads data into a fresh object of the kind that the data names, or else
// of gvk; into is used where it is of that kind. With strict, the error may be a
// strict decoding error beside a valid object.
func (c *Codec) Decode(media Media, data []byte, gvk schema.GroupVersionKind, into runtime.Object, strict bool) (runtime.Object, *schema.GroupVersionKind, error) {
	s := c.lax[media]
	if strict {
		s = c.strict[media]
	}
	return s.Decode(data, &gvk, into)
}

// marshaler is what generated protobuf types implement.
type marshaler interface{ Marshal() ([]byte, error) }

type unmarshaler interface{ Unmarshal([]byte) error }

// HasProtobuf says whether a type can travel as protobuf.
func HasProtobuf(obj runtime.Object) bool {
	_, m := obj.(marshaler)
	_, u := obj.(unmarshaler)
	return m && u
}

// Item encodes obj as it stands in a list: JSON as it is (for a typed object
// without TypeMeta that means without kind), protobuf without envelope. YAML is
// made from JSON when it is sent, so both have the same item.
func Item(media Media, obj runtime.Object) ([]byte, error) {
	if media == Protobuf {
		m, ok := obj.(marshaler)
		if !ok {
			return nil, fmt.Errorf("object %T has no protobuf form", obj)
		}
		return m.Marshal()
	}
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return json.Marshal(u.Object)
	}
	return json.Marshal(obj)
}

// WithKind returns obj with its TypeMeta set to gvk, as a shallow copy where it is
// something else: what is shared is not changed.
func WithKind(obj runtime.Object, gvk schema.GroupVersionKind) runtime.Object {
	if obj.GetObjectKind().GroupVersionKind() == gvk {
		return obj
	}
	obj = Shallow(obj)
	obj.GetObjectKind().SetGroupVersionKind(gvk)
	return obj
}

// Shallow copies the outermost struct of an object, so that its TypeMeta and the
// fields of its metadata can be replaced without touching the original.
func Shallow(obj runtime.Object) runtime.Object {
	if u, ok := obj.(*unstructured.Unstructured); ok {
		return shallowMap(u)
	}
	if _, ok := obj.(runtime.Unstructured); ok {
		return obj.DeepCopyObject()
	}
	v := reflect.ValueOf(obj)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return obj.DeepCopyObject()
	}
	c := reflect.New(v.Elem().Type())
	c.Elem().Set(v.Elem())
	return c.Interface().(runtime.Object)
}

func shallowMap(u *unstructured.Unstructured) *unstructured.Unstructured {
	object := maps.Clone(u.Object)
	if object == nil {
		object = map[string]any{}
	}
	if metadata, ok := object["metadata"].(map[string]any); ok {
		object["metadata"] = maps.Clone(metadata)
	}
	return &unstructured.Unstructured{Object: object}
}

// Encode is the whole of a stand-alone object whose TypeMeta is set.
func Encode(out Output, obj runtime.Object) ([]byte, error) {
	if out.Media == Protobuf {
		item, err := Item(Protobuf, obj)
		if err != nil {
			return nil, err
		}
		return appendEnvelope(nil, obj.GetObjectKind().GroupVersionKind(), item), nil
	}
	data, err := Item(JSON, obj)
	if err != nil {
		return nil, err
	}
	return finishJSON(out, data)
}

// Object is the whole of an object of kind gvk, made from its item. An empty gvk
// means that the item tells its kind itself.
func Object(out Output, gvk schema.GroupVersionKind, item []byte) ([]byte, error) {
	if out.Media == Protobuf {
		return appendEnvelope(nil, gvk, item), nil
	}
	return finishJSON(out, appendJSONObject(make([]byte, 0, len(item)+64), gvk, item))
}

// finishJSON turns plain JSON into what the client asked for.
func finishJSON(out Output, data []byte) ([]byte, error) {
	switch {
	case out.Media == YAML:
		return yaml.JSONToYAML(data)
	case out.Pretty:
		var b bytes.Buffer
		b.Grow(len(data) * 2)
		if err := json.Indent(&b, data, "", "  "); err != nil {
			return nil, err
		}
		return b.Bytes(), nil
	}
	return append(data, '\n'), nil
}

// appendJSONObject puts the kind in front of an item.
func appendJSONObject(dst []byte, gvk schema.GroupVersionKind, item []byte) []byte {
	if gvk.Empty() || len(item) < 2 {
		return append(dst, item...)
	}
	dst = append(dst, `{"kind":"`...)
	dst = append(dst, gvk.Kind...)
	dst = append(dst, `","apiVersion":"`...)
	dst = append(dst, gvk.GroupVersion().String()...)
	dst = append(dst, '"')
	if len(item) > 2 {
		dst = append(dst, ',')
	}
	return append(dst, item[1:]...)
}

// Storage is the form in which objects of one kind are stored: protobuf in the
// Kubernetes envelope where the type has it, JSON otherwise.
type Storage struct {
	codec *Codec
	gvk   schema.GroupVersionKind
	media Media
	make  func() runtime.Object
	// written is the version that is stored, form what it takes if that is another.
	written schema.GroupVersion
	form    resource.StoredForm
}

// Storage of a resource.
func (c *Codec) Storage(of *resource.Resource) *Storage {
	s := &Storage{codec: c, gvk: of.GVK, make: of.New, written: of.GVK.GroupVersion()}
	if HasProtobuf(of.New()) {
		s.media = Protobuf
	}
	if of.StoredForm != nil {
		s.form, s.written.Version = *of.StoredForm, of.StoredForm.Version
		if s.form.JSON {
			s.media = JSON
		}
	}
	return s
}

// Encode makes the stored bytes of obj. Its TypeMeta need not be set; its
// resourceVersion should be empty, since the store's revision is the version.
func (s *Storage) Encode(obj runtime.Object) ([]byte, error) {
	if s.form.To != nil {
		var err error
		if obj, err = s.form.To(obj); err != nil {
			return nil, fmt.Errorf("encode %s: %w", s.gvk.Kind, err)
		}
	}
	item, err := Item(s.media, obj)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", s.gvk.Kind, err)
	}
	kind := s.written.WithKind(s.gvk.Kind)
	if s.media == Protobuf {
		return appendEnvelope(make([]byte, 0, len(item)+64), kind, item), nil
	}
	if _, ok := obj.(*unstructured.Unstructured); ok {
		return append(item, '\n'), nil
	}
	return append(appendJSONObject(nil, kind, item), '\n'), nil
}

// Decode reads stored bytes in either form. The object comes without TypeMeta, as
// client-go's typed objects do; an unstructured one keeps it. It is made to be
// shared: readers do not change it.
func (s *Storage) Decode(data []byte) (runtime.Object, error) {
	obj, err := s.decode(data)
	if err != nil {
		return nil, fmt.Errorf("decode %s: %w", s.gvk.Kind, err)
	}
	if _, ok := obj.(runtime.Unstructured); !ok {
		obj.GetObjectKind().SetGroupVersionKind(schema.GroupVersionKind{})
	}
	settle(obj)
	s.codec.share(obj)
	return obj, nil
}

func (s *Storage) decode(data []byte) (runtime.Object, error) {
	if bytes.HasPrefix(data, protobufMagic) {
		return s.fromProtobuf(data[len(protobufMagic):])
	}
	if s.form.From != nil {
		var kind metav1.TypeMeta
		if err := json.Unmarshal(data, &kind); err != nil {
			return nil, err
		}
		if kind.APIVersion == s.written.String() {
			old := s.form.New()
			if err := sigsjson.UnmarshalCaseSensitivePreserveInts(data, old); err != nil {
				return nil, err
			}
			return s.form.From(old)
		}
	}
	obj, _, err := s.codec.Decode(JSON, data, s.gvk, s.make(), false)
	return obj, err
}

func (s *Storage) fromProtobuf(data []byte) (runtime.Object, error) {
	var unknown runtime.Unknown
	if err := unknown.Unmarshal(data); err != nil {
		return nil, err
	}
	obj, convert := s.make(), func(obj runtime.Object) (runtime.Object, error) { return obj, nil }
	stored := s.gvk.GroupVersion().String()
	if unknown.APIVersion != stored {
		stored = s.written.String()
		if s.form.From != nil {
			obj, convert = s.form.New(), s.form.From
		}
	}
	u, ok := obj.(unmarshaler)
	if !ok {
		return nil, fmt.Errorf("stored as protobuf, but %T has no such form", obj)
	}
	if unknown.Kind != s.gvk.Kind || unknown.APIVersion != stored {
		return nil, fmt.Errorf("stored as %s of %s", unknown.Kind, unknown.APIVersion)
	}
	if err := u.Unmarshal(unknown.Raw); err != nil {
		return nil, err
	}
	return convert(obj)
}

// settle lets quantities keep their text now. They do so when it is first asked
// for, which would be a write by whoever encodes a shared object.
func settle(obj runtime.Object) {
	if sized, ok := obj.(interface{ Size() int }); ok {
		sized.Size()
	}
}

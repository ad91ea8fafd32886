package codec

import (
	"bytes"
	"errors"
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"
)

var errNotDeleteOptions = errors.New("decoded object cannot be converted to DeleteOptions")

// DecodeDeleteOptions reads the body of a DELETE. Every group version has that kind,
// those of custom resources too, which no scheme knows.
func (c *Codec) DecodeDeleteOptions(media Media, data []byte) (*metav1.DeleteOptions, error) {
	opts := &metav1.DeleteOptions{}
	obj, _, err := c.Decode(media, data, schema.GroupVersionKind{Version: "v1", Kind: "DeleteOptions"}, opts, false)
	if err == nil {
		decoded, ok := obj.(*metav1.DeleteOptions)
		if !ok {
			return nil, errNotDeleteOptions
		}
		return decoded, nil
	}
	if !runtime.IsNotRegisteredError(err) {
		return nil, err
	}
	kind := ""
	if media == Protobuf {
		var unknown runtime.Unknown
		if err := unknown.Unmarshal(bytes.TrimPrefix(data, protobufMagic)); err != nil {
			return nil, err
		}
		kind, data = unknown.Kind, unknown.Raw
		if kind == "DeleteOptions" {
			return opts, opts.Unmarshal(data)
		}
	} else {
		if media == YAML {
			if data, err = yaml.YAMLToJSON(data); err != nil {
				return nil, err
			}
		}
		if err := kjson.UnmarshalCaseSensitivePreserveInts(data, opts); err != nil {
			return nil, err
		}
		kind = opts.Kind
	}
	if kind != "DeleteOptions" {
		return nil, fmt.Errorf("%w: it is a %s", errNotDeleteOptions, kind)
	}
	return opts, nil
}

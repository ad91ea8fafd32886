package customresources

import (
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"
)

const fuzzed = `
metadata: {name: ships.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: ships, kind: Ship, singular: ship, listKind: ShipList}
  versions:
  - name: v1
    served: true
    storage: true
    subresources: {status: {}, scale: {specReplicasPath: .spec.count, statusReplicasPath: .status.count}}
    selectableFields: [{jsonPath: .spec.flag}]
    additionalPrinterColumns: [{name: A, type: date, jsonPath: '.spec.holds[?(@.name=="a")].name'}, {name: B, type: integer, jsonPath: .spec.count}]
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec:
            type: object
            required: [flag]
            x-kubernetes-validations: [{rule: "size(self.flag) > 1 && (!has(self.count) || self.count > 0)"}]
            properties:
              flag: {type: string, maxLength: 20, default: nl}
              count: {type: integer}
              port: {x-kubernetes-int-or-string: true}
              open: {type: object, x-kubernetes-preserve-unknown-fields: true}
              inner: {type: object, x-kubernetes-embedded-resource: true, x-kubernetes-preserve-unknown-fields: true}
              holds: {type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [name], items: {type: object, required: [name], properties: {name: {type: string}}}}
          status: {type: object, properties: {count: {type: integer}}}
status:
  acceptedNames: {plural: ships, kind: Ship, singular: ship, listKind: ShipList}
  storedVersions: [v1]
`

// FuzzObject: nothing that a client or the store may hold makes the server fail on
// its way through pruning, defaults, validation, columns and conversion.
func FuzzObject(f *testing.F) {
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict([]byte(fuzzed), crd); err != nil {
		f.Fatal(err)
	}
	crd.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.NoneConverter}
	k := newKind(crd, nil)
	v := k.versions["v1"]
	table, selectable, scale := v.table(), v.selectable(), v.scaleSubresource()
	f.Add([]byte(`{"apiVersion":"example.com/v1","kind":"Ship","metadata":{"name":"a"},"spec":{"flag":"nl","count":3,"port":"x","holds":[{"name":"a"}]}}`))
	f.Add([]byte(`{"apiVersion":"example.com/v1","kind":"Ship","metadata":{"labels":{"a":1},"generation":-1},"spec":{"inner":{"metadata":{"name":1}},"holds":[null,{}]},"status":7}`))
	f.Add([]byte(`{"apiVersion":"example.com/v1","kind":"Ship","spec":[]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		for _, from := range []source{fromClient, fromStore} {
			u := &unstructured.Unstructured{}
			if err := u.UnmarshalJSON(data); err != nil {
				return
			}
			if k.versionOf(u) == nil {
				return
			}
			if _, err := v.coerce(u, from); err != nil {
				continue
			}
			v.setDefaults(u)
			old := u.DeepCopy()
			_ = v.validate(u)
			_ = v.validateChange(u, old)
			_ = v.validateStatus(u, old)
			v.prepareForUpdate(u, old)
			table.Cells(u, u.GetCreationTimestamp().Time)
			selectable(u)
			if s, err := scale.Projection.Read(u); err == nil {
				_ = scale.Projection.Write(u, s)
			}
			finalizerWarnings(u, nil)
			if _, err := k.convert.ToVersion(t.Context(), nil, schema.GroupVersion{Group: "example.com", Version: "v1"}); err != nil {
				t.Error(err)
			}
		}
	})
}

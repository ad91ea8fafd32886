package openapi

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/applyconfigurations"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/kube-openapi/pkg/validation/spec"
	smd "sigs.k8s.io/structured-merge-diff/v6/schema"
	"sigs.k8s.io/structured-merge-diff/v6/typed"
)

// mergeRules says how lists and maps of the built-in types merge: by the schema
// that client-go ships for server-side apply.
type mergeRules struct {
	types map[string]smd.TypeDef
}

func newMergeRules() (*mergeRules, error) {
	// The schema is not exported by itself; a typed object leads to it.
	object, err := applyconfigurations.NewTypeConverter(scheme.Scheme).ObjectToTyped(
		&corev1.Pod{TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"}}, typed.AllowDuplicates)
	if err != nil {
		return nil, err
	}
	rules := &mergeRules{types: map[string]smd.TypeDef{}}
	for _, def := range object.Schema().Types {
		rules.types[def.Name] = def
	}
	return rules, nil
}

// atomicMap says that a model is replaced as a whole.
func (r *mergeRules) atomicMap(model string) bool {
	def, known := r.types[model]
	return known && def.Map != nil && def.Map.ElementRelationship == smd.Atomic && len(def.Map.Fields) > 0
}

// annotate adds the extensions for how one property merges. A list is atomic where
// nothing is said, so only what differs is worth saying; but upstream also says
// atomic where its authors did, which the schema no longer tells apart.
func (r *mergeRules) annotate(p *spec.Schema, model, property string) {
	def, known := r.types[model]
	if !known || def.Map == nil {
		return
	}
	field, known := def.Map.FindField(property)
	if !known {
		return
	}
	switch atom := field.Type.Inlined; {
	case field.Type.ElementRelationship != nil && *field.Type.ElementRelationship == smd.Atomic:
		p.AddExtension("x-kubernetes-map-type", "atomic")
	case atom.Map != nil && atom.Map.ElementRelationship == smd.Atomic:
		p.AddExtension("x-kubernetes-map-type", "atomic")
	case atom.List == nil:
	case atom.List.ElementRelationship == smd.Atomic:
		p.AddExtension("x-kubernetes-list-type", "atomic")
	case len(atom.List.Keys) > 0:
		keys := make([]any, len(atom.List.Keys))
		for i, key := range atom.List.Keys {
			keys[i] = key
		}
		p.AddExtension("x-kubernetes-list-type", "map")
		p.AddExtension("x-kubernetes-list-map-keys", keys)
	default:
		p.AddExtension("x-kubernetes-list-type", "set")
	}
}

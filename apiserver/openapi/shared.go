package openapi

import (
	"encoding/base64"
	"encoding/json"
	"hash/fnv"
	"strings"

	"k8s.io/kube-openapi/pkg/validation/spec"
)

// shareParameters writes parameters that many operations have once, and references
// in their places, with upstream's names: a document of version 2 is half as large
// so. Those that old clients look for at the operations stay there.
func shareParameters(doc *spec.Swagger) error {
	names := map[string]string{} // by what the parameter is in JSON
	doc.Parameters = map[string]spec.Parameter{}
	replace := func(list []spec.Parameter) error {
		for i := range list {
			p := &list[i]
			switch {
			case p.Name == "name", p.Name == "fieldValidation", p.Name == "dryRun":
				continue
			case p.Schema != nil && !strings.HasPrefix(p.Schema.Ref.String(), "#/definitions/io.k8s.apimachinery"):
				continue
			}
			data, err := json.Marshal(p)
			if err != nil {
				return err
			}
			name, known := names[string(data)]
			if !known {
				hash := fnv.New64()
				hash.Write(data)
				name = p.Name + "-" + base64.URLEncoding.EncodeToString(hash.Sum(nil)[:6])
				names[string(data)], doc.Parameters[name] = name, *p
			}
			*p = spec.Parameter{Refable: spec.Refable{Ref: spec.MustCreateRef("#/parameters/" + name)}}
		}
		return nil
	}
	for _, path := range doc.Paths.Paths {
		if err := replace(path.Parameters); err != nil {
			return err
		}
		for _, op := range []*spec.Operation{path.Get, path.Put, path.Post, path.Delete, path.Options, path.Head, path.Patch} {
			if op == nil {
				continue
			}
			if err := replace(op.Parameters); err != nil {
				return err
			}
		}
	}
	return nil
}

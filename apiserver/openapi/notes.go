package openapi

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/kube-openapi/pkg/validation/spec"
)

// notesJSON is what the Go types of Kubernetes do not tell of themselves. It is
// made by internal/openapinotes.
//
//go:embed notes.json
var notesJSON []byte

// notes are what upstream's comments and markers say of the built-in types.
type notes struct {
	// From is the module, with its version, that they were made from.
	From   string           `json:"from"`
	Models map[string]*note `json:"models"`
}

// note is about one model. A field's own are in Fields.
type note struct {
	Description string               `json:"d"`
	Required    []string             `json:"r"`
	Extensions  map[string]any       `json:"x"`
	Fields      map[string]fieldNote `json:"f"`
}

type fieldNote struct {
	Description string `json:"d"`
	// Enum are the values that a field may have, each with what it means.
	Enum [][2]string `json:"e"`
	// Items are the values that items of a list, or values of a map, may have.
	Items      []any          `json:"i"`
	Default    any            `json:"v"`
	Extensions map[string]any `json:"x"`
}

func readNotes() (*notes, error) {
	n := &notes{}
	if err := json.Unmarshal(notesJSON, n); err != nil {
		return nil, fmt.Errorf("openapi: reading the notes: %w", err)
	}
	return n, nil
}

// annotate adds to a model what is known of it.
func (n *note) annotate(m *spec.Schema, v2 bool) {
	if n.Description != "" {
		m.Description = n.Description
	}
	m.Required = slices.Clone(n.Required)
	for key, value := range n.Extensions {
		m.AddExtension(key, value)
	}
	for name, field := range n.Fields {
		p, is := m.Properties[name]
		if !is {
			continue
		}
		field.annotate(&p, v2)
		m.Properties[name] = p
	}
}

func (n *fieldNote) annotate(p *spec.Schema, v2 bool) {
	if n.Description != "" {
		if !v2 {
			*p = beside(*p)
		}
		p.Description = n.Description
	}
	if n.Default != nil && !v2 {
		p.Default = n.Default
	}
	if len(n.Extensions) > 0 {
		p.Extensions = maps.Clone(p.Extensions)
		for key, value := range n.Extensions {
			p.AddExtension(key, value)
		}
	}
	switch {
	case len(n.Items) == 0:
	case p.Items != nil && p.Items.Schema != nil:
		p.Items.Schema.Enum = n.Items
	case p.AdditionalProperties != nil && p.AdditionalProperties.Schema != nil:
		p.AdditionalProperties.Schema.Enum = n.Items
	}
	if len(n.Enum) == 0 {
		return
	}
	p.Description += "\n\nPossible enum values:"
	for _, value := range n.Enum {
		p.Enum = append(p.Enum, value[0])
		p.Description += "\n - `\"" + value[0] + "\"`"
		if value[1] != "" {
			p.Description += " " + value[1]
		}
	}
}

package apiextensions

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/yaml"
)

const good = `
metadata: {name: ships.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: ships, kind: Ship}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties:
          spec: {type: object, properties: {flag: {type: string, maxLength: 10}, masts: {type: integer}}}
          status: {type: object}
    subresources: {status: {}}
`

func read(t testing.TB, text string) *apiextensionsv1.CustomResourceDefinition {
	t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict([]byte(text), crd); err != nil {
		t.Fatal(err)
	}
	setDefaults(crd)
	prepareForCreate(crd)
	return crd
}

func TestDefaults(t *testing.T) {
	crd := read(t, good)
	if crd.Spec.Names.Singular != "ship" || crd.Spec.Names.ListKind != "ShipList" || crd.Spec.Conversion.Strategy != apiextensionsv1.NoneConverter {
		t.Errorf("%+v", crd.Spec)
	}
	if diff := cmp.Diff([]string{"v1"}, crd.Status.StoredVersions); diff != "" || crd.Generation != 1 {
		t.Error(diff, crd.Generation)
	}
	if errs := Validate(crd); len(errs) > 0 {
		t.Error(errs)
	}
}

// describe sets the schema of the property spec.
func describe(crd *apiextensionsv1.CustomResourceDefinition, schema string) {
	var s apiextensionsv1.JSONSchemaProps
	data, err := yaml.YAMLToJSON([]byte(schema))
	if err != nil {
		panic(err)
	}
	if err := json.Unmarshal(data, &s); err != nil {
		panic(err)
	}
	crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"] = s
}

func TestValidate(t *testing.T) {
	const root = "spec.validation.openAPIV3Schema.properties[spec]"
	for name, test := range map[string]struct {
		change func(crd *apiextensionsv1.CustomResourceDefinition)
		want   string
	}{
		"name": {func(c *apiextensionsv1.CustomResourceDefinition) { c.Name = "boats.example.com" },
			`metadata.name: Invalid value: "boats.example.com": must be spec.names.plural+"."+spec.group`},
		"group": {func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Group, c.Name = "example", "ships.example" },
			`spec.group: Invalid value: "example": should be a domain with at least one dot`},
		"scope": {func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Scope = "World" },
			`spec.scope: Unsupported value: "World": supported values: "Cluster", "Namespaced"`},
		"kinds": {func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Names.ListKind = "Ship" },
			`spec.names.listKind: Invalid value: "Ship": kind and listKind may not be the same`},
		"no storage": {func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Versions[0].Storage = false },
			"must have exactly one version marked as storage version"},
		"no schema": {func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Versions[0].Schema = nil },
			"spec.versions[0].schema.openAPIV3Schema: Required value"},
		"unknown fields kept": {func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.PreserveUnknownFields = true },
			"spec.preserveUnknownFields: Invalid value: true: cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"},
		"no type": {func(c *apiextensionsv1.CustomResourceDefinition) { describe(c, "{properties: {a: {type: string}}}") },
			root + `.type: Required value: must not be empty for specified object fields`},
		"bad type": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, "{type: object, properties: {a: {type: text}}}")
		},
			root + `.properties[a].type: Unsupported value: "text": supported values: "array", "boolean", "integer", "number", "object", "string"`},
		"unique items": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, "{type: array, items: {type: string}, uniqueItems: true}")
		}, root + ".uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"},
		"both kinds of properties": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, "{type: object, properties: {a: {type: string}}, additionalProperties: {type: string}}")
		}, root + ".additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"},
		"list keys": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, "{type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [a], items: {type: object, properties: {a: {type: string}}}}")
		}, root + ".items.properties[a].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"},
		"set of objects": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, "{type: array, x-kubernetes-list-type: set, items: {type: object}}")
		}, root + ".items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set"},
		"default of another type": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, "{type: object, properties: {a: {type: string, default: 1}}}")
		}, root + `.properties[a].default: Invalid value: "integer":  in body must be of type string: "integer"`},
		"rule does not compile": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, `{type: object, properties: {a: {type: string, maxLength: 5}}, x-kubernetes-validations: [{rule: "self.a > 1"}]}`)
		}, "compilation failed"},
		"rule without a result": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, `{type: object, properties: {a: {type: string, maxLength: 5}}, x-kubernetes-validations: [{rule: "self.a"}]}`)
		}, "must evaluate to a bool"},
		"rule too dear": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, `{type: array, items: {type: string}, x-kubernetes-validations: [{rule: "self.all(x, self.all(y, x == y))"}]}`)
		}, "estimated rule cost exceeds budget by factor of more than 100x (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"},
		"rules too dear together": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, `{type: array, items: {type: string}, x-kubernetes-validations: [{rule: "self.all(x, self.all(y, x == y))"}]}`)
		}, "spec.validation.openAPIV3Schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x"},
		"old self in a list": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, `{type: array, maxItems: 3, items: {type: integer, x-kubernetes-validations: [{rule: "self == oldSelf"}]}}`)
		}, "oldSelf cannot be used on the uncorrelatable portion of the schema within " + root},
		"field path": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, `{type: object, properties: {a: {type: integer}}, x-kubernetes-validations: [{rule: "self.a > 1", fieldPath: ".b"}]}`)
		}, root + `.x-kubernetes-validations[0].fieldPath: Invalid value: ".b": must be a valid path`},
		"root with status": {func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Spec.Versions[0].Schema.OpenAPIV3Schema.MaxProperties = ptr.To[int64](3)
		}, "fields are allowed at the root of the schema if the status subresource is enabled"},
		"column": {func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Spec.Versions[0].AdditionalPrinterColumns = []apiextensionsv1.CustomResourceColumnDefinition{{Name: "A", Type: "text", JSONPath: "a"}}
		}, `[spec.additionalPrinterColumns[0].type: Invalid value: "text": must be one of boolean,date,integer,number,string, spec.additionalPrinterColumns[0].JSONPath: Invalid value: "a": must be a simple json path starting with .]`},
		"selectable": {func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Spec.Versions[0].SelectableFields = []apiextensionsv1.SelectableField{{JSONPath: ".spec"}}
		}, `spec.selectableFields[0].jsonPath: Invalid value: ".spec": must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.`},
		"scale": {func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Spec.Versions[0].Subresources.Scale = &apiextensionsv1.CustomResourceSubresourceScale{SpecReplicasPath: ".status.x", StatusReplicasPath: ".status.n"}
		}, `spec.subresources.scale.specReplicasPath: Invalid value: ".status.x": should be a json path under .spec`},
		"webhook": {func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Spec.Conversion = &apiextensionsv1.CustomResourceConversion{Strategy: apiextensionsv1.WebhookConverter, Webhook: &apiextensionsv1.WebhookConversion{
				ClientConfig: &apiextensionsv1.WebhookClientConfig{URL: ptr.To("http://a")}, ConversionReviewVersions: []string{"v2"},
			}}
		}, `[spec.conversion.webhookClientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path], spec.conversion.conversionReviewVersions: Invalid value: ["v2"]: must include at least one of v1, v1beta1]`},
		"approval": {func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Group, c.Name = "x.k8s.io", "ships.x.k8s.io" },
			`metadata.annotations[api-approved.kubernetes.io]: Required value: protected groups must have approval annotation "api-approved.kubernetes.io", see https://github.com/kubernetes/enhancements/pull/1111`},
		"deprecation": {func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Spec.Versions[0].DeprecationWarning = ptr.To("old")
		}, `spec.versions[0].deprecationWarning: Invalid value: "old": can only be set for deprecated versions`},
	} {
		crd := read(t, good)
		test.change(crd)
		if got := text(Validate(crd)); !strings.Contains(got, test.want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, test.want)
		}
	}
}

func text(errs field.ErrorList) string {
	if len(errs) == 0 {
		return ""
	}
	return errs.ToAggregate().Error()
}

func TestValidateUpdate(t *testing.T) {
	established := func(crd *apiextensionsv1.CustomResourceDefinition) {
		crd.Status.Conditions = []apiextensionsv1.CustomResourceDefinitionCondition{{Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue}}
	}
	for name, test := range map[string]struct {
		old, change func(crd *apiextensionsv1.CustomResourceDefinition)
		want        string
	}{
		"kind":                 {established, func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Names.Kind = "Boat" }, `spec.names.kind: Invalid value: "Boat": field is immutable`},
		"kind, not served":     {func(*apiextensionsv1.CustomResourceDefinition) {}, func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Names.Kind = "Boat" }, ""},
		"group":                {established, func(c *apiextensionsv1.CustomResourceDefinition) { c.Spec.Group = "a.b" }, `spec.group: Invalid value: "a.b": field is immutable`},
		"dear rule, as before": {dearRule, func(c *apiextensionsv1.CustomResourceDefinition) { c.Labels = map[string]string{"a": "b"} }, "estimated rule cost total"},
		"set of objects, before": {func(c *apiextensionsv1.CustomResourceDefinition) {
			describe(c, "{type: array, x-kubernetes-list-type: set, items: {type: object}}")
		}, func(c *apiextensionsv1.CustomResourceDefinition) {}, ""},
		"a version that is stored": {established, func(c *apiextensionsv1.CustomResourceDefinition) {
			c.Spec.Versions[0].Name = "v2"
			c.Status.StoredVersions = []string{"v1", "v2"}
		}, "status.storedVersions[0]: Invalid value: \"v1\": missing from spec.versions"},
	} {
		old := read(t, good)
		test.old(old)
		crd := old.DeepCopy()
		test.change(crd)
		got := text(ValidateUpdate(crd, old))
		if test.want == "" && got != "" || !strings.Contains(got, test.want) {
			t.Errorf("%s:\n got %s\nwant %s", name, got, test.want)
		}
	}
}

func dearRule(c *apiextensionsv1.CustomResourceDefinition) {
	describe(c, `{type: array, items: {type: string}, x-kubernetes-validations: [{rule: "self.all(x, self.all(y, x == y))"}]}`)
}

func TestWarnings(t *testing.T) {
	crd := read(t, good)
	describe(crd, `{type: object, properties: {a: {type: string, format: nonsense}, b: {type: array, x-kubernetes-list-type: set, items: {type: object, x-kubernetes-map-type: atomic}}}}`)
	want := []string{`unrecognized format "nonsense"`, `x-kubernetes-list-type: set for items of type "object" is not supported by server-side apply or CEL validation rules`}
	if diff := cmp.Diff(want, warnings(crd, nil)); diff != "" {
		t.Error(diff)
	}
	if got := warnings(crd, crd); len(got) > 0 {
		t.Errorf("again: %v", got)
	}
}

// FuzzValidate: no definition makes its validation fail or take long.
func FuzzValidate(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(strings.Replace(good, "type: integer", "type: array, x-kubernetes-list-type: map, x-kubernetes-list-map-keys: [a], items: {type: object, required: [a], properties: {a: {type: string}}}", 1)))
	f.Add([]byte(strings.Replace(good, "type: integer", "type: integer, default: 1, x-kubernetes-validations: [{rule: 'self > oldSelf', optionalOldSelf: true}]", 1)))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 4096 {
			return
		}
		crd := &apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(data, crd); err != nil {
			return
		}
		setDefaults(crd)
		prepareForCreate(crd)
		Validate(crd)
		ValidateUpdate(crd, crd.DeepCopy())
		warnings(crd, nil)
	})
}

package apiextensions

import (
	"fmt"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// leniency is what an update is forgiven, because the stored definition has it
// already. The zero value is for new definitions and forgives only a CA bundle
// that does not parse: nothing is called with it yet.
type leniency struct {
	// reviewVersions that are none of those known.
	reviewVersions bool
	// noSchema: some version has none. nonStructural, unprunedDefaults, propertyTypes,
	// setItems, listKeys: some schema breaks that rule.
	noSchema, nonStructural, unprunedDefaults, propertyTypes, setItems, listKeys bool
	// namesFixed: kind and scope may not change any more.
	namesFixed bool
	// badBundle: the CA bundle may be one that does not parse.
	badBundle bool
	// rules and messages are CEL expressions that are there already.
	rules, messages sets.Set[string]
	// sameSchema are the versions whose schema did not change.
	sameSchema sets.Set[string]
	// manyFields are the versions ("" for all together) with too many selectable
	// fields, unchanged.
	manyFields sets.Set[string]
}

// Validate checks a new definition, defaulted.
func Validate(crd *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	var errs field.ErrorList
	if want := crd.Spec.Names.Plural + "." + crd.Spec.Group; crd.Name != want {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), crd.Name, `must be spec.names.plural+"."+spec.group`))
	}
	in := internal(crd)
	errs = append(errs, validateSpec(&in.Spec, leniency{badBundle: true})...)
	errs = append(errs, validateStatus(in)...)
	errs = append(errs, validateStoredVersions(in)...)
	errs = append(errs, validateApproval(crd, nil)...)
	return append(errs, validatePreserve(in, nil)...)
}

// ValidateUpdate checks a changed definition. What the old one broke already, the
// new one may go on to break.
func ValidateUpdate(crd, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	in, was := internal(crd), internal(old)
	forgiven := forgive(in, was)
	path := field.NewPath("spec")
	errs := validateSpec(&in.Spec, forgiven)
	if forgiven.namesFixed {
		errs = append(errs, rules.Immutable(in.Spec.Scope, was.Spec.Scope, path.Child("scope"))...)
		errs = append(errs, rules.Immutable(in.Spec.Names.Kind, was.Spec.Names.Kind, path.Child("names", "kind"))...)
	}
	// They are the definition's name.
	errs = append(errs, rules.Immutable(in.Spec.Group, was.Spec.Group, path.Child("group"))...)
	errs = append(errs, rules.Immutable(in.Spec.Names.Plural, was.Spec.Names.Plural, path.Child("names", "plural"))...)
	errs = append(errs, validateStatus(in)...)
	errs = append(errs, validateStoredVersions(in)...)
	errs = append(errs, validateApproval(crd, old)...)
	return append(errs, validatePreserve(in, was)...)
}

func validateStatus(crd *apiextensions.CustomResourceDefinition) field.ErrorList {
	return validateNames(&crd.Status.AcceptedNames, field.NewPath("status", "acceptedNames"))
}

func validateStoredVersions(crd *apiextensions.CustomResourceDefinition) field.ErrorList {
	path, stored := field.NewPath("status", "storedVersions"), crd.Status.StoredVersions
	if len(stored) == 0 {
		return field.ErrorList{field.Invalid(path, stored, "must have at least one stored version")}
	}
	var errs field.ErrorList
	known, named := sets.New[string](), sets.New(stored...)
	for _, v := range crd.Spec.Versions {
		known.Insert(v.Name)
		// A name that comes twice is there for the first alone.
		if v.Storage && !named.Has(v.Name) {
			errs = append(errs, field.Invalid(path, stored, "must have the storage version "+v.Name))
		}
		named.Delete(v.Name)
	}
	for i, v := range stored {
		if !known.Has(v) {
			errs = append(errs, field.Invalid(path.Index(i), v, fmt.Sprintf("missing from spec.versions; %[1]s was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in %[1]s and removes %[1]s from status.storedVersions", v)))
		}
	}
	return errs
}

// validateApproval: groups of the Kubernetes community name who approved the API.
func validateApproval(crd, old *apiextensionsv1.CustomResourceDefinition) field.ErrorList {
	if !apihelpers.IsProtectedCommunityGroup(crd.Spec.Group) {
		return nil
	}
	state, reason := apihelpers.GetAPIApprovalState(crd.Annotations)
	if old != nil {
		if was, _ := apihelpers.GetAPIApprovalState(old.Annotations); was == state {
			return nil
		}
	}
	path := field.NewPath("metadata", "annotations").Key(apiextensionsv1.KubeAPIApprovedAnnotation)
	switch state {
	case apihelpers.APIApproved, apihelpers.APIApprovalBypassed:
		return nil
	case apihelpers.APIApprovalMissing:
		return field.ErrorList{field.Required(path, reason)}
	}
	return field.ErrorList{field.Invalid(path, crd.Annotations[apiextensionsv1.KubeAPIApprovedAnnotation], reason)}
}

func preserves(crd *apiextensions.CustomResourceDefinition) bool {
	return crd != nil && crd.Spec.PreserveUnknownFields != nil && *crd.Spec.PreserveUnknownFields
}

func validatePreserve(crd, old *apiextensions.CustomResourceDefinition) field.ErrorList {
	if preserves(old) || !preserves(crd) {
		return nil
	}
	return field.ErrorList{field.Invalid(field.NewPath("spec", "preserveUnknownFields"), crd.Spec.PreserveUnknownFields,
		"cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead")}
}

func validateNames(names *apiextensions.CustomResourceDefinitionNames, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	label := func(value, checked, prefix string, at *field.Path) {
		if messages := validation.IsDNS1035Label(checked); value != "" && len(messages) > 0 {
			errs = append(errs, field.Invalid(at, value, prefix+strings.Join(messages, ",")))
		}
	}
	const mixed = "may have mixed case, but should otherwise match: "
	label(names.Plural, names.Plural, "", path.Child("plural"))
	label(names.Singular, names.Singular, "", path.Child("singular"))
	label(names.Kind, strings.ToLower(names.Kind), mixed, path.Child("kind"))
	label(names.ListKind, strings.ToLower(names.ListKind), mixed, path.Child("listKind"))
	for i, name := range names.ShortNames {
		errs = append(errs, joined(name, path.Child("shortNames").Index(i), validation.IsDNS1035Label(name))...)
	}
	if names.Kind != "" && names.Kind == names.ListKind {
		errs = append(errs, field.Invalid(path.Child("listKind"), names.ListKind, "kind and listKind may not be the same"))
	}
	for i, name := range names.Categories {
		errs = append(errs, joined(name, path.Child("categories").Index(i), validation.IsDNS1035Label(name))...)
	}
	return errs
}

// joined reports all messages about a value as one error.
func joined(value string, path *field.Path, messages []string) field.ErrorList {
	if len(messages) == 0 {
		return nil
	}
	return field.ErrorList{field.Invalid(path, value, strings.Join(messages, ","))}
}

package customresources

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apiextensions-apiserver/pkg/apihelpers"
	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// nextStatus is the status that a definition should have, beside the others of its
// group: which names are its own, whether it is served, what is wrong with it.
// structure is what structureCondition says of it. The result is nil where it has
// that status already.
func nextStatus(crd *apiextensionsv1.CustomResourceDefinition, others []*apiextensionsv1.CustomResourceDefinition, structure *apiextensionsv1.CustomResourceDefinitionCondition, now time.Time) *apiextensionsv1.CustomResourceDefinition {
	next := crd.DeepCopy()
	accepted, conflict := acceptNames(crd, others)
	next.Status.AcceptedNames = accepted
	set := func(c apiextensionsv1.CustomResourceDefinitionCondition) { setCondition(next, c, now) }
	if conflict != nil {
		set(*conflict)
	} else {
		set(apiextensionsv1.CustomResourceDefinitionCondition{
			Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionTrue, Reason: "NoConflicts", Message: "no conflicts found",
		})
	}
	// What is established once stays so.
	if !apihelpers.IsCRDConditionTrue(crd, apiextensionsv1.Established) {
		established := apiextensionsv1.CustomResourceDefinitionCondition{
			Type: apiextensionsv1.Established, Status: apiextensionsv1.ConditionTrue,
			Reason: "InitialNamesAccepted", Message: "the initial names have been accepted",
		}
		if conflict != nil {
			established.Status, established.Reason, established.Message = apiextensionsv1.ConditionFalse, "NotAccepted", "not all names are accepted"
		}
		if conflict != nil || crd.DeletionTimestamp == nil {
			set(established)
		}
	}
	if structure != nil {
		set(*structure)
	} else if apihelpers.FindCRDCondition(next, apiextensionsv1.NonStructuralSchema) != nil {
		apihelpers.RemoveCRDCondition(next, apiextensionsv1.NonStructuralSchema)
	}
	if c := approvalCondition(crd); c != nil {
		set(*c)
	}
	if apiequality.Semantic.DeepEqual(next.Status, crd.Status) {
		return nil
	}
	return next
}

// setCondition sets a condition, with the time only where its status changes.
func setCondition(crd *apiextensionsv1.CustomResourceDefinition, c apiextensionsv1.CustomResourceDefinitionCondition, now time.Time) {
	c.LastTransitionTime = metav1.NewTime(now.Truncate(time.Second))
	old := apihelpers.FindCRDCondition(crd, c.Type)
	if old == nil {
		crd.Status.Conditions = append(crd.Status.Conditions, c)
		return
	}
	if old.Status == c.Status && !old.LastTransitionTime.IsZero() {
		c.LastTransitionTime = old.LastTransitionTime
	}
	*old = c
}

// acceptNames are the names that a definition has, of those it wants: one that
// another definition of its group has stays that one's. conflict says which it did
// not get.
func acceptNames(crd *apiextensionsv1.CustomResourceDefinition, others []*apiextensionsv1.CustomResourceDefinition) (apiextensionsv1.CustomResourceDefinitionNames, *apiextensionsv1.CustomResourceDefinitionCondition) {
	resources, kinds := map[string]bool{}, map[string]bool{}
	for _, other := range others {
		names := other.Status.AcceptedNames
		for _, n := range append([]string{names.Plural, names.Singular}, names.ShortNames...) {
			resources[n] = true
		}
		kinds[names.Kind], kinds[names.ListKind] = true, true
	}
	want, next := crd.Spec.Names, *crd.Status.AcceptedNames.DeepCopy()
	var conflict *apiextensionsv1.CustomResourceDefinitionCondition
	refuse := func(reason, message string) {
		conflict = &apiextensionsv1.CustomResourceDefinitionCondition{
			Type: apiextensionsv1.NamesAccepted, Status: apiextensionsv1.ConditionFalse, Reason: reason, Message: message,
		}
	}
	take := func(want string, have *string, taken map[string]bool, reason string) {
		if want != *have && taken[want] {
			refuse(reason, fmt.Sprintf("%q is already in use", want))
			return
		}
		*have = want
	}
	// Of several conflicts the last one is told, in this order.
	take(want.Plural, &next.Plural, resources, "PluralConflict")
	take(want.Singular, &next.Singular, resources, "SingularConflict")
	var taken []string
	for _, short := range want.ShortNames {
		if !slices.Contains(next.ShortNames, short) && resources[short] {
			taken = append(taken, fmt.Sprintf("%q is already in use", short))
		}
	}
	switch {
	case len(taken) == 1:
		refuse("ShortNamesConflict", taken[0])
	case len(taken) > 1:
		refuse("ShortNamesConflict", "["+strings.Join(taken, ", ")+"]")
	default:
		next.ShortNames = slices.Clone(want.ShortNames)
	}
	take(want.Kind, &next.Kind, kinds, "KindConflict")
	take(want.ListKind, &next.ListKind, kinds, "ListKindConflict")
	next.Categories = slices.Clone(want.Categories)
	return next, conflict
}

// structureCondition says what is not structural about the schemas of a definition
// that is older than the rule; nil where nothing is.
func structureCondition(crd *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionCondition {
	var errs field.ErrorList
	if crd.Spec.PreserveUnknownFields {
		errs = append(errs, field.Invalid(field.NewPath("spec", "preserveUnknownFields"), true, "must be false"))
	}
	for i := range crd.Spec.Versions {
		v := &crd.Spec.Versions[i]
		schema, err := internalSchema(v)
		if err != nil || schema == nil {
			continue
		}
		s, err := structuralschema.NewStructural(schema)
		if err != nil {
			return &apiextensionsv1.CustomResourceDefinitionCondition{
				Type: apiextensionsv1.NonStructuralSchema, Status: apiextensionsv1.ConditionUnknown, Reason: "StructuralError",
				Message: fmt.Sprintf("failed to check validation schema for version %s: %v", v.Name, err),
			}
		}
		errs = append(errs, structuralschema.ValidateStructural(field.NewPath("spec", "versions").Index(i).Child("schema", "openAPIV3Schema"), s)...)
	}
	if len(errs) == 0 {
		return nil
	}
	return &apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.NonStructuralSchema, Status: apiextensionsv1.ConditionTrue, Reason: "Violations", Message: errs.ToAggregate().Error(),
	}
}

// approvalCondition is what a definition in a group of the Kubernetes community
// says of its approval; nil for other groups.
func approvalCondition(crd *apiextensionsv1.CustomResourceDefinition) *apiextensionsv1.CustomResourceDefinitionCondition {
	if !apihelpers.IsProtectedCommunityGroup(crd.Spec.Group) {
		return nil
	}
	state, message := apihelpers.GetAPIApprovalState(crd.Annotations)
	c := &apiextensionsv1.CustomResourceDefinitionCondition{
		Type: apiextensionsv1.KubernetesAPIApprovalPolicyConformant, Status: apiextensionsv1.ConditionFalse, Message: message,
	}
	switch state {
	case apihelpers.APIApproved:
		c.Status, c.Reason = apiextensionsv1.ConditionTrue, "ApprovedAnnotation"
	case apihelpers.APIApprovalBypassed:
		c.Reason = "UnapprovedAnnotation"
	case apihelpers.APIApprovalMissing:
		c.Reason = "MissingAnnotation"
	default:
		c.Reason = "InvalidAnnotation"
	}
	return c
}

// internalSchema is the schema of a version in the form in which the libraries for
// schemas take it; nil where it has none. It is the caller's own.
func internalSchema(v *apiextensionsv1.CustomResourceDefinitionVersion) (*apiextensions.JSONSchemaProps, error) {
	if v.Schema == nil || v.Schema.OpenAPIV3Schema == nil {
		return nil, nil
	}
	out := &apiextensions.CustomResourceValidation{}
	if err := apiextensionsv1.Convert_v1_CustomResourceValidation_To_apiextensions_CustomResourceValidation(v.Schema.DeepCopy(), out, nil); err != nil {
		return nil, fmt.Errorf("failed converting CRD validation to internal version: %w", err)
	}
	return out.OpenAPIV3Schema, nil
}

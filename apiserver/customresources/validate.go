package customresources

import (
	"context"
	"fmt"
	"math"
	"strings"

	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel/model"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/objectmeta"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"k8s.io/apiserver/pkg/cel/common"
)

// validate checks a new object.
func (v *version) validate(obj *unstructured.Unstructured) field.ErrorList {
	if errs := v.validateKind(obj); len(errs) > 0 {
		return errs
	}
	var errs field.ErrorList
	if validator := v.validator(); validator != nil {
		errs = append(errs, validation.ValidateCustomResource(nil, obj.Object, validator)...)
	}
	errs = append(errs, v.validateScale(obj, true)...)
	if s := v.structural(); s != nil {
		errs = append(errs, objectmeta.Validate(context.Background(), nil, obj.Object, s, false)...)
		errs = append(errs, listtype.ValidateListSetsAndMaps(nil, s, obj.Object)...)
	}
	return append(errs, v.validateRules(obj, nil, errs)...)
}

// validateChange checks a changed object. What did not change in it, it may go on
// to break.
func (v *version) validateChange(obj, old *unstructured.Unstructured) field.ErrorList {
	if errs := v.validateKind(obj); len(errs) > 0 {
		return errs
	}
	var errs field.ErrorList
	correlated := v.correlate(obj, old)
	if validator := v.validator(); validator != nil {
		errs = append(errs, validation.ValidateCustomResourceUpdate(nil, obj.Object, old.Object, validator, validation.WithRatcheting(correlated))...)
	}
	errs = append(errs, v.validateScale(obj, true)...)
	if s := v.structural(); s != nil {
		errs = append(errs, objectmeta.Validate(context.Background(), nil, obj.Object, s, false)...)
	}
	errs = append(errs, v.validateLists(obj, old)...)
	return append(errs, v.validateRules(obj, old, errs, cel.WithRatcheting(correlated))...)
}

// validateStatus checks a change through the status sub-resource.
func (v *version) validateStatus(obj, old *unstructured.Unstructured) field.ErrorList {
	if errs := v.validateKind(obj); len(errs) > 0 {
		return errs
	}
	var errs field.ErrorList
	correlated := v.correlate(obj, old)
	status, has := obj.Object["status"]
	if validator := v.statusValidator(); has && validator != nil {
		errs = append(errs, validation.ValidateCustomResourceUpdate(field.NewPath("status"), status, old.Object["status"], validator,
			validation.WithRatcheting(correlated.Key("status")))...)
	}
	errs = append(errs, v.validateScale(obj, false)...)
	errs = append(errs, v.validateLists(obj, old)...)
	return append(errs, v.validateRules(obj, old, errs, cel.WithRatcheting(correlated))...)
}

func (v *version) correlate(obj, old *unstructured.Unstructured) *common.CorrelatedObject {
	return common.NewCorrelatedObject(obj.Object, old.Object, &model.Structural{Structural: v.structural()})
}

// validateLists: sets and maps have no item twice, unless they had already.
func (v *version) validateLists(obj, old *unstructured.Unstructured) field.ErrorList {
	s := v.structural()
	if s == nil {
		return nil
	}
	errs := listtype.ValidateListSetsAndMaps(nil, s, obj.Object)
	if len(errs) > 0 && len(listtype.ValidateListSetsAndMaps(nil, s, old.Object)) > 0 {
		return nil
	}
	return errs
}

// validateRules evaluates the CEL rules, at a cost of celconfig.RuntimeCELCostBudget
// at most, unless earlier errors say that the object is not of the types that the
// rules were compiled for.
func (v *version) validateRules(obj, old *unstructured.Unstructured, earlier field.ErrorList, options ...cel.Option) field.ErrorList {
	rules := v.rules()
	if rules == nil {
		return nil
	}
	for _, err := range earlier {
		switch err.Type {
		case field.ErrorTypeNotSupported, field.ErrorTypeRequired, field.ErrorTypeTooLong, field.ErrorTypeTooMany, field.ErrorTypeTypeInvalid:
			return field.ErrorList{field.Invalid(nil, nil, "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation")}
		}
	}
	var before any
	if old != nil {
		before = old.Object
	}
	errs, _ := rules.Validate(context.Background(), nil, v.structural(), obj.Object, before, celconfig.RuntimeCELCostBudget, options...)
	return errs
}

func (v *version) validateKind(obj *unstructured.Unstructured) field.ErrorList {
	var errs field.ErrorList
	if kind := obj.GetKind(); kind != v.gvk.Kind {
		errs = append(errs, field.Invalid(field.NewPath("kind"), kind, "must be "+v.gvk.Kind))
	}
	if want := v.gvk.GroupVersion().String(); obj.GetAPIVersion() != want {
		errs = append(errs, field.Invalid(field.NewPath("apiVersion"), obj.GetAPIVersion(), "must be "+want))
	}
	return errs
}

// validateScale checks the fields that scale shows.
func (v *version) validateScale(obj *unstructured.Unstructured, spec bool) field.ErrorList {
	scale := v.scale()
	if scale == nil {
		return nil
	}
	var errs field.ErrorList
	if spec {
		errs = append(errs, validateReplicas(obj, scale.SpecReplicasPath)...)
	}
	errs = append(errs, validateReplicas(obj, scale.StatusReplicasPath)...)
	if p := scale.LabelSelectorPath; p != nil {
		if text, _, err := unstructured.NestedString(obj.Object, steps(*p)...); err != nil {
			errs = append(errs, field.Invalid(field.NewPath(*p), text, err.Error()))
		}
	}
	return errs
}

func validateReplicas(obj *unstructured.Unstructured, path string) field.ErrorList {
	n, _, err := unstructured.NestedInt64(obj.Object, steps(path)...)
	switch {
	case err != nil:
		return field.ErrorList{field.Invalid(field.NewPath(path), n, err.Error())}
	case n < 0:
		return field.ErrorList{field.Invalid(field.NewPath(path), n, "should be a non-negative integer")}
	case n > math.MaxInt32:
		return field.ErrorList{field.Invalid(field.NewPath(path), n, fmt.Sprintf("should be less than or equal to %v", math.MaxInt32))}
	}
	return nil
}

// steps of a simple JSON path: ".spec.replicas".
func steps(path string) []string { return strings.Split(strings.TrimPrefix(path, "."), ".") }

package dynamicresource

import (
	"encoding/json"
	"fmt"

	resourcev1 "k8s.io/api/resource/v1"
	"k8s.io/apimachinery/pkg/api/validate"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiservercel "k8s.io/apiserver/pkg/cel"
	"k8s.io/apiserver/pkg/cel/environment"
	"k8s.io/dynamic-resource-allocation/cel"
)

// features are those of the expressions that a server with the default gates takes.
var features = cel.Features{EnableConsumableCapacity: true}

// selector checks what a device must be like. An expression that is stored was right
// when it was stored.
func selector(s resourcev1.DeviceSelector, stored bool, path *field.Path) field.ErrorList {
	if s.CEL == nil {
		return field.ErrorList{field.Required(path.Child("cel"), "")}
	}
	at, expression := path.Child("cel", "expression"), s.CEL.Expression
	switch {
	case stored:
		return nil
	case len(expression) > resourcev1.CELSelectorExpressionMaxLength:
		return field.ErrorList{field.TooLong(at, "", resourcev1.CELSelectorExpressionMaxLength)}
	}
	kind := environment.NewExpressions
	result := cel.GetCompiler(features).CompileCELExpression(expression, cel.Options{EnvType: &kind})
	if err := result.Error; err != nil {
		switch err.Type {
		case apiservercel.ErrorTypeRequired:
			return field.ErrorList{field.Required(at, err.Detail)}
		case apiservercel.ErrorTypeInvalid:
			return field.ErrorList{field.Invalid(at, expression, err.Detail)}
		}
		return field.ErrorList{field.InternalError(at, err)}
	}
	if result.MaxCost > resourcev1.CELSelectorExpressionMaxCost {
		return field.ErrorList{field.Forbidden(at, "too complex, exceeds cost limit")}
	}
	return nil
}

func selectors(all []resourcev1.DeviceSelector, stored bool, path *field.Path) field.ErrorList {
	return list(all, resourcev1.DeviceSelectorsMaxSize, func(s resourcev1.DeviceSelector, at *field.Path) field.ErrorList {
		return selector(s, stored, at)
	}, path)
}

// configuration checks what a driver is told about devices.
func configuration(c resourcev1.DeviceConfiguration, stored bool, path *field.Path) field.ErrorList {
	at := path.Child("opaque")
	if c.Opaque == nil {
		return field.ErrorList{field.Required(at, "")}
	}
	driver := at.Child("driver")
	errs := required(c.Opaque.Driver, validate.LongNameCaseless, driver)
	if len(c.Opaque.Driver) > resourcev1.DriverNameMaxLength {
		errs = append(errs, field.TooLongCharacters(driver, c.Opaque.Driver, resourcev1.DriverNameMaxLength))
	}
	return append(errs, rawObject(c.Opaque.Parameters, stored, resourcev1.OpaqueParametersMaxLength, at.Child("parameters"))...)
}

// rawObject checks embedded JSON: an object of bounded size.
func rawObject(raw runtime.RawExtension, stored bool, most int, path *field.Path) field.ErrorList {
	var v any
	switch {
	case len(raw.Raw) == 0:
		return field.ErrorList{field.Required(path, "")}
	case !stored && len(raw.Raw) > most:
		return field.ErrorList{field.TooLong(path, "", most)}
	}
	if err := json.Unmarshal(raw.Raw, &v); err != nil {
		return field.ErrorList{field.Invalid(path, "<value omitted>", fmt.Sprintf("error parsing data as JSON: %v", err))}
	}
	switch v.(type) {
	case nil:
		return field.ErrorList{field.Required(path, "")}
	case map[string]any:
		return nil
	}
	return field.ErrorList{field.Invalid(path, "<value omitted>", "must be a valid JSON object")}
}

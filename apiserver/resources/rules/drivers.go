package rules

import (
	"k8s.io/apimachinery/pkg/api/validate/content"
	"k8s.io/apimachinery/pkg/util/validation/field"
)

// maxDriver bounds the name of a driver, in characters.
const maxDriver = 63

// Driver checks the name of a driver, a subdomain in any case, in the words of
// upstream's declarative validation. Most fields still have those of
// volumes.CSIDriverName.
func Driver(name string, path *field.Path) field.ErrorList {
	if name == "" {
		return field.ErrorList{field.Required(path, "")}
	}
	var errs field.ErrorList
	if len(name) > maxDriver {
		errs = append(errs, field.TooLongCharacters(path, "", maxDriver))
	}
	return append(errs, Matches(name, path, content.IsDNS1123SubdomainCaseless(name))...)
}

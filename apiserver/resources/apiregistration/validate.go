package apiregistration

import (
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/api/validation/path"
	utilvalidation "k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	apiregistrationv1 "k8s.io/kube-aggregator/pkg/apis/apiregistration/v1"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

func validate(s *apiregistrationv1.APIService) field.ErrorList {
	var errs field.ErrorList
	spec := field.NewPath("spec")
	if name := s.Spec.Version + "." + s.Spec.Group; s.Name != name && len(path.IsValidPathSegmentName(s.Name)) == 0 {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "name"), s.Name, fmt.Sprintf("must be `spec.version+\".\"+spec.group`: %q", name)))
	}
	if s.Spec.Group == "" && s.Spec.Version != "v1" {
		errs = append(errs, field.Required(spec.Child("group"), "only v1 may have an empty group and it better be legacy kube"))
	}
	if s.Spec.Group != "" {
		errs = append(errs, rules.Matches(s.Spec.Group, spec.Child("group"), utilvalidation.IsDNS1123Subdomain(s.Spec.Group))...)
	}
	errs = append(errs, rules.Matches(s.Spec.Version, spec.Child("version"), utilvalidation.IsDNS1035Label(s.Spec.Version))...)
	if p := s.Spec.GroupPriorityMinimum; p <= 0 || p > 20000 {
		errs = append(errs, field.Invalid(spec.Child("groupPriorityMinimum"), p, "must be positive and less than 20000"))
	}
	if p := s.Spec.VersionPriority; p <= 0 || p > 1000 {
		errs = append(errs, field.Invalid(spec.Child("versionPriority"), p, "must be positive and less than 1000"))
	}
	insecure := spec.Child("insecureSkipTLSVerify")
	to := s.Spec.Service
	if to == nil {
		if len(s.Spec.CABundle) > 0 {
			errs = append(errs, field.Invalid(spec.Child("caBundle"), fmt.Sprintf("%d bytes", len(s.Spec.CABundle)), "local APIServices may not have a caBundle"))
		}
		if s.Spec.InsecureSkipTLSVerify {
			errs = append(errs, field.Invalid(insecure, true, "local APIServices may not have insecureSkipTLSVerify"))
		}
		return errs
	}
	service := spec.Child("service")
	if to.Namespace == "" {
		errs = append(errs, field.Required(service.Child("namespace"), ""))
	}
	if to.Name == "" {
		errs = append(errs, field.Required(service.Child("name"), ""))
	}
	port := int32(443)
	if to.Port != nil {
		port = *to.Port
	}
	if wrong := utilvalidation.IsValidPortNum(int(port)); wrong != nil {
		errs = append(errs, field.Invalid(service.Child("port"), port, "port is not valid: "+strings.Join(wrong, ", ")))
	}
	if s.Spec.InsecureSkipTLSVerify && len(s.Spec.CABundle) > 0 {
		errs = append(errs, field.Invalid(insecure, true, "may not be true if caBundle is present"))
	}
	return errs
}

func validateStatus(s *apiregistrationv1.APIService) field.ErrorList {
	var errs field.ErrorList
	conditions := field.NewPath("status", "conditions")
	for i, c := range s.Status.Conditions {
		switch c.Status {
		case apiregistrationv1.ConditionTrue, apiregistrationv1.ConditionFalse, apiregistrationv1.ConditionUnknown:
		default:
			errs = append(errs, field.NotSupported(conditions.Index(i).Child("status"), c.Status, []apiregistrationv1.ConditionStatus{
				apiregistrationv1.ConditionTrue, apiregistrationv1.ConditionFalse, apiregistrationv1.ConditionUnknown,
			}))
		}
	}
	return errs
}

package core

import (
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// claimPrefix begins the names under which the devices of claims are reported.
const claimPrefix = "claim:"

// validateDeviceHealth checks that the devices that are reported of containers are among
// what these ask for, and each once.
func validateDeviceHealth(statuses []corev1.ContainerStatus, containers []corev1.Container, s *corev1.PodStatus, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i := range statuses {
		// A container that is not there is forgiven.
		own := slices.IndexFunc(containers, func(c corev1.Container) bool { return c.Name == statuses[i].Name })
		for j := range statuses[i].AllocatedResourcesStatus {
			r, at := &statuses[i].AllocatedResourcesStatus[j], path.Index(i).Child("allocatedResourcesStatus").Index(j)
			if own >= 0 {
				errs = append(errs, validateDeviceName(r.Name, &containers[own], s.ExtendedResourceClaimStatus, at.Child("name"))...)
			}
			seen := sets.New[corev1.ResourceID]()
			for k := range r.Resources {
				d, one := &r.Resources[k], at.Child("resources").Index(k)
				errs = append(errs, rules.OneOf(d.Health, one.Child("health"),
					corev1.ResourceHealthStatusHealthy, corev1.ResourceHealthStatusUnhealthy, corev1.ResourceHealthStatusUnknown)...)
				switch m := d.Message; {
				case m == nil:
				case *m == "":
					errs = append(errs, field.Required(one.Child("message"), "must be non-empty if specified"))
				case len(*m) > corev1.ResourceHealthMessageMaxLength:
					errs = append(errs, field.TooLong(one.Child("message"), *m, corev1.ResourceHealthMessageMaxLength))
				}
				if seen.Has(d.ResourceID) {
					errs = append(errs, field.Duplicate(one.Child("resourceID"), d.ResourceID))
				}
				seen.Insert(d.ResourceID)
			}
		}
	}
	return errs
}

func validateDeviceName(name corev1.ResourceName, c *corev1.Container, extended *corev1.PodExtendedResourceClaimStatus, path *field.Path) field.ErrorList {
	claim, isClaim := strings.CutPrefix(string(name), claimPrefix)
	if !isClaim {
		if _, ok := c.Resources.Requests[name]; ok {
			return nil
		}
		return field.ErrorList{field.Invalid(path, name, "must match one of the container's resource requests")}
	}
	for _, ref := range c.Resources.Claims {
		whole := ref.Name
		if ref.Request != "" {
			whole += "/" + ref.Request
		}
		if whole == claim {
			return nil
		}
	}
	if of, request, _ := strings.Cut(claim, "/"); extended != nil && request != "" && of == extended.ResourceClaimName {
		for _, m := range extended.RequestMappings {
			if q, ok := c.Resources.Requests[corev1.ResourceName(m.ResourceName)]; ok && !q.IsZero() && m.ContainerName == c.Name && m.RequestName == request {
				return nil
			}
		}
	}
	return field.ErrorList{field.Invalid(path, name, "must match one of the container's resource claims as 'claim:<claimName>/<requestName>' "+
		"when container.resources.claims[*].request is set or 'claim:<claimName>' when it is empty")}
}

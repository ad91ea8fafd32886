package podspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	resourcehelper "k8s.io/component-helpers/resource"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// ValidateResources checks the requests, limits and claims of a container.
func ValidateResources(r *corev1.ResourceRequirements, claims []corev1.PodResourceClaim, path *field.Path) field.ErrorList {
	errs := validateRequirements(r, containerResource, path)
	return append(errs, validateClaimRefs(r.Claims, claims, path.Child("claims"))...)
}

// validateClaimRefs checks what a container uses of the pod's claims: each request of
// a claim once, or once the claim as a whole.
func validateClaimRefs(refs []corev1.ResourceClaim, claims []corev1.PodResourceClaim, path *field.Path) field.ErrorList {
	if len(refs) == 0 {
		return nil
	}
	var errs field.ErrorList
	known := sets.New[string]()
	for i := range claims {
		if claims[i].Name != "" {
			known.Insert(claims[i].Name)
		}
	}
	requests := map[string]sets.Set[string]{} // by claim; "" is all of it
	for i, ref := range refs {
		at := path.Index(i)
		if ref.Name == "" {
			errs = append(errs, field.Required(at, ""))
			continue
		}
		used := requests[ref.Name]
		if used == nil {
			used = sets.New[string]()
			requests[ref.Name] = used
		}
		if used.Has("") {
			errs = append(errs, field.Duplicate(at, ref.Name))
		} else {
			if ref.Request != "" {
				errs = append(errs, rules.Label(ref.Request, at.Child("request"))...)
			}
			switch {
			case used.Has(ref.Request):
				errs = append(errs, field.Duplicate(at, ref.Name+"/"+ref.Request))
			case ref.Request == "":
				for range used {
					errs = append(errs, field.Duplicate(at, ref.Name))
				}
			}
			used.Insert(ref.Request)
		}
		if !known.Has(ref.Name) {
			err := field.NotFound(at, ref.Name)
			err.Detail = "must be one of the names in pod.spec.resourceClaims which is empty"
			if len(known) > 0 {
				err.Detail = "must be one of the names in pod.spec.resourceClaims: " + strings.Join(sets.List(known), ", ")
			}
			errs = append(errs, err)
		}
	}
	return errs
}

// validatePodResources checks the requests and limits of the pod as a whole.
func validatePodResources(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	if spec.Resources == nil {
		return nil
	}
	if spec.OS != nil && spec.OS.Name == corev1.Windows {
		return field.ErrorList{field.Forbidden(path, "may not be set for a windows pod")}
	}
	var errs field.ErrorList
	if spec.Resources.Claims != nil {
		errs = append(errs, field.Forbidden(path.Child("claims"), "claims may not be set for Resources at pod-level"))
	}
	errs = append(errs, validateRequirements(spec.Resources, func(name corev1.ResourceName, at *field.Path) field.ErrorList {
		if bad := ResourceName(name, at); len(bad) > 0 || resourcehelper.IsSupportedPodLevelResource(name) {
			return bad
		}
		return field.ErrorList{field.NotSupported(at, name, sets.List(resourcehelper.SupportedPodLevelResources()))}
	}, path)...)
	errs = append(errs, validateClaimRefs(spec.Resources.Claims, spec.ResourceClaims, path.Child("claims"))...)
	return append(errs, validateAggregates(spec, path)...)
}

// validateAggregates checks that what the pod as a whole requests, and its limit of
// huge pages, cover what its containers ask for, and that no container may take more
// than the pod.
func validateAggregates(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	pod := &corev1.Pod{Spec: *spec}
	aggregate := resourcehelper.AggregateContainerRequests(pod, resourcehelper.PodResourcesOptions{})
	for _, name := range sortedNames(spec.Resources.Requests) {
		want := spec.Resources.Requests[name]
		if have, ok := aggregate[name]; ok && have.Cmp(want) > 0 {
			errs = append(errs, field.Invalid(path.Child("requests").Key(string(name)), want.String(),
				fmt.Sprintf("must be greater than or equal to aggregate container requests of %s", have.String())))
		}
	}
	limits := resourcehelper.AggregateContainerLimits(pod, resourcehelper.PodResourcesOptions{})
	for _, name := range sortedNames(spec.Resources.Limits) {
		want := spec.Resources.Limits[name]
		if have, ok := limits[name]; ok && isHugePages(name) && have.Cmp(want) > 0 {
			errs = append(errs, field.Invalid(path.Child("limits").Key(string(name)), want.String(),
				fmt.Sprintf("must be greater than or equal to aggregate container limits of %s", have.String())))
		}
	}
	for i := range spec.Containers {
		own := spec.Containers[i].Resources.Limits
		for _, name := range sortedNames(own) {
			limit := own[name]
			if most, ok := spec.Resources.Limits[name]; ok && limit.Cmp(most) > 0 {
				errs = append(errs, field.Invalid(path.Child("containers").Index(i).Key(string(name)).Child("limits"), limit.String(),
					fmt.Sprintf("must be less than or equal to pod limits of %s", most.String())))
			}
		}
	}
	return errs
}

func validateRequirements(r *corev1.ResourceRequirements, nameOK func(corev1.ResourceName, *field.Path) field.ErrorList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	limits, requests := path.Child("limits"), path.Child("requests")
	enough, huge := false, false
	note := func(name corev1.ResourceName) {
		enough = enough || name == corev1.ResourceCPU || name == corev1.ResourceMemory
		huge = huge || isHugePages(name)
	}
	for _, name := range sortedNames(r.Limits) {
		at := limits.Key(string(name))
		errs = append(errs, nameOK(name, at)...)
		errs = append(errs, validateQuantity(name, r.Limits[name], at)...)
		note(name)
	}
	for _, name := range sortedNames(r.Requests) {
		at := requests.Key(string(name))
		quantity := r.Requests[name]
		errs = append(errs, nameOK(name, at)...)
		errs = append(errs, validateQuantity(name, quantity, at)...)
		note(name)
		limit, limited := r.Limits[name]
		switch {
		case limited && quantity.Cmp(limit) != 0 && !overcommits(name):
			errs = append(errs, field.Invalid(requests, quantity.String(), fmt.Sprintf("must be equal to %s limit of %s", name, limit.String())))
		case limited && quantity.Cmp(limit) > 0:
			errs = append(errs, field.Invalid(requests, quantity.String(), fmt.Sprintf("must be less than or equal to %s limit of %s", name, limit.String())))
		case !limited && !overcommits(name):
			errs = append(errs, field.Required(limits, "Limit must be set for non overcommitable resources"))
		}
	}
	if huge && !enough {
		errs = append(errs, field.Forbidden(path, "HugePages require cpu or memory"))
	}
	return errs
}

func containerResource(name corev1.ResourceName, path *field.Path) field.ErrorList {
	errs := rules.Matches(string(name), path, validation.IsQualifiedName(string(name)))
	if !strings.Contains(string(name), "/") {
		switch {
		case name == corev1.ResourceCPU, name == corev1.ResourceMemory, name == corev1.ResourceEphemeralStorage, isHugePages(name):
		case StandardResource(name):
			return append(errs, field.Invalid(path, string(name), "must be a standard resource for containers"))
		default:
			if len(errs) == 0 {
				errs = field.ErrorList{field.Invalid(path, string(name), "must be a standard resource type or fully qualified")}
			}
			return append(errs, field.Invalid(path, string(name), "must be a standard resource for containers"))
		}
	} else if !native(name) && !extended(name) {
		errs = append(errs, field.Invalid(path, string(name), "doesn't follow extended resource name standard"))
	}
	return errs
}

// validateQuantities checks the names and amounts of a resource list.
func validateQuantities(list corev1.ResourceList, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	// Upstream checks them as if they were limits, and says so.
	path = path.Child("limits")
	for _, name := range sortedNames(list) {
		errs = append(errs, containerResource(name, path.Key(string(name)))...)
		errs = append(errs, validateQuantity(name, list[name], path.Key(string(name)))...)
	}
	return errs
}

func validateQuantity(name corev1.ResourceName, q resource.Quantity, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if q.Sign() < 0 {
		errs = append(errs, field.Invalid(path, q.String(), "must be greater than or equal to 0"))
	}
	if isHugePages(name) && !multipleOfPage(name, q) {
		errs = append(errs, field.Invalid(path, q.String(), fmt.Sprintf("%s is not positive integer multiple of %s", q.String(), name)))
	}
	whole := name == corev1.ResourcePods || strings.Contains(string(name), "/") && extended(name)
	if whole && q.MilliValue()%1000 != 0 {
		errs = append(errs, field.Invalid(path, q.String(), "must be an integer"))
	}
	return errs
}

// multipleOfPage says that an amount is so many pages of the size that the resource's
// name says.
func multipleOfPage(name corev1.ResourceName, q resource.Quantity) bool {
	size, err := resource.ParseQuantity(strings.TrimPrefix(string(name), corev1.ResourceHugePagesPrefix))
	return err == nil && size.Sign() > 0 && size.MilliValue()%1000 == 0 && q.Value()%size.Value() == 0
}

func validateResizePolicy(policies []corev1.ContainerResizePolicy, restart corev1.RestartPolicy, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	seen := sets.New[corev1.ResourceName]()
	for i, p := range policies {
		if seen.Has(p.ResourceName) {
			errs = append(errs, field.Duplicate(path.Index(i), p.ResourceName))
		}
		seen.Insert(p.ResourceName)
		errs = append(errs, rules.Enum(p.ResourceName, path, corev1.ResourceCPU, corev1.ResourceMemory)...)
		errs = append(errs, rules.Enum(p.RestartPolicy, path, corev1.NotRequired, corev1.RestartContainer)...)
		if restart == corev1.RestartPolicyNever && p.RestartPolicy != corev1.NotRequired {
			errs = append(errs, field.Invalid(path, p.RestartPolicy, "must be 'NotRequired' when pod `restartPolicy` is 'Never'"))
		}
	}
	return errs
}

func sortedNames(list corev1.ResourceList) []corev1.ResourceName {
	return slices.Sorted(maps.Keys(list))
}

func isHugePages(name corev1.ResourceName) bool {
	return strings.HasPrefix(string(name), corev1.ResourceHugePagesPrefix)
}

// native says that a name belongs to Kubernetes itself.
func native(name corev1.ResourceName) bool {
	return !strings.Contains(string(name), "/") || strings.Contains(string(name), corev1.ResourceDefaultNamespacePrefix)
}

// extended says that a name is one a device plugin may advertise.
func extended(name corev1.ResourceName) bool {
	if native(name) || strings.HasPrefix(string(name), corev1.DefaultResourceRequestsPrefix) {
		return false
	}
	return len(validation.IsQualifiedName(corev1.DefaultResourceRequestsPrefix+string(name))) == 0
}

// overcommits says that limits may exceed requests.
func overcommits(name corev1.ResourceName) bool { return native(name) && !isHugePages(name) }

// StandardResource says that a resource without a domain is one of Kubernetes' own,
// of pods or of quotas.
func StandardResource(name corev1.ResourceName) bool {
	switch name {
	case corev1.ResourceCPU, corev1.ResourceMemory, corev1.ResourceEphemeralStorage, corev1.ResourceRequestsCPU,
		corev1.ResourceRequestsMemory, corev1.ResourceRequestsEphemeralStorage, corev1.ResourceLimitsCPU,
		corev1.ResourceLimitsMemory, corev1.ResourceLimitsEphemeralStorage, corev1.ResourcePods, corev1.ResourceQuotas,
		corev1.ResourceServices, corev1.ResourceReplicationControllers, corev1.ResourceSecrets,
		corev1.ResourceConfigMaps, corev1.ResourcePersistentVolumeClaims, corev1.ResourceStorage,
		corev1.ResourceRequestsStorage, corev1.ResourceServicesNodePorts, corev1.ResourceServicesLoadBalancers:
		return true
	}
	return isHugePages(name) || strings.HasPrefix(string(name), corev1.ResourceRequestsHugePagesPrefix)
}

// ResourceName checks the name of a resource that something may be limited by.
func ResourceName(name corev1.ResourceName, path *field.Path) field.ErrorList {
	if messages := validation.IsQualifiedName(string(name)); len(messages) > 0 {
		return rules.Matches(name, path, messages)
	}
	if !strings.Contains(string(name), "/") && !StandardResource(name) {
		return field.ErrorList{field.Invalid(path, name, "must be a standard resource type or fully qualified")}
	}
	return nil
}

// ValidateOverhead checks what a runtime adds to each pod.
func ValidateOverhead(list corev1.ResourceList, path *field.Path) field.ErrorList {
	return validateQuantities(list, path)
}

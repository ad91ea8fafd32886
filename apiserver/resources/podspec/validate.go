package podspec

import (
	"fmt"
	"math"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// ValidatePod checks a new pod's spec and what its metadata says about it.
func ValidatePod(pod *corev1.Pod) field.ErrorList {
	path := field.NewPath("spec")
	errs := validatePod(pod, nil)
	if len(pod.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(path.Child("ephemeralContainers"), "cannot be set on create"))
	}
	if pod.Spec.NodeName != "" && len(pod.Spec.SchedulingGates) > 0 {
		errs = append(errs, field.Forbidden(path.Child("nodeName"), "cannot be set until all schedulingGates have been cleared"))
	}
	errs = append(errs, validateSeccompMatch(pod, path)...)
	return append(errs, validateAppArmorMatch(pod, path)...)
}

// validatePod checks what is asked of every pod, new or not; old is nil on create.
func validatePod(pod, old *corev1.Pod) field.ErrorList {
	path := field.NewPath("spec")
	errs := validateAnnotations(pod.Annotations, &pod.Spec, field.NewPath("metadata", "annotations"))
	var was *corev1.PodSpec
	if old != nil {
		was = &old.Spec
	}
	errs = append(errs, validateSpec(&pod.Spec, was, &pod.ObjectMeta, path)...)
	if n := pod.Spec.ServiceAccountName; n == "" {
		for i := range pod.Spec.Volumes {
			p := pod.Spec.Volumes[i].Projected
			if p == nil {
				continue
			}
			for j := range p.Sources {
				if p.Sources[j].ServiceAccountToken != nil {
					at := path.Child("volumes").Index(i).Child("projected", "sources").Index(j).Child("serviceAccountToken")
					errs = append(errs, field.Forbidden(at, "must not be specified when serviceAccountName is not set"))
				}
			}
		}
	}
	if s := pod.Spec.TerminationGracePeriodSeconds; s != nil {
		errs = append(errs, rules.NonNegative(*s, path.Child("terminationGracePeriodSeconds"))...)
	}
	for i := range pod.Spec.Containers {
		errs = append(errs, trimmedImage(pod.Spec.Containers[i].Image, path.Child("containers").Index(i))...)
	}
	for i := range pod.Spec.InitContainers {
		errs = append(errs, trimmedImage(pod.Spec.InitContainers[i].Image, path.Child("initContainers").Index(i))...)
	}
	return errs
}

// ValidateTemplate checks a pod template.
func ValidateTemplate(t *corev1.PodTemplateSpec, path *field.Path) field.ErrorList {
	// Upstream leaves "metadata" out of these paths.
	errs := rules.Labels(t.Labels, path.Child("labels"))
	errs = append(errs, apivalidation.ValidateAnnotations(t.Annotations, path.Child("annotations"))...)
	errs = append(errs, validateAnnotations(t.Annotations, &t.Spec, path.Child("annotations"))...)
	errs = append(errs, ValidateSpec(&t.Spec, nil, path.Child("spec"))...)
	if len(t.Spec.EphemeralContainers) > 0 {
		errs = append(errs, field.Forbidden(path.Child("spec", "ephemeralContainers"), "ephemeral containers not allowed in pod template"))
	}
	return errs
}

// ValidateTemplateFor checks the template of a workload: its labels must be
// selected by the workload's selector, and its pods must be of the sort that are
// replaced for ever. selected is nil where the selector itself is malformed, kind
// is the workload as messages name it.
func ValidateTemplateFor(kind string, t *corev1.PodTemplateSpec, selected func(labels map[string]string) bool, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if selected != nil && !selected(t.Labels) {
		errs = append(errs, field.Invalid(path.Child("metadata", "labels"), t.Labels, "`selector` does not match template `labels`"))
	}
	errs = append(errs, ValidateTemplate(t, path)...)
	if t.Spec.RestartPolicy != corev1.RestartPolicyAlways {
		errs = append(errs, field.NotSupported(path.Child("spec", "restartPolicy"), t.Spec.RestartPolicy, []corev1.RestartPolicy{corev1.RestartPolicyAlways}))
	}
	if t.Spec.ActiveDeadlineSeconds != nil {
		errs = append(errs, field.Forbidden(path.Child("spec", "activeDeadlineSeconds"), "activeDeadlineSeconds in "+kind+" is not Supported"))
	}
	return errs
}

// ValidateSpec checks a PodSpec. meta is the pod's; nil where the spec is of a template,
// for which some defaults are still to come.
func ValidateSpec(spec *corev1.PodSpec, meta *metav1.ObjectMeta, path *field.Path) field.ErrorList {
	return validateSpec(spec, nil, meta, path)
}

// validateSpec is ValidateSpec of a spec that replaces another, which is nil on create:
// what that one was allowed to say may stay.
func validateSpec(spec, old *corev1.PodSpec, meta *metav1.ObjectMeta, path *field.Path) field.ErrorList {
	name := ""
	if meta != nil {
		name = meta.Name
	}
	var errs field.ErrorList
	if spec.TerminationGracePeriodSeconds == nil {
		errs = append(errs, field.Required(path.Child("terminationGracePeriodSeconds"), ""))
	}
	volumes, bad := validateVolumes(spec.Volumes, name, path.Child("volumes"))
	errs = append(errs, bad...)
	errs = append(errs, validateResourceClaims(spec.ResourceClaims, meta, path.Child("resourceClaims"))...)
	c := containerScope{volumes: volumes, hostUsers: spec.HostUsers == nil || *spec.HostUsers, spec: spec, keepsRestartOnResize: restartsOnResize(old)}
	errs = append(errs, validateContainers(spec, c, path)...)
	errs = append(errs, validatePodResources(spec, path.Child("resources"))...)
	errs = append(errs, rules.Enum(spec.RestartPolicy, path.Child("restartPolicy"),
		corev1.RestartPolicyAlways, corev1.RestartPolicyOnFailure, corev1.RestartPolicyNever)...)
	errs = append(errs, validateDNS(spec, path)...)
	errs = append(errs, rules.Labels(spec.NodeSelector, path.Child("nodeSelector"))...)
	errs = append(errs, validatePodSecurity(spec, meta != nil, path)...)
	errs = append(errs, validateAffinity(spec.Affinity, path.Child("affinity"))...)
	errs = append(errs, ValidateTolerations(spec.Tolerations, path.Child("tolerations"))...)
	errs = append(errs, validateSpread(spec.TopologySpreadConstraints, path.Child("topologySpreadConstraints"))...)
	errs = append(errs, validateGates(spec, path)...)
	errs = append(errs, validateHostAliases(spec.HostAliases, path.Child("hostAliases"))...)
	errs = append(errs, validateNames(spec, path)...)

	if d := spec.ActiveDeadlineSeconds; d != nil && (*d < 1 || *d > math.MaxInt32) {
		errs = append(errs, field.Invalid(path.Child("activeDeadlineSeconds"), *d, validation.InclusiveRangeError(1, math.MaxInt32)))
	}
	if p := spec.PreemptionPolicy; p != nil {
		errs = append(errs, rules.Enum(*p, path.Child("preemptionPolicy"), corev1.PreemptLowerPriority, corev1.PreemptNever)...)
	}
	if spec.Overhead != nil {
		errs = append(errs, validateQuantities(spec.Overhead, path.Child("overhead"))...)
	}
	errs = append(errs, validateHostProcess(spec, path)...)
	errs = append(errs, validateOS(spec, path)...)
	return append(errs, validateFileKeyVolumes(spec, path)...)
}

// restartsOnResize says that a spec has init containers that would restart when they are
// resized, as new ones may not.
func restartsOnResize(spec *corev1.PodSpec) bool {
	if spec == nil {
		return false
	}
	for i := range spec.InitContainers {
		c := &spec.InitContainers[i]
		if c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways {
			continue
		}
		for _, p := range c.ResizePolicy {
			if p.RestartPolicy == corev1.RestartContainer {
				return true
			}
		}
	}
	return false
}

// maxHostname is the longest name that Linux lets a host have, in bytes.
const maxHostname = 64

// validateNames checks the fields that name another object or the host.
func validateNames(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	named := func(value, child string, check func(string) []string) {
		if value != "" {
			errs = append(errs, rules.Matches(value, path.Child(child), check(value))...)
		}
	}
	named(spec.ServiceAccountName, "serviceAccountName", validation.IsDNS1123Subdomain)
	named(spec.NodeName, "nodeName", validation.IsDNS1123Subdomain)
	named(spec.Hostname, "hostname", validation.IsDNS1123Label)
	named(spec.Subdomain, "subdomain", validation.IsDNS1123Label)
	named(spec.PriorityClassName, "priorityClassName", validation.IsDNS1123Subdomain)
	if spec.RuntimeClassName != nil {
		errs = append(errs, rules.Subdomain(*spec.RuntimeClassName, path.Child("runtimeClassName"))...)
	}
	if spec.DeprecatedServiceAccount != spec.ServiceAccountName {
		errs = append(errs, field.Invalid(path.Child("deprecatedServiceAccount"), spec.DeprecatedServiceAccount,
			fmt.Sprintf("must be the same as serviceAccountName: %q", spec.ServiceAccountName)))
	}
	if o := spec.HostnameOverride; o != nil {
		at := path.Child("hostnameOverride")
		if spec.SetHostnameAsFQDN != nil && *spec.SetHostnameAsFQDN {
			errs = append(errs, field.Forbidden(at, "may not be specified when setHostnameAsFQDN is true"))
		}
		if spec.HostNetwork {
			errs = append(errs, field.Forbidden(at, "may not be specified when hostNetwork is true"))
		}
		if len(*o) > maxHostname {
			errs = append(errs, field.TooLong(at, "", maxHostname))
		}
		errs = append(errs, rules.Subdomain(*o, at)...)
	}
	return errs
}

func validateGates(spec *corev1.PodSpec, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, g := range spec.ReadinessGates {
		at := path.Child("readinessGates").Index(i).Child("conditionType")
		errs = append(errs, rules.Matches(string(g.ConditionType), at, validation.IsQualifiedName(string(g.ConditionType)))...)
	}
	seen := sets.New[string]()
	for i, g := range spec.SchedulingGates {
		at := path.Child("schedulingGates").Index(i)
		errs = append(errs, rules.Matches(g.Name, at, validation.IsQualifiedName(g.Name))...)
		if seen.Has(g.Name) {
			errs = append(errs, field.Duplicate(at, g.Name))
		}
		seen.Insert(g.Name)
	}
	return errs
}

func validateHostAliases(aliases []corev1.HostAlias, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, a := range aliases {
		at := path.Index(i)
		errs = append(errs, rules.NewIP(a.IP, nil, at.Child("ip"))...)
		for j, h := range a.Hostnames {
			errs = append(errs, rules.Subdomain(h, at.Child("hostnames").Index(j))...)
		}
	}
	return errs
}

func validateResourceClaims(claims []corev1.PodResourceClaim, meta *metav1.ObjectMeta, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if meta != nil && metav1.HasAnnotation(*meta, corev1.MirrorPodAnnotationKey) {
		for range claims {
			errs = append(errs, field.Forbidden(field.NewPath(""), "static pods do not support resource claims"))
		}
		return errs
	}
	seen := sets.New[string]()
	for i, c := range claims {
		at := path.Index(i)
		switch {
		case c.Name == "":
			errs = append(errs, field.Required(at.Child("name"), ""))
		case seen.Has(c.Name):
			errs = append(errs, field.Duplicate(at.Child("name"), c.Name))
		default:
			errs = append(errs, rules.Label(c.Name, at.Child("name"))...)
			seen.Insert(c.Name)
		}
		switch {
		case c.ResourceClaimName != nil && c.ResourceClaimTemplateName != nil:
			errs = append(errs, field.Invalid(at, rules.Internal(c), "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified"))
		case c.ResourceClaimName == nil && c.ResourceClaimTemplateName == nil:
			errs = append(errs, field.Invalid(at, rules.Internal(c), "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`"))
		}
		if c.ResourceClaimName != nil {
			errs = append(errs, rules.Subdomain(*c.ResourceClaimName, at.Child("resourceClaimName"))...)
		}
		if c.ResourceClaimTemplateName != nil {
			errs = append(errs, rules.Subdomain(*c.ResourceClaimTemplateName, at.Child("resourceClaimTemplateName"))...)
		}
	}
	return errs
}

// SelectorMatcher makes the function that [ValidateTemplateFor] wants from a
// label selector, nil where it is malformed or selects everything.
func SelectorMatcher(s *metav1.LabelSelector) func(map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	if err != nil || s == nil || selector.Empty() {
		return nil
	}
	return func(l map[string]string) bool { return selector.Matches(labels.Set(l)) }
}

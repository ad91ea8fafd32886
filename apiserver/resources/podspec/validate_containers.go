package podspec

import (
	"fmt"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation/field"

	"github.com/strake-io/strake/apiserver/resources/rules"
)

// containerScope is what the check of one container knows of its pod.
type containerScope struct {
	spec *corev1.PodSpec
	// keepsRestartOnResize: the pod has had init containers that restart when they are
	// resized since before that was refused.
	keepsRestartOnResize bool
	volumes              map[string]*corev1.VolumeSource
	hostUsers            bool
}

// validateContainers checks all three lists of containers, whose names share
// one space.
func validateContainers(spec *corev1.PodSpec, scope containerScope, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(spec.Containers) == 0 {
		errs = append(errs, field.Required(path.Child("containers"), ""))
	}
	names := sets.New[string]()
	unique := func(name string, at *field.Path) {
		if names.Has(name) {
			errs = append(errs, field.Duplicate(at.Child("name"), name))
		}
		names.Insert(name)
	}
	for i := range spec.Containers {
		at := path.Child("containers").Index(i)
		c := &spec.Containers[i]
		errs = append(errs, validateContainer(c, scope, at)...)
		unique(c.Name, at)
		errs = append(errs, validateLifecycle(c.Lifecycle, spec.TerminationGracePeriodSeconds, at.Child("lifecycle"))...)
		errs = append(errs, validateProbes(c, at)...)
		errs = append(errs, validateRestart(c.RestartPolicy, c.RestartPolicyRules, at)...)
	}
	errs = append(errs, uniqueHostPorts(spec.Containers, path.Child("containers"))...)
	for i := range spec.InitContainers {
		at := path.Child("initContainers").Index(i)
		c := &spec.InitContainers[i]
		errs = append(errs, validateContainer(c, scope, at)...)
		// Two init containers without a name are no duplicates.
		if c.Name != "" || names.Has("") {
			unique(c.Name, at)
		}
		// The path of the conflict is upstream's: of the list, as if it had one member.
		errs = append(errs, uniqueHostPorts([]corev1.Container{*c}, path.Child("initContainers"))...)
		errs = append(errs, validateInitContainer(c, scope, at)...)
	}
	errs = append(errs, validateEphemeral(spec, scope, unique, path.Child("ephemeralContainers"))...)
	return errs
}

// validateContainer checks what every sort of container has.
func validateContainer(c *corev1.Container, scope containerScope, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if c.Name == "" {
		errs = append(errs, field.Required(path.Child("name"), ""))
	} else {
		errs = append(errs, rules.Label(c.Name, path.Child("name"))...)
	}
	if c.Image == "" {
		errs = append(errs, field.Required(path.Child("image"), ""))
	}
	errs = append(errs, rules.Enum(c.TerminationMessagePolicy, path.Child("terminationMessagePolicy"),
		corev1.TerminationMessageReadFile, corev1.TerminationMessageFallbackToLogsOnError)...)
	errs = append(errs, validatePorts(c.Ports, path.Child("ports"))...)
	errs = append(errs, validateEnv(c.Env, path.Child("env"))...)
	errs = append(errs, validateEnvFrom(c.EnvFrom, path.Child("envFrom"))...)
	errs = append(errs, validateMounts(c, scope, path.Child("volumeMounts"))...)
	errs = append(errs, validateDevices(c, scope, path.Child("volumeDevices"))...)
	errs = append(errs, rules.Enum(c.ImagePullPolicy, path.Child("imagePullPolicy"),
		corev1.PullAlways, corev1.PullIfNotPresent, corev1.PullNever)...)
	errs = append(errs, ValidateResources(&c.Resources, scope.spec.ResourceClaims, path.Child("resources"))...)
	errs = append(errs, validateResizePolicy(c.ResizePolicy, scope.spec.RestartPolicy, path.Child("resizePolicy"))...)
	errs = append(errs, validateSecurityContext(c.SecurityContext, scope.hostUsers, path.Child("securityContext"))...)
	return errs
}

// validateInitContainer checks what sets init containers and sidecars (those
// that restart always) apart from the rest.
func validateInitContainer(c *corev1.Container, scope containerScope, path *field.Path) field.ErrorList {
	sidecar := c.RestartPolicy != nil && *c.RestartPolicy == corev1.ContainerRestartPolicyAlways
	var errs field.ErrorList
	switch {
	case c.RestartPolicy != nil:
		errs = validateRestart(c.RestartPolicy, c.RestartPolicyRules, path)
	case len(c.RestartPolicyRules) > 0:
		errs = field.ErrorList{field.Required(path.Child("restartPolicy"), "must specify restartPolicy when restart rules are used")}
	}
	if sidecar {
		errs = append(errs, validateLifecycle(c.Lifecycle, scope.spec.TerminationGracePeriodSeconds, path.Child("lifecycle"))...)
		return append(errs, validateProbes(c, path)...)
	}
	const only = "may not be set for init containers without restartPolicy=Always"
	for _, f := range []struct {
		set  bool
		name string
	}{
		{c.Lifecycle != nil, "lifecycle"},
		{c.LivenessProbe != nil, "livenessProbe"},
		{c.ReadinessProbe != nil, "readinessProbe"},
		{c.StartupProbe != nil, "startupProbe"},
	} {
		if f.set {
			errs = append(errs, field.Forbidden(path.Child(f.name), only))
		}
	}
	if scope.keepsRestartOnResize {
		return errs
	}
	for i, p := range c.ResizePolicy {
		if p.RestartPolicy == corev1.RestartContainer {
			errs = append(errs, field.Invalid(path.Child("resizePolicy").Index(i).Child("restartPolicy"), p.RestartPolicy,
				"must not be set to 'RestartContainer' for non-sidecar initContainers"))
		}
	}
	return errs
}

// validateRestart checks a container's own restart policy and rules.
func validateRestart(policy *corev1.ContainerRestartPolicy, ruleset []corev1.ContainerRestartRule, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if policy != nil {
		errs = append(errs, rules.OneOf(*policy, path.Child("restartPolicy"),
			corev1.ContainerRestartPolicyAlways, corev1.ContainerRestartPolicyNever, corev1.ContainerRestartPolicyOnFailure)...)
	}
	at := path.Child("restartPolicyRules")
	if len(ruleset) > 0 && policy == nil {
		errs = append(errs, field.Required(path.Child("restartPolicy"), "must specify restartPolicy when restart rules are used"))
	}
	if len(ruleset) > 20 {
		errs = append(errs, field.TooMany(at, len(ruleset), 20))
	}
	for i, r := range ruleset {
		rule := at.Index(i)
		errs = append(errs, rules.OneOf(r.Action, rule.Child("action"),
			corev1.ContainerRestartRuleActionRestart, corev1.ContainerRestartRuleActionRestartAllContainers)...)
		if r.ExitCodes == nil {
			errs = append(errs, field.Required(rule.Child("exitCodes"), "must be specified"))
			continue
		}
		errs = append(errs, rules.OneOf(r.ExitCodes.Operator, rule.Child("exitCodes", "operator"),
			corev1.ContainerRestartRuleOnExitCodesOpIn, corev1.ContainerRestartRuleOnExitCodesOpNotIn)...)
		if len(r.ExitCodes.Values) > 255 {
			errs = append(errs, field.TooMany(rule.Child("exitCodes", "values"), len(r.ExitCodes.Values), 255))
		}
	}
	return errs
}

func validateEphemeral(spec *corev1.PodSpec, scope containerScope, unique func(string, *field.Path), path *field.Path) field.ErrorList {
	var errs field.ErrorList
	if len(spec.EphemeralContainers) == 0 {
		return nil
	}
	known := sets.New[string]()
	for i := range spec.Containers {
		known.Insert(spec.Containers[i].Name)
	}
	for i := range spec.InitContainers {
		known.Insert(spec.InitContainers[i].Name)
	}
	for i := range spec.EphemeralContainers {
		at := path.Index(i)
		e := &spec.EphemeralContainers[i]
		c := corev1.Container(e.EphemeralContainerCommon)
		errs = append(errs, validateContainer(&c, scope, at)...)
		unique(c.Name, at)
		if e.TargetContainerName != "" && !known.Has(e.TargetContainerName) {
			errs = append(errs, field.NotFound(at.Child("targetContainerName"), e.TargetContainerName))
		}
		errs = append(errs, trimmedImage(c.Image, at)...)
		for _, f := range []struct {
			set  bool
			name string
		}{
			{c.Ports != nil, "ports"},
			{c.Lifecycle != nil, "lifecycle"},
			{c.LivenessProbe != nil, "livenessProbe"},
			{c.ReadinessProbe != nil, "readinessProbe"},
			{c.StartupProbe != nil, "startupProbe"},
			{c.Resources.Limits != nil || c.Resources.Requests != nil || c.Resources.Claims != nil, "resources"},
			{c.ResizePolicy != nil, "resizePolicy"},
			{c.RestartPolicy != nil, "restartPolicy"},
			{c.RestartPolicyRules != nil, "restartPolicyRules"},
		} {
			if f.set {
				errs = append(errs, field.Forbidden(at.Child(f.name), "cannot be set for an Ephemeral Container"))
			}
		}
		for j, m := range c.VolumeMounts {
			if m.SubPath != "" {
				errs = append(errs, field.Forbidden(at.Child("volumeMounts").Index(j).Child("subPath"), "cannot be set for an Ephemeral Container"))
			}
			if m.SubPathExpr != "" {
				errs = append(errs, field.Forbidden(at.Child("volumeMounts").Index(j).Child("subPathExpr"), "cannot be set for an Ephemeral Container"))
			}
		}
	}
	return errs
}

func validatePorts(ports []corev1.ContainerPort, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	names := sets.New[string]()
	for i, p := range ports {
		at := path.Index(i)
		if p.Name != "" {
			if bad := portName(p.Name, at.Child("name")); len(bad) > 0 {
				errs = append(errs, bad...)
			} else if names.Has(p.Name) {
				errs = append(errs, field.Duplicate(at.Child("name"), p.Name))
			} else {
				names.Insert(p.Name)
			}
		}
		if p.ContainerPort == 0 {
			errs = append(errs, field.Required(at.Child("containerPort"), ""))
		} else {
			errs = append(errs, rules.Port(p.ContainerPort, at.Child("containerPort"))...)
		}
		if p.HostPort != 0 {
			errs = append(errs, rules.Port(p.HostPort, at.Child("hostPort"))...)
		}
		errs = append(errs, rules.Enum(p.Protocol, at.Child("protocol"), corev1.ProtocolSCTP, corev1.ProtocolTCP, corev1.ProtocolUDP)...)
	}
	return errs
}

func uniqueHostPorts(containers []corev1.Container, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	taken := sets.New[string]()
	for i := range containers {
		for j, p := range containers[i].Ports {
			if p.HostPort == 0 {
				continue
			}
			id := fmt.Sprintf("%s/%s/%d", p.Protocol, p.HostIP, p.HostPort)
			if taken.Has(id) {
				errs = append(errs, field.Duplicate(path.Index(i).Child("ports").Index(j).Child("hostPort"), id))
			}
			taken.Insert(id)
		}
	}
	return errs
}

// trimmedImage is asked of pods only: templates may have spaces around the name.
func trimmedImage(image string, path *field.Path) field.ErrorList {
	if strings.TrimSpace(image) != image {
		return field.ErrorList{field.Invalid(path.Child("image"), image, "must not have leading or trailing whitespace")}
	}
	return nil
}

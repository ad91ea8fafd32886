package core

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apivalidation "k8s.io/apimachinery/pkg/api/validation"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	unversioned "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/apiserver/resources/columns"
	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

func nodes(proxy NodeProxy) *resource.Resource {
	return &resource.Resource{
		GVK: gvk("Node"), Plural: "nodes", Singular: "node", ShortNames: []string{"no"},
		StoragePrefix: "minions",
		New:           func() runtime.Object { return &corev1.Node{} },
		NewList:       func() runtime.Object { return &corev1.NodeList{} },
		Strategy: resource.Strategy{
			Default: func(obj runtime.Object) { defaultNode(obj.(*corev1.Node)) },
			PrepareForCreate: func(_ resource.Request, obj runtime.Object) {
				node := obj.(*corev1.Node)
				// InPlacePodVerticalScalingSchedulerPreemption is off in v1.37.
				node.Spec.ConfigSource, node.Status.Config, node.Spec.PodPreemptionPolicy = nil, nil, nil
			},
			PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
				node, was := obj.(*corev1.Node), old.(*corev1.Node)
				node.Status = was.Status
				if was.Spec.ConfigSource == nil {
					node.Spec.ConfigSource = nil
				}
				if was.Spec.PodPreemptionPolicy == nil {
					node.Spec.PodPreemptionPolicy = nil
				}
			},
			Validate: func(obj runtime.Object) field.ErrorList { return validateNode(obj.(*corev1.Node), nil) },
			ValidateChange: func(obj, old runtime.Object) field.ErrorList {
				node, was := obj.(*corev1.Node), old.(*corev1.Node)
				return append(validateNode(node, was.Spec.PodCIDRs), nodeUpdate(node, was)...)
			},
			Warnings:                 func(obj, _ runtime.Object) []string { return nodeWarnings(obj.(*corev1.Node)) },
			NameError:                apivalidation.NameIsDNSSubdomain,
			AllowUnconditionalUpdate: true,
			ResetFields:              statusReset(),
		},
		Table: resource.Table{Columns: nodeColumns(), Cells: nodeCells},
		SelectableFields: func(obj runtime.Object) fields.Set {
			return fields.Set{"spec.unschedulable": strconv.FormatBool(obj.(*corev1.Node).Spec.Unschedulable)}
		},
		Subresources: []resource.Subresource{
			{Name: "proxy", GVK: gvk("NodeProxyOptions"), New: func() runtime.Object { return &corev1.NodeProxyOptions{} }, Verbs: proxyVerbs, Connect: connectNode(proxy)},
			{Name: "status", View: &resource.View{
				PrepareForUpdate: func(_ resource.Request, obj, old runtime.Object) {
					node, was := obj.(*corev1.Node), old.(*corev1.Node)
					node.Spec = was.Spec
					if was.Status.Config == nil {
						node.Status.Config = nil
					}
					if was.Status.NodeInfo.RunningInUserNamespace == nil {
						node.Status.NodeInfo.RunningInUserNamespace = nil
					}
				},
				Validate: func(obj, old runtime.Object) field.ErrorList {
					return nodeUpdate(obj.(*corev1.Node), old.(*corev1.Node))
				},
				ResetFields: specReset(),
			}},
		},
	}
}

func defaultNode(node *corev1.Node) {
	// The CIDR and the first of the CIDRs are one field.
	if one := node.Spec.PodCIDR; one != "" && (len(node.Spec.PodCIDRs) == 0 || node.Spec.PodCIDRs[0] != one) {
		node.Spec.PodCIDRs = []string{one}
	}
	if node.Spec.PodCIDR == "" && len(node.Spec.PodCIDRs) > 0 {
		node.Spec.PodCIDR = node.Spec.PodCIDRs[0]
	}
	// What may be allocated is the whole machine where nobody says otherwise.
	if node.Status.Allocatable == nil && node.Status.Capacity != nil {
		node.Status.Allocatable = node.Status.Capacity.DeepCopy()
	}
}

func validateNode(node *corev1.Node, held []string) field.ErrorList {
	path := field.NewPath("spec")
	// The path of taints is upstream's.
	errs := ValidateTaints(node.Spec.Taints, field.NewPath("metadata", "taints"))
	errs = append(errs, validateNodeAmounts(&node.Status)...)
	if swap := node.Status.NodeInfo.Swap; swap != nil && swap.Capacity != nil && *swap.Capacity <= 0 {
		errs = append(errs, field.Invalid(field.NewPath("metadata", "nodeSwapStatus", "capacity"), *swap.Capacity, "must be greater than zero"))
	}
	errs = append(errs, validateFeatures(node.Status.DeclaredFeatures, field.NewPath("status", "declaredFeatures"))...)
	at, cidrs := path.Child("podCIDRs"), node.Spec.PodCIDRs
	for i, cidr := range cidrs {
		errs = append(errs, rules.NewCIDR(cidr, held, at.Index(i))...)
	}
	if len(cidrs) < 2 {
		return errs
	}
	dual, err := netutils.IsDualStackCIDRStrings(cidrs)
	if err != nil {
		errs = append(errs, field.InternalError(at, fmt.Errorf("invalid PodCIDRs. failed to check with dual stack with error:%w", err)))
	}
	if !dual || len(cidrs) > 2 {
		errs = append(errs, field.Invalid(at, cidrs, "may specify no more than one CIDR for each IP family"))
	}
	return errs
}

// nodeWarnings tell of fields that do nothing.
func nodeWarnings(node *corev1.Node) []string {
	var out []string
	if node.Spec.ConfigSource != nil {
		out = append(out, "spec.configSource: the feature is removed")
	}
	if node.Spec.DoNotUseExternalID != "" {
		out = append(out, "spec.externalID: this field is deprecated, and is unused by Kubernetes")
	}
	for i, cidr := range node.Spec.PodCIDRs {
		out = append(out, validation.GetWarningsForCIDR(field.NewPath("spec", "podCIDRs").Index(i), cidr)...)
	}
	return out
}

// ValidateTaints checks the taints of a node.
func ValidateTaints(taints []corev1.Taint, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	type id struct {
		key    string
		effect corev1.TaintEffect
	}
	seen := sets.New[id]()
	for i, t := range taints {
		at := path.Index(i)
		errs = append(errs, unversioned.ValidateLabelName(t.Key, at.Child("key"))...)
		if messages := validation.IsValidLabelValue(t.Value); len(messages) > 0 {
			errs = append(errs, field.Invalid(at.Child("value"), t.Value, strings.Join(messages, ";")))
		}
		errs = append(errs, rules.Enum(t.Effect, at.Child("effect"),
			corev1.TaintEffectNoSchedule, corev1.TaintEffectPreferNoSchedule, corev1.TaintEffectNoExecute)...)
		k := id{t.Key, t.Effect}
		if seen.Has(k) {
			dup := field.Duplicate(at, rules.Internal(t))
			dup.Detail = "taints must be unique by key and effect pair"
			errs = append(errs, dup)
		}
		seen.Insert(k)
	}
	return errs
}

func validateNodeAmounts(status *corev1.NodeStatus) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("status")
	for _, part := range []struct {
		name string
		list corev1.ResourceList
	}{{"capacity", status.Capacity}, {"allocatable", status.Allocatable}} {
		for _, r := range slices.Sorted(maps.Keys(part.list)) {
			errs = append(errs, podspec.Quantity(r, part.list[r], path.Child(part.name, string(r)))...)
		}
	}
	return errs
}

// featureName is the form of a feature that a node declares.
var featureName = regexp.MustCompile(`^[A-Z][a-zA-Z0-9]*(/[a-zA-Z][a-zA-Z0-9]*)*$`)

// validateFeatures: a sorted list of names, each once.
func validateFeatures(features []string, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for i, f := range features {
		switch {
		case len(f) > validation.DNS1123SubdomainMaxLength:
			errs = append(errs, field.Invalid(path.Index(i), f, fmt.Sprintf("invalid feature name %q: must be no more than %d characters", f, validation.DNS1123SubdomainMaxLength)))
		case !featureName.MatchString(f):
			errs = append(errs, field.Invalid(path.Index(i), f, fmt.Sprintf("invalid feature name %q: must start with an UpperCamelCase segment, "+
				"with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes", f)))
		}
		if i+1 == len(features) {
			break
		}
		switch next := features[i+1]; {
		case f == next:
			errs = append(errs, field.Duplicate(path.Index(i+1), next))
		case f > next:
			errs = append(errs, field.Invalid(path.Index(i+1), next, "list must be sorted alphabetically"))
		}
	}
	return errs
}

// nodeUpdate checks an update of a node, of its spec or its status.
func nodeUpdate(node, old *corev1.Node) field.ErrorList {
	errs := validateNodeAmounts(&node.Status)
	errs = append(errs, validateFeatures(node.Status.DeclaredFeatures, field.NewPath("status", "declaredFeatures"))...)
	seen := sets.New[corev1.NodeAddress]()
	for i, a := range node.Status.Addresses {
		if seen.Has(a) {
			errs = append(errs, field.Duplicate(field.NewPath("status", "addresses").Index(i), rules.Internal(a)))
		}
		seen.Insert(a)
	}
	errs = append(errs, ValidateTaints(node.Spec.Taints, field.NewPath("metadata", "taints"))...)
	return append(errs, validateNodeUpdate(node, old)...)
}

func validateNodeUpdate(node, old *corev1.Node) field.ErrorList {
	var errs field.ErrorList
	path := field.NewPath("spec")
	if len(old.Spec.PodCIDRs) > 0 && !slices.Equal(old.Spec.PodCIDRs, node.Spec.PodCIDRs) {
		errs = append(errs, field.Forbidden(path.Child("podCIDRs"), "node updates may not change podCIDR except from \"\" to valid"))
	}
	if was, now := old.Spec.ProviderID, node.Spec.ProviderID; was != "" && was != now {
		what := "field cannot be modified once set"
		if now == "" {
			what = "field cannot be cleared once set"
		}
		errs = append(errs, field.Invalid(path.Child("providerID"), nil, what))
	}
	if node.Spec.DoNotUseExternalID != old.Spec.DoNotUseExternalID {
		errs = append(errs, field.Forbidden(path.Child("externalID"), "may not be updated"))
	}
	return errs
}

func nodeColumns() []metav1.TableColumnDefinition {
	info := corev1.NodeSystemInfo{}.SwaggerDoc()
	status := corev1.NodeStatus{}.SwaggerDoc()
	return []metav1.TableColumnDefinition{
		columns.Name(),
		columns.String("Status", "The status of the node"),
		columns.String("Roles", "The roles of the node"),
		columns.Created(),
		columns.String("Version", info["kubeletVersion"]),
		columns.Wide(columns.String("Internal-IP", status["addresses"])),
		columns.Wide(columns.String("External-IP", status["addresses"])),
		columns.Wide(columns.String("OS-Image", info["osImage"])),
		columns.Wide(columns.String("Kernel-Version", info["kernelVersion"])),
		columns.Wide(columns.String("Container-Runtime", info["containerRuntimeVersion"])),
	}
}

func nodeCells(obj runtime.Object, now time.Time) []any {
	node := obj.(*corev1.Node)
	status := "Unknown"
	for _, c := range node.Status.Conditions {
		if c.Type != corev1.NodeReady {
			continue
		}
		status = "NotReady"
		if c.Status == corev1.ConditionTrue {
			status = "Ready"
		}
	}
	if node.Spec.Unschedulable {
		status += ",SchedulingDisabled"
	}
	unknown := func(s string) string {
		if s == "" {
			return "<unknown>"
		}
		return s
	}
	info := node.Status.NodeInfo
	return []any{
		node.Name, status, columns.None(strings.Join(nodeRoles(node), ",")), columns.Age(node.CreationTimestamp, now),
		info.KubeletVersion,
		columns.None(nodeAddress(node, corev1.NodeInternalIP)), columns.None(nodeAddress(node, corev1.NodeExternalIP)),
		unknown(info.OSImage), unknown(info.KernelVersion), unknown(info.ContainerRuntimeVersion),
	}
}

func nodeAddress(node *corev1.Node, t corev1.NodeAddressType) string {
	for _, a := range node.Status.Addresses {
		if a.Type == t {
			return a.Address
		}
	}
	return ""
}

// nodeRoles are written in labels, in one of two spellings.
func nodeRoles(node *corev1.Node) []string {
	const prefix, old = "node-role.kubernetes.io/", "kubernetes.io/role"
	roles := sets.New[string]()
	for k, v := range node.Labels {
		if role, ok := strings.CutPrefix(k, prefix); ok && role != "" {
			roles.Insert(role)
		} else if k == old && v != "" {
			roles.Insert(v)
		}
	}
	return sets.List(roles)
}

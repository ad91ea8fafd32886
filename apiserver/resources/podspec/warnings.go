package podspec

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"
)

// deprecated node labels and what took their place.
var deprecatedNodeLabels = map[string]string{
	"beta.kubernetes.io/arch":                  "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
	"beta.kubernetes.io/os":                    "deprecated since v1.14; use \"kubernetes.io/os\" instead",
	"failure-domain.beta.kubernetes.io/region": "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
	"failure-domain.beta.kubernetes.io/zone":   "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
	"beta.kubernetes.io/instance-type":         "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
}

const (
	useField  = `use the "sysctls" field instead`
	noMatches = "a null labelSelector results in matching no pod"
)

// deprecatedAnnotations say nothing to anyone any more.
var deprecatedAnnotations = []struct{ key, message string }{
	{"scheduler.alpha.kubernetes.io/critical-pod", `non-functional in v1.16+; use the "priorityClassName" field instead`},
	{"security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; " + useField},
	{"security.alpha.kubernetes.io/unsafe-sysctls", "non-functional in v1.11+; " + useField},
}

// PodWarnings are what a client should hear about a new pod that is legal but not
// wise: deprecated fields and names, duplicates that overwrite each other.
func PodWarnings(pod *corev1.Pod) []string {
	var out []string
	if messages := validation.IsDNS1123Label(pod.Name); len(messages) > 0 {
		out = append(out, fmt.Sprintf("metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: %v", messages))
	}
	out = append(out, appArmorWarnings(pod)...)
	return append(out, warnings(&pod.Spec, &pod.ObjectMeta, nil)...)
}

// TemplateWarnings are [PodWarnings] of a template at path.
func TemplateWarnings(template *corev1.PodTemplateSpec, path *field.Path) []string {
	return warnings(&template.Spec, &template.ObjectMeta, path)
}

// warnings of a spec and its metadata, both below path, which is nil for a pod.
func warnings(spec *corev1.PodSpec, meta *metav1.ObjectMeta, path *field.Path) []string {
	w := warner{at: path.Child("spec")}
	w.nodeLabels(spec)
	notes := path.Child("metadata", "annotations")
	for _, a := range deprecatedAnnotations {
		if _, has := meta.Annotations[a.key]; has {
			w.add(notes.Key(a.key), "%s", a.message)
		}
	}
	w.volumes(spec)
	w.duplicates(spec)
	w.fractional(spec.Overhead, w.at.Child("overhead"))
	if spec.SecurityContext == nil || spec.SecurityContext.SeccompProfile == nil {
		w.seccomp(meta.Annotations, corev1.SeccompPodAnnotationKey, notes)
	}
	for _, c := range containersOf(spec, w.at) {
		w.container(c, spec, meta, path)
	}
	w.ports(spec)
	if t := spec.TerminationGracePeriodSeconds; t != nil && *t < 0 {
		w.add(w.at.Child("terminationGracePeriodSeconds"), "must be >= 0; negative values are invalid and will be treated as 1")
	}
	w.affinity(spec.Affinity)
	return w.out
}

// warner gathers warnings about a spec.
type warner struct {
	at  *field.Path
	out []string
}

func (w *warner) add(at *field.Path, format string, args ...any) {
	w.out = append(w.out, at.String()+": "+fmt.Sprintf(format, args...))
}

func (w *warner) nodeLabels(spec *corev1.PodSpec) {
	for _, k := range slices.Sorted(maps.Keys(spec.NodeSelector)) {
		if message, old := deprecatedNodeLabels[k]; old {
			w.add(w.at.Child("nodeSelector").Key(k), "%s", message)
		}
	}
	if spec.Affinity != nil && spec.Affinity.NodeAffinity != nil {
		n, at := spec.Affinity.NodeAffinity, w.at.Child("affinity", "nodeAffinity")
		if r := n.RequiredDuringSchedulingIgnoredDuringExecution; r != nil {
			for i := range r.NodeSelectorTerms {
				w.nodeTerm(&r.NodeSelectorTerms[i], false, at.Child("requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms").Index(i))
			}
		}
		for i := range n.PreferredDuringSchedulingIgnoredDuringExecution {
			w.nodeTerm(&n.PreferredDuringSchedulingIgnoredDuringExecution[i].Preference, true, at.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i).Child("preference"))
		}
	}
	for i, t := range spec.TopologySpreadConstraints {
		at := w.at.Child("topologySpreadConstraints").Index(i)
		if message, old := deprecatedNodeLabels[t.TopologyKey]; old {
			w.add(at.Child("topologyKey"), "%s is %s", t.TopologyKey, message)
		}
		if t.LabelSelector == nil {
			w.add(at.Child("labelSelector"), noMatches)
		}
	}
}

// nodeTerm: values is set where invalid ones are accepted, and so worth a warning.
func (w *warner) nodeTerm(t *corev1.NodeSelectorTerm, values bool, at *field.Path) {
	for i, e := range t.MatchExpressions {
		expression := at.Child("matchExpressions").Index(i)
		if message, old := deprecatedNodeLabels[e.Key]; old {
			w.add(expression.Child("key"), "%s is %s", e.Key, message)
		}
		if !values {
			continue
		}
		for j, v := range e.Values {
			for _, m := range validation.IsValidLabelValue(v) {
				w.add(expression.Child("values").Index(j), "%s is invalid, %s", v, m)
			}
		}
	}
}

// NodeTermWarnings warns of the old labels in what chooses nodes; values says whether
// label values are looked at too.
func NodeTermWarnings(t *corev1.NodeSelectorTerm, values bool, path *field.Path) []string {
	w := &warner{}
	w.nodeTerm(t, values, path)
	return w.out
}

// duplicates are list items that overwrite one another in a merge.
func (w *warner) duplicates(spec *corev1.PodSpec) {
	seen := sets.New[string]()
	for i, a := range spec.HostAliases {
		at := w.at.Child("hostAliases").Index(i).Child("ip")
		if seen.Has(a.IP) {
			w.add(at, "duplicate ip %q", a.IP)
		}
		seen.Insert(a.IP)
		w.address(at, a.IP)
	}
	seen = sets.New[string]()
	for i, s := range spec.ImagePullSecrets {
		if seen.Has(s.Name) {
			w.add(w.at.Child("imagePullSecrets").Index(i).Child("name"), "duplicate name %q", s.Name)
		}
		seen.Insert(s.Name)
	}
	for i, s := range spec.ImagePullSecrets {
		if s.Name == "" {
			w.add(w.at.Child("imagePullSecrets").Index(i).Child("name"), "invalid empty name %q", s.Name)
		}
	}
	if spec.DNSConfig != nil {
		for i, ns := range spec.DNSConfig.Nameservers {
			w.address(w.at.Child("dnsConfig", "nameservers").Index(i), ns)
		}
	}
}

// address warns of an address that is written in a way which is read differently by
// different programs.
func (w *warner) address(at *field.Path, address string) {
	if netutils.ParseIPSloppy(address) != nil {
		w.out = append(w.out, validation.GetWarningsForIP(at, address)...)
	}
}

// fractional warns of memory that is no whole number of bytes.
func (w *warner) fractional(list corev1.ResourceList, at *field.Path) {
	for _, name := range []corev1.ResourceName{corev1.ResourceMemory, corev1.ResourceEphemeralStorage} {
		w.wholeBytes(list, name, at)
	}
}

func (w *warner) wholeBytes(list corev1.ResourceList, name corev1.ResourceName, at *field.Path) {
	if q, ok := list[name]; ok && q.MilliValue()%1000 != 0 {
		w.add(at.Key(string(name)), "fractional byte value %q is invalid, must be an integer", q.String())
	}
}

func (w *warner) seccomp(annotations map[string]string, key string, at *field.Path) {
	if _, has := annotations[key]; has {
		w.add(at.Key(key), `non-functional in v1.27+; use the "seccompProfile" field instead`)
	}
}

func (w *warner) container(c placed, spec *corev1.PodSpec, meta *metav1.ObjectMeta, path *field.Path) {
	notes, security := path.Child("metadata", "annotations"), c.SecurityContext
	if security == nil || security.SeccompProfile == nil {
		w.seccomp(meta.Annotations, corev1.SeccompContainerAnnotationKeyPrefix+c.Name, notes)
	}
	// Those of pods are in [appArmorWarnings].
	key := appArmorPrefix + c.Name
	if said, has := meta.Annotations[key]; has && path != nil && (security == nil || security.AppArmorProfile == nil) {
		var ofPod *corev1.AppArmorProfile
		if spec.SecurityContext != nil {
			ofPod = spec.SecurityContext.AppArmorProfile
		}
		if ofPod == nil || !apiequality.Semantic.DeepEqual(ofPod, appArmorOf(said)) {
			w.add(notes.Key(key), appArmorDeprecated)
		}
	}
	w.fractional(c.Resources.Limits, c.at.Child("resources", "limits"))
	w.fractional(c.Resources.Requests, c.at.Child("resources", "requests"))
	seen := sets.New[string]()
	for i, e := range c.Env {
		ref := "$(" + e.Name + ")"
		if seen.Has(e.Name) && (e.ValueFrom != nil || e.Value == ref || !strings.Contains(e.Value, ref)) {
			w.add(c.at.Child("env").Index(i), "hides previous definition of %q, which may be dropped when using apply", e.Name)
		}
		seen.Insert(e.Name)
	}
}

func (w *warner) affinity(a *corev1.Affinity) {
	if a == nil {
		return
	}
	terms := func(name string, demanded []corev1.PodAffinityTerm, preferred []corev1.WeightedPodAffinityTerm) {
		at := w.at.Child("affinity", name)
		for i := range demanded {
			if demanded[i].LabelSelector == nil {
				w.add(at.Child("requiredDuringSchedulingIgnoredDuringExecution").Index(i).Child("labelSelector"), noMatches)
			}
		}
		for i := range preferred {
			if preferred[i].PodAffinityTerm.LabelSelector == nil {
				w.add(at.Child("preferredDuringSchedulingIgnoredDuringExecution").Index(i).Child("podAffinityTerm", "labelSelector"), noMatches)
			}
		}
	}
	if p := a.PodAffinity; p != nil {
		terms("podAffinity", p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
	if p := a.PodAntiAffinity; p != nil {
		terms("podAntiAffinity", p.RequiredDuringSchedulingIgnoredDuringExecution, p.PreferredDuringSchedulingIgnoredDuringExecution)
	}
}

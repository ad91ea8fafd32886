package kubelet

import (
	"maps"
	"slices"
	"sort"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/kubelet/machine"
	"github.com/strake-io/strake/runtime"
)

const (
	// maxImages and maxImageNames bound what a node reports.
	maxImages     = 50
	maxImageNames = 5
)

// nodeInput is what a node's object is made from.
type nodeInput struct {
	facts   machine.Facts
	cloud   CloudNode
	config  *Config
	name    string
	version runtime.Version
	images  []runtime.Image
	// notReady are reasons why the node cannot run pods; empty: it can.
	notReady []string
	now      time.Time
}

// buildNode returns the node as it shall be: labels, taints of a new one, and the
// whole status. existing is nil for a new one and is not changed.
func buildNode(in nodeInput, existing *corev1.Node) *corev1.Node {
	var node *corev1.Node
	if existing == nil {
		node = &corev1.Node{}
		node.Name = in.name
		node.Spec.Taints = slices.Clone(in.config.RegisterTaints)
		if in.config.PodCIDR != "" {
			node.Spec.PodCIDR, node.Spec.PodCIDRs = in.config.PodCIDR, []string{in.config.PodCIDR}
		}
		node.Annotations = map[string]string{"volumes.kubernetes.io/controller-managed-attach-detach": "true"}
	} else {
		node = existing.DeepCopy()
	}
	if in.cloud.ProviderID != "" && node.Spec.ProviderID == "" {
		node.Spec.ProviderID = in.cloud.ProviderID
	}
	if node.Labels == nil {
		node.Labels = map[string]string{}
	}
	maps.Copy(node.Labels, nodeLabels(in))
	setNodeStatus(in, node)
	return node
}

func nodeLabels(in nodeInput) map[string]string {
	os, arch := or(in.facts.OS, "linux"), or(in.facts.Arch, "amd64")
	out := map[string]string{
		corev1.LabelHostname:    or(strings.ToLower(in.config.HostnameOverride), in.name),
		corev1.LabelOSStable:    os,
		corev1.LabelArchStable:  arch,
		"beta.kubernetes.io/os": os, "beta.kubernetes.io/arch": arch,
	}
	if t := in.cloud.InstanceType; t != "" {
		out[corev1.LabelInstanceTypeStable], out[corev1.LabelInstanceType] = t, t
	}
	if z := in.cloud.Zone; z != "" {
		out[corev1.LabelTopologyZone], out[corev1.LabelFailureDomainBetaZone] = z, z
	}
	if r := in.cloud.Region; r != "" {
		out[corev1.LabelTopologyRegion], out[corev1.LabelFailureDomainBetaRegion] = r, r
	}
	maps.Copy(out, in.config.NodeLabels)
	return out
}

func setNodeStatus(in nodeInput, node *corev1.Node) {
	s := &node.Status
	s.Addresses = nodeAddresses(in)
	s.Capacity = capacity(in)
	s.Allocatable = corev1.ResourceList{}
	for name, q := range s.Capacity {
		q = q.DeepCopy()
		if reserved, ok := in.config.Reserved[name]; ok {
			q.Sub(reserved)
			if q.Sign() < 0 {
				q = *resource.NewQuantity(0, q.Format)
			}
		}
		s.Allocatable[name] = q
	}
	runtimeVersion := in.version.Name + "://" + in.version.Version
	s.NodeInfo = corev1.NodeSystemInfo{
		MachineID: in.facts.MachineID, SystemUUID: in.facts.SystemUUID, BootID: in.facts.BootID,
		KernelVersion: in.facts.Kernel, OSImage: in.facts.OSImage, ContainerRuntimeVersion: runtimeVersion,
		KubeletVersion: Version, OperatingSystem: or(in.facts.OS, "linux"), Architecture: or(in.facts.Arch, "amd64"),
	}
	if in.facts.Swap > 0 {
		swap := in.facts.Swap
		s.NodeInfo.Swap = &corev1.NodeSwapStatus{Capacity: &swap}
	}
	s.DaemonEndpoints.KubeletEndpoint.Port = in.config.Port
	s.Images = nodeImages(in.images)
	s.Conditions = nodeConditions(in, s.Conditions)
}

func nodeAddresses(in nodeInput) []corev1.NodeAddress {
	if len(in.cloud.Addresses) > 0 {
		return in.cloud.Addresses
	}
	ips := in.config.NodeIP
	if len(ips) == 0 {
		ips = in.facts.Addresses
		if len(ips) > 1 {
			ips = ips[:1]
		}
	}
	var out []corev1.NodeAddress
	for _, ip := range ips {
		out = append(out, corev1.NodeAddress{Type: corev1.NodeInternalIP, Address: ip})
	}
	return append(out, corev1.NodeAddress{Type: corev1.NodeHostName, Address: or(in.config.HostnameOverride, in.name)})
}

func capacity(in nodeInput) corev1.ResourceList {
	out := corev1.ResourceList{
		corev1.ResourceCPU:    *resource.NewQuantity(int64(in.facts.CPUs), resource.DecimalSI),
		corev1.ResourceMemory: *resource.NewQuantity(in.facts.Memory, resource.BinarySI),
		corev1.ResourcePods:   *resource.NewQuantity(int64(in.config.MaxPods), resource.DecimalSI),
	}
	if in.facts.Disk > 0 {
		out[corev1.ResourceEphemeralStorage] = *resource.NewQuantity(in.facts.Disk, resource.BinarySI)
	}
	return out
}

// nodeImages lists the largest images, as the scheduler's image locality wants
// them.
func nodeImages(images []runtime.Image) []corev1.ContainerImage {
	sorted := slices.Clone(images)
	sort.SliceStable(sorted, func(i, j int) bool {
		if sorted[i].SizeBytes != sorted[j].SizeBytes {
			return sorted[i].SizeBytes > sorted[j].SizeBytes
		}
		return sorted[i].ID < sorted[j].ID
	})
	var out []corev1.ContainerImage
	for _, i := range sorted {
		names := append(slices.Clone(i.RepoDigests), i.RepoTags...)
		if len(names) == 0 || len(out) == maxImages {
			continue
		}
		out = append(out, corev1.ContainerImage{Names: names[:min(len(names), maxImageNames)], SizeBytes: i.SizeBytes})
	}
	return out
}

func nodeConditions(in nodeInput, old []corev1.NodeCondition) []corev1.NodeCondition {
	ready := corev1.NodeCondition{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady", Message: "kubelet is posting ready status"}
	if len(in.notReady) > 0 {
		ready.Status, ready.Reason, ready.Message = corev1.ConditionFalse, "KubeletNotReady", "["+strings.Join(in.notReady, ", ")+"]"
		if len(in.notReady) == 1 {
			ready.Message = in.notReady[0]
		}
	}
	own := []corev1.NodeCondition{
		{Type: corev1.NodeMemoryPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientMemory", Message: "kubelet has sufficient memory available"},
		{Type: corev1.NodeDiskPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasNoDiskPressure", Message: "kubelet has no disk pressure"},
		{Type: corev1.NodePIDPressure, Status: corev1.ConditionFalse, Reason: "KubeletHasSufficientPID", Message: "kubelet has sufficient PID available"},
		ready,
	}
	out := make([]corev1.NodeCondition, 0, len(own)+1)
	for _, c := range own {
		c.LastHeartbeatTime = metav1.NewTime(in.now)
		c.LastTransitionTime = c.LastHeartbeatTime
		for _, o := range old {
			if o.Type == c.Type && o.Status == c.Status {
				c.LastTransitionTime = o.LastTransitionTime
			}
		}
		out = append(out, c)
	}
	for _, o := range old {
		if !slices.ContainsFunc(own, func(c corev1.NodeCondition) bool { return c.Type == o.Type }) {
			out = append(out, o)
		}
	}
	return out
}

// nodeChanged says whether a node differs in more than the time of its heartbeat.
func nodeChanged(old, fresh *corev1.Node) bool {
	strip := func(n *corev1.Node) corev1.NodeStatus {
		s := *n.Status.DeepCopy()
		for i := range s.Conditions {
			s.Conditions[i].LastHeartbeatTime = metav1.Time{}
			s.Conditions[i].LastTransitionTime = metav1.Time{}
		}
		return s
	}
	return !equality.Semantic.DeepEqual(strip(old), strip(fresh))
}

package kubelet

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/strategicpatch"

	"github.com/strake-io/strake/kubelet/containerspec"
)

// unreadyPeriod is how often a node that is not ready looks at itself: pods wait
// for it.
const unreadyPeriod = time.Second

func nodeUID(name string) types.UID { return types.UID(name) }

// look gathers what the node's object is made from.
func (k *Kubelet) look(ctx context.Context) nodeInput {
	in := nodeInput{facts: k.cfg.Machine.Facts(), config: &k.cfg, name: k.cfg.HostnameOverride, now: time.Now()}
	if k.cfg.Cloud != nil {
		if c, err := k.cfg.Cloud.Node(ctx); err != nil {
			in.notReady = append(in.notReady, "cloud provider: "+err.Error())
		} else {
			in.cloud = c
			in.name = or(c.Name, in.name)
		}
	}
	if v, err := k.cfg.Runtime.Version(ctx); err == nil {
		in.version = v
		k.setRuntimeName(v.Name)
	} else {
		in.version.Name, in.version.Version = k.runtimeName(), "Unknown"
	}
	status, err := k.cfg.Runtime.Status(ctx)
	switch {
	case err != nil:
		in.notReady = append(in.notReady, "container runtime is down: "+err.Error())
	case !status.RuntimeReady:
		in.notReady = append(in.notReady, "container runtime status check may not have completed yet: "+status.RuntimeMessage)
	case !status.NetworkReady:
		in.notReady = append(in.notReady, "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:"+status.NetworkMessage)
	}
	if err := k.lastList(); err != nil {
		in.notReady = append(in.notReady, "PLEG is not healthy: "+err.Error())
	}
	in.images, _ = k.cfg.Runtime.ListImages(ctx)
	return in
}

// register creates the node, or brings one that is there up to date.
func (k *Kubelet) register(ctx context.Context) error {
	in := k.look(ctx)
	if in.name == "" {
		return fmt.Errorf("kubelet: the cloud names no node, and there is no host name")
	}
	nodes := k.cfg.Client.CoreV1().Nodes()
	node, err := nodes.Create(ctx, buildNode(in, nil), metav1.CreateOptions{})
	if apierrors.IsAlreadyExists(err) {
		if node, err = nodes.Get(ctx, in.name, metav1.GetOptions{}); err == nil {
			node, err = k.writeNode(ctx, in, node, true)
		}
	}
	if err == nil && len(node.Status.Conditions) == 0 {
		// A server may take no status from who creates.
		node, err = k.writeNode(ctx, in, node, true)
	}
	if err != nil {
		return fmt.Errorf("register node %s: %w", in.name, err)
	}
	k.setNode(node, in)
	return nil
}

// birthEvents tell that the node is there, and in which state.
func (k *Kubelet) birthEvents() {
	k.events.Event(k.nodeReference(), corev1.EventTypeNormal, "Starting", "Starting kubelet.")
	node := k.node.Load()
	states := []string{"NodeHasSufficientMemory", "NodeHasNoDiskPressure", "NodeHasSufficientPID"}
	if isReady(node) {
		states = append(states, "NodeReady")
	}
	for _, s := range states {
		k.events.Event(k.nodeReference(), corev1.EventTypeNormal, s, fmt.Sprintf("Node %s status is now: %s", node.Name, s))
	}
}

// writeNode patches labels and status of a node; force writes the status though
// only the time changed.
func (k *Kubelet) writeNode(ctx context.Context, in nodeInput, node *corev1.Node, force bool) (*corev1.Node, error) {
	fresh := buildNode(in, node)
	nodes := k.cfg.Client.CoreV1().Nodes()
	if !maps.Equal(fresh.Labels, node.Labels) || fresh.Spec.ProviderID != node.Spec.ProviderID {
		meta := map[string]any{"metadata": map[string]any{"labels": fresh.Labels}}
		if fresh.Spec.ProviderID != "" {
			meta["spec"] = map[string]any{"providerID": fresh.Spec.ProviderID}
		}
		patch, err := json.Marshal(meta)
		if err != nil {
			return nil, err
		}
		if node, err = nodes.Patch(ctx, node.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}); err != nil {
			return nil, err
		}
		fresh = buildNode(in, node)
	}
	if !force && !nodeChanged(node, fresh) {
		return node, nil
	}
	before, err := json.Marshal(corev1.Node{Status: node.Status})
	if err != nil {
		return nil, err
	}
	after, err := json.Marshal(corev1.Node{Status: fresh.Status})
	if err != nil {
		return nil, err
	}
	patch, err := strategicpatch.CreateTwoWayMergePatch(before, after, corev1.Node{})
	if err != nil {
		return nil, err
	}
	return nodes.Patch(ctx, node.Name, types.StrategicMergePatchType, patch, metav1.PatchOptions{}, "status")
}

// setNode takes a node that the API returned.
func (k *Kubelet) setNode(node *corev1.Node, in nodeInput) {
	facts := &containerspec.Node{Allocatable: node.Status.Allocatable, Memory: in.facts.Memory, ClusterDNS: k.cfg.ClusterDNS,
		ClusterDomain: k.cfg.ClusterDomain, HostDNS: k.hostDNS()}
	for _, a := range node.Status.Addresses {
		if a.Type == corev1.NodeInternalIP {
			facts.HostIPs = append(facts.HostIPs, a.Address)
		}
	}
	k.node.Store(node)
	k.facts.Store(facts)
}

// heartbeat renews the lease and reports the node's state until ctx ends.
func (k *Kubelet) heartbeat(ctx context.Context) {
	renew := k.cfg.LeaseDuration / 4
	lease, status := time.NewTimer(0), time.NewTimer(k.spread(min(k.cfg.NodeStatusUpdateFrequency, unreadyPeriod)))
	defer lease.Stop()
	defer status.Stop()
	var held *coordinationv1.Lease
	reported := time.Now()
	wait := 200 * time.Millisecond
	for {
		select {
		case <-ctx.Done():
			return
		case <-lease.C:
			attempt, cancel := context.WithTimeout(ctx, renew)
			got, err := k.renewLease(attempt, held)
			cancel()
			if err != nil {
				held = nil
				k.log.V(1).Info("lease not renewed", "err", err.Error())
				lease.Reset(wait)
				wait = min(2*wait, 7*time.Second, renew)
				continue
			}
			held, wait = got, 200*time.Millisecond
			lease.Reset(k.spread(renew))
		case <-status.C:
			next := k.cfg.NodeStatusUpdateFrequency
			if !isReady(k.node.Load()) {
				next = min(next, unreadyPeriod)
			}
			status.Reset(k.spread(next))
			attempt, cancel := context.WithTimeout(ctx, k.cfg.NodeStatusUpdateFrequency)
			force := time.Since(reported) >= k.cfg.NodeStatusReportFrequency
			wrote, err := k.updateNode(attempt, force)
			cancel()
			if err != nil {
				k.log.Info("node status not written", "err", err.Error())
				continue
			}
			if wrote {
				reported = time.Now()
			}
		case <-k.nodeChanged:
			// The runtime came up or went down: tell at once.
			status.Reset(0)
		}
	}
}

// updateNode writes the node's status where it changed, or if forced.
func (k *Kubelet) updateNode(ctx context.Context, force bool) (wrote bool, err error) {
	in := k.look(ctx)
	old := k.node.Load()
	if !force && !nodeChanged(old, buildNode(in, old)) {
		return false, nil
	}
	node, err := k.cfg.Client.CoreV1().Nodes().Get(ctx, old.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		// Somebody deleted it; a node that lives comes back.
		return true, k.register(ctx)
	}
	if err != nil {
		return false, err
	}
	before := isReady(old)
	if node, err = k.writeNode(ctx, in, node, true); err != nil {
		return false, err
	}
	k.setNode(node, in)
	if after := isReady(node); after != before {
		reason := "NodeNotReady"
		if after {
			reason = "NodeReady"
		}
		k.events.Event(k.nodeReference(), corev1.EventTypeNormal, reason, fmt.Sprintf("Node %s status is now: %s", node.Name, reason))
	}
	return true, nil
}

func isReady(node *corev1.Node) bool {
	for _, c := range node.Status.Conditions {
		if c.Type == corev1.NodeReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// renewLease writes the node's lease; held is what the last call returned.
func (k *Kubelet) renewLease(ctx context.Context, held *coordinationv1.Lease) (*coordinationv1.Lease, error) {
	leases := k.cfg.Client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	name := k.nodeName()
	now := metav1.NewMicroTime(time.Now())
	if held == nil {
		got, err := leases.Get(ctx, name, metav1.GetOptions{})
		switch {
		case apierrors.IsNotFound(err):
			seconds := int32(k.cfg.LeaseDuration / time.Second)
			fresh := &coordinationv1.Lease{Spec: coordinationv1.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now}}
			fresh.Name, fresh.Namespace = name, corev1.NamespaceNodeLease
			if node := k.node.Load(); node != nil && node.UID != "" {
				fresh.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: name, UID: node.UID}}
			}
			return leases.Create(ctx, fresh, metav1.CreateOptions{})
		case err != nil:
			return nil, err
		}
		held = got
	}
	held = held.DeepCopy()
	seconds := int32(k.cfg.LeaseDuration / time.Second)
	held.Spec.HolderIdentity, held.Spec.LeaseDurationSeconds, held.Spec.RenewTime = &name, &seconds, &now
	if node := k.node.Load(); node != nil && node.UID != "" {
		held.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: name, UID: node.UID}}
	}
	return leases.Update(ctx, held, metav1.UpdateOptions{})
}

// spread adds up to a twentieth to a period, so that a fleet does not march in step.
func (k *Kubelet) spread(d time.Duration) time.Duration {
	if d < 20 {
		return d
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	return d + time.Duration(k.cfg.Rand.Int64N(int64(d/20)))
}

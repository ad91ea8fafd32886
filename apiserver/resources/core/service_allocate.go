package core

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	netutils "k8s.io/utils/net"

	"github.com/strake-io/strake/apiserver/allocator"
	"github.com/strake-io/strake/apiserver/resource"
)

// releaseTimeout bounds giving back, which happens after the request was
// answered and must not depend on its client staying.
const releaseTimeout = 10 * time.Second

// servicePools is what services take from: addresses and ports.
type servicePools struct {
	addresses []*allocator.Addresses
	ports     *allocator.Ports
}

// claim is what one write of a service took and what it will no longer need.
// What was taken is given back when the write fails, what is no longer needed
// when it succeeds. What a crash leaves is for the allocator's Repairer.
type claim struct {
	pools               *servicePools
	owner               allocator.Owner
	dryRun              bool
	tookIPs, leaveIPs   []netip.Addr
	tookPorts, leavePts []int32
}

// begin is the Strategy's Begin.
func (p *servicePools) begin(ctx context.Context, req resource.Request, obj, old runtime.Object) (func(written bool), error) {
	var s, was *corev1.Service
	if obj != nil {
		s = obj.(*corev1.Service)
	}
	if old != nil {
		was = old.(*corev1.Service)
	}
	c := &claim{pools: p, dryRun: req.DryRun}
	switch {
	case s != nil:
		c.owner = allocator.Owner{Namespace: s.Namespace, Name: s.Name}
	case was != nil:
		c.owner = allocator.Owner{Namespace: was.Namespace, Name: was.Name}
	}
	finish := func(written bool) { c.finish(context.WithoutCancel(ctx), written) }
	if s == nil {
		c.leaveIPs, c.leavePts = heldIPs(was), heldPorts(was)
		return finish, nil
	}
	err := c.takeAddresses(ctx, s, was)
	if err == nil {
		err = c.takePorts(ctx, s, was)
	}
	if err != nil {
		finish(false)
		return nil, err
	}
	return finish, nil
}

func heldIPs(s *corev1.Service) []netip.Addr {
	if s == nil {
		return nil
	}
	return allocator.ClusterIPs(s)
}

func heldPorts(s *corev1.Service) []int32 {
	if s == nil {
		return nil
	}
	return allocator.NodePorts(s)
}

func (c *claim) finish(ctx context.Context, written bool) {
	if c.dryRun {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, releaseTimeout)
	defer cancel()
	ips, ports := c.leaveIPs, c.leavePts
	if !written {
		ips, ports = c.tookIPs, c.tookPorts
	}
	// An error leaves the address or port taken; the Repairer frees it later.
	for _, ip := range ips {
		if len(c.pools.addresses) > 0 { // any will do, for a family that the cluster has no more, too
			_ = c.pools.addresses[0].Release(ctx, c.owner, ip)
		}
	}
	if c.pools.ports != nil && len(ports) > 0 {
		_ = c.pools.ports.Release(ctx, ports...)
	}
}

// takeAddresses gives the service its families and their addresses.
func (c *claim) takeAddresses(ctx context.Context, s, was *corev1.Service) error {
	held := heldIPs(was)
	if len(c.pools.addresses) == 0 || !needsClusterIP(s) {
		c.leaveIPs = held
		return nil
	}
	if headless(s) {
		c.leaveIPs = held
		return nil
	}
	for i, family := range s.Spec.IPFamilies {
		pool := c.pools.ofFamily(family)
		if i < len(s.Spec.ClusterIPs) {
			text := s.Spec.ClusterIPs[i]
			ip, err := netip.ParseAddr(netutils.ParseIPSloppy(text).String())
			if err == nil && slices.Contains(held, ip) {
				continue
			}
			if err == nil {
				err = pool.Allocate(ctx, c.owner, ip, c.dryRun)
			}
			if err != nil {
				return addressError(s, text, err)
			}
			c.tookIPs = append(c.tookIPs, ip)
			continue
		}
		ip, err := pool.AllocateNext(ctx, c.owner, c.dryRun)
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a serviceIP for Service %q: %w", s.Name, err))
		}
		c.tookIPs = append(c.tookIPs, ip)
		s.Spec.ClusterIPs = append(s.Spec.ClusterIPs, ip.String())
	}
	if len(s.Spec.ClusterIPs) > len(s.Spec.IPFamilies) {
		s.Spec.ClusterIPs = s.Spec.ClusterIPs[:len(s.Spec.IPFamilies)]
	}
	s.Spec.ClusterIP = s.Spec.ClusterIPs[0]
	kept := allocator.ClusterIPs(s)
	for _, ip := range held {
		if !slices.Contains(kept, ip) {
			c.leaveIPs = append(c.leaveIPs, ip)
		}
	}
	return nil
}

// addressError is the answer where a wanted address cannot be had.
func addressError(s *corev1.Service, ip string, err error) error {
	if !errors.Is(err, allocator.ErrAddressTaken) && !errors.Is(err, allocator.ErrOtherNetwork) {
		return apierrors.NewInternalError(fmt.Errorf("failed to allocate IP %v: %w", ip, err))
	}
	return apierrors.NewInvalid(gvk("Service").GroupKind(), s.Name, field.ErrorList{
		field.Invalid(field.NewPath("spec", "clusterIPs"), slices.Clone(s.Spec.ClusterIPs), fmt.Sprintf("failed to allocate IP %v: %v", ip, err)),
	})
}

func (p *servicePools) families() []corev1.IPFamily {
	out := make([]corev1.IPFamily, len(p.addresses))
	for i, pool := range p.addresses {
		out[i] = pool.Family()
	}
	return out
}

func (p *servicePools) ofFamily(f corev1.IPFamily) *allocator.Addresses {
	for _, pool := range p.addresses {
		if pool.Family() == f {
			return pool
		}
	}
	return nil
}

// takePorts gives the service its node ports. One number serves all protocols of
// one service port.
func (c *claim) takePorts(ctx context.Context, s, was *corev1.Service) error {
	held := heldPorts(was)
	if c.pools.ports == nil {
		return nil
	}
	wanted := map[int32]bool{}
	if needsNodePort(s) {
		if err := c.portsOf(ctx, s, held, wanted); err != nil {
			return err
		}
	}
	for _, port := range held {
		if !wanted[port] {
			c.leavePts = append(c.leavePts, port)
		}
	}
	return nil
}

func (c *claim) portsOf(ctx context.Context, s *corev1.Service, held []int32, wanted map[int32]bool) error {
	path := field.NewPath("spec", "ports")
	// The ports asked for come first, so that no free choice takes one of them.
	for i, p := range s.Spec.Ports {
		if p.NodePort == 0 || wanted[p.NodePort] {
			continue
		}
		wanted[p.NodePort] = true
		if err := c.takePort(ctx, p.NodePort, held); err != nil {
			return portError(s, p.NodePort, path.Index(i).Child("nodePort"), err)
		}
	}
	if needsHealthCheckPort(s) && s.Spec.HealthCheckNodePort != 0 {
		port := s.Spec.HealthCheckNodePort
		wanted[port] = true
		if err := c.takePort(ctx, port, held); err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate requested HealthCheck NodePort %v: %w", port, err))
		}
	}
	automatic := getsNodePort(s)
	for i := range s.Spec.Ports {
		p := &s.Spec.Ports[i]
		if p.NodePort != 0 || !automatic {
			continue
		}
		if p.NodePort = sibling(s.Spec.Ports, i); p.NodePort != 0 {
			continue
		}
		port, err := c.nextPort(ctx, wanted)
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a nodePort: %w", err))
		}
		p.NodePort = port
	}
	if needsHealthCheckPort(s) && s.Spec.HealthCheckNodePort == 0 {
		port, err := c.nextPort(ctx, wanted)
		if err != nil {
			return apierrors.NewInternalError(fmt.Errorf("failed to allocate a HealthCheck NodePort 0: %w", err))
		}
		s.Spec.HealthCheckNodePort = port
	}
	return nil
}

// sibling is the node port of the same service port under another protocol, if
// that protocol does not have it yet.
func sibling(ports []corev1.ServicePort, i int) int32 {
	for j, p := range ports {
		if j == i || p.Port != ports[i].Port || p.Protocol == ports[i].Protocol || p.NodePort == 0 {
			continue
		}
		taken := slices.ContainsFunc(ports, func(q corev1.ServicePort) bool {
			return q.NodePort == p.NodePort && q.Protocol == ports[i].Protocol
		})
		if !taken {
			return p.NodePort
		}
	}
	return 0
}

func (c *claim) takePort(ctx context.Context, port int32, held []int32) error {
	if slices.Contains(held, port) {
		return nil
	}
	if err := c.pools.ports.Allocate(ctx, c.dryRun, port); err != nil {
		return err
	}
	c.tookPorts = append(c.tookPorts, port)
	return nil
}

// portError is the answer where a wanted node port cannot be had.
func portError(s *corev1.Service, port int32, path *field.Path, err error) error {
	var refused *allocator.PortError
	if !errors.As(err, &refused) {
		return apierrors.NewInternalError(err)
	}
	return apierrors.NewInvalid(gvk("Service").GroupKind(), s.Name, field.ErrorList{field.Invalid(path, port, err.Error())})
}

func (c *claim) nextPort(ctx context.Context, wanted map[int32]bool) (int32, error) {
	port, err := c.pools.ports.AllocateNext(ctx, c.dryRun, func(port int32) bool { return !wanted[port] })
	if err != nil {
		return 0, err
	}
	wanted[port] = true
	c.tookPorts = append(c.tookPorts, port)
	return port, nil
}

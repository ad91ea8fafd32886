// Package resourcequota is the admission plugin that charges what is created to the
// ResourceQuotas of its namespace, and refuses what they have no room for. It is the
// last one: what others refuse is not charged. The charge is a conditional write of
// the quota's status, so that what many create at once never exceeds it; what is
// charged and not created after all, the resource quota controller corrects.
package resourcequota

import (
	"context"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	limited "k8s.io/apiserver/pkg/admission/plugin/resourcequota/apis/resourcequota/v1"

	"github.com/strake-io/strake/apiserver/admission"
	"github.com/strake-io/strake/apiserver/resource"
	"github.com/strake-io/strake/internal/quota"
)

var quotas = corev1.Resource("resourcequotas")

// Plugin implements admission.Validator.
type Plugin struct {
	// turns lets those who charge the same quota wait for each other here, not in
	// lost writes.
	turns   [64]sync.Mutex
	seed    maphash.Seed
	limited []limited.LimitedResource
}

// New makes the plugin. limited are the resources that nobody may consume without a
// quota for them.
func New(limited []limited.LimitedResource) *Plugin {
	return &Plugin{seed: maphash.MakeSeed(), limited: limited}
}

// Name implements admission.Plugin.
func (*Plugin) Name() string { return "ResourceQuota" }

// charge is what a write adds to what a quota counts.
type charge struct {
	name string
	more corev1.ResourceList
}

// Validate implements admission.Validator.
func (p *Plugin) Validate(ctx context.Context, a *admission.Attributes) error {
	of := a.Resource.GroupResource()
	if a.Namespace == "" || of == corev1.Resource("namespaces") || !charged(a, of) {
		return nil
	}
	all, err := a.Objects.List(ctx, quotas, a.Namespace)
	if err != nil || len(all) == 0 && len(p.limited) == 0 {
		return err
	}
	charges, err := p.assess(a, of, all)
	if err != nil || len(charges) == 0 || a.DryRun {
		return err
	}
	turn := &p.turns[maphash.String(p.seed, a.Namespace)%uint64(len(p.turns))]
	turn.Lock()
	defer turn.Unlock()
	for i, c := range charges {
		if err := pay(ctx, a, c); err != nil {
			for _, paid := range charges[:i] {
				giveBack(ctx, a, paid)
			}
			return err
		}
	}
	keep(a, charges)
	return nil
}

// paid is the key under which the plugin keeps what earlier tries of a write were
// charged, by quota.
type paid struct{}

func keep(a *admission.Attributes, charges []charge) {
	if a.Kept == nil {
		return
	}
	all := map[string]corev1.ResourceList{}
	before, _ := a.Kept.Get(paid{}).(map[string]corev1.ResourceList)
	maps.Copy(all, before)
	for _, c := range charges {
		all[c.name] = quota.Add(all[c.name], c.more)
	}
	a.Kept.Put(paid{}, all)
}

// charged says whether a write changes what an object counts for.
func charged(a *admission.Attributes, of schema.GroupResource) bool {
	creates, updates := a.Operation == admission.Create, a.Operation == admission.Update
	if quota.Ignored(of) {
		return false
	}
	if of == quota.Claims && a.Subresource == "status" {
		return updates && quota.StatusCounts(a.Object, a.Old)
	}
	switch of {
	case quota.Pods:
		if a.Subresource == "resize" {
			return updates
		}
		return a.Subresource == "" && (creates || updates && quota.Rescoped(a.Object, a.Old))
	case quota.Services, quota.Claims, quota.Devices:
		return a.Subresource == "" && (creates || updates)
	}
	return a.Subresource == "" && creates
}

// assess is what a write would be charged with, or why it may not be.
func (p *Plugin) assess(a *admission.Attributes, of schema.GroupResource, all []runtime.Object) ([]charge, error) {
	now := time.Now()
	usage, was := quota.Usage(of, a.Object, now), corev1.ResourceList(nil)
	if a.Operation == admission.Update {
		was = quota.Usage(of, a.Old, now)
	}
	before, _ := a.Kept.Get(paid{}).(map[string]corev1.ResourceList)
	var charges []charge
	var full []error
	quotas := make([]*corev1.ResourceQuota, 0, len(all))
	for _, obj := range all {
		q, ok := obj.(*corev1.ResourceQuota)
		if !ok {
			continue
		}
		quotas = append(quotas, q)
		if !quota.Covers(q, q.Status.Hard, of, a.Object) {
			continue
		}
		names := quota.Names(of, q.Status.Hard)
		if err := quota.Unsaid(a.Object, names); err != nil {
			return nil, a.Forbidden(fmt.Errorf("failed quota: %s: %w", q.Name, err))
		}
		if slices.ContainsFunc(names, func(name corev1.ResourceName) bool { _, known := q.Status.Used[name]; return !known }) {
			return nil, a.Forbidden(fmt.Errorf("status unknown for quota: %s, resources: %s", q.Name, join(names)))
		}
		more := usage
		if was != nil && quota.Covers(q, q.Status.Hard, of, a.Old) {
			more = quota.More(usage, was)
		}
		// What an earlier try of this write was charged, this one is not.
		c := charge{q.Name, quota.More(quota.Only(more, names), before[q.Name])}
		if len(c.more) == 0 {
			continue
		}
		charges = append(charges, c)
		if err := fits(a, q, c); err != nil {
			full = append(full, err)
		}
	}
	if negative := quota.Negative(usage); len(negative) > 0 {
		return nil, a.Forbidden(fmt.Errorf("quota usage is negative for resource(s): %s", join(negative)))
	}
	if len(p.limited) > 0 && len(quota.More(usage, was)) > 0 {
		names, scopes := quota.Uncovered(p.limited, quotas, of, a.Object, usage)
		if len(names) > 0 {
			return nil, a.Forbidden(fmt.Errorf("insufficient quota to consume: %s", join(names)))
		}
		if len(scopes) > 0 {
			return nil, fmt.Errorf("insufficient quota to match these scopes: %v", scopes)
		}
	}
	if len(full) > 0 {
		return nil, full[0]
	}
	return charges, nil
}

func fits(a *admission.Attributes, q *corev1.ResourceQuota, c charge) error {
	exceeded := quota.Exceeded(q.Status.Used, c.more, q.Status.Hard)
	// The status of a claim tells what is so already.
	if len(exceeded) == 0 || a.Subresource == "status" {
		return nil
	}
	return a.Forbidden(fmt.Errorf("exceeded quota: %s, requested: %s, used: %s, limited: %s", q.Name,
		show(quota.Only(c.more, exceeded)), show(quota.Only(q.Status.Used, exceeded)), show(quota.Only(q.Status.Hard, exceeded))))
}

// pay adds a charge to a quota as it is by now.
func pay(ctx context.Context, a *admission.Attributes, c charge) error {
	err := change(ctx, a, c.name, func(q *corev1.ResourceQuota) error {
		if err := fits(a, q, c); err != nil {
			return err
		}
		q.Status.Used = quota.Add(q.Status.Used, quota.Only(c.more, slices.Collect(maps.Keys(q.Status.Hard))))
		return nil
	})
	if apierrors.IsNotFound(err) {
		return nil // the quota has gone meanwhile
	}
	return err
}

// giveBack takes a charge back. Where that fails, the controller does it.
func giveBack(ctx context.Context, a *admission.Attributes, c charge) {
	_ = change(context.WithoutCancel(ctx), a, c.name, func(q *corev1.ResourceQuota) error {
		for name, quantity := range c.more {
			if used, has := q.Status.Used[name]; has {
				used = used.DeepCopy()
				used.Sub(quantity)
				q.Status.Used[name] = used
			}
		}
		return nil
	})
}

func change(ctx context.Context, a *admission.Attributes, name string, do func(*corev1.ResourceQuota) error) error {
	req := resource.Request{User: a.User, Verb: "update", Namespace: a.Namespace, Name: name, Subresource: "status"}
	_, err := a.Objects.Update(ctx, req, quotas, a.Namespace, name, func(obj runtime.Object) error {
		q, ok := obj.(*corev1.ResourceQuota)
		if !ok {
			return fmt.Errorf("%T is no quota", obj)
		}
		return do(q)
	})
	return err
}

func show(list corev1.ResourceList) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(list)) {
		quantity := list[name]
		parts = append(parts, string(name)+"="+quantity.String())
	}
	return strings.Join(parts, ",")
}

func join(names []corev1.ResourceName) string {
	parts := make([]string, len(names))
	for i, name := range names {
		parts[i] = string(name)
	}
	return strings.Join(parts, ",")
}

package dynamicresource

import resourcev1 "k8s.io/api/resource/v1"

// Fields of features that are off in a v1.37 server unless someone turns them on. They
// are dropped from what is written, unless the object has them already: then it was
// written by a server with other gates, and changes that have nothing to do with them
// must not lose them.

// dropFromSpec drops what belongs to derived attributes (KEP-6080) from a claim.
func dropFromSpec(spec, old *resourcev1.ResourceClaimSpec) {
	if old != nil && derives(old) {
		return
	}
	for i := range spec.Devices.Requests {
		r := &spec.Devices.Requests[i]
		if r.Exactly != nil {
			r.Exactly.DerivedAttributes = nil
		}
		for j := range r.FirstAvailable {
			r.FirstAvailable[j].DerivedAttributes = nil
		}
	}
}

func derives(spec *resourcev1.ResourceClaimSpec) bool {
	for _, r := range spec.Devices.Requests {
		if r.Exactly != nil && len(r.Exactly.DerivedAttributes) > 0 {
			return true
		}
		for _, sub := range r.FirstAvailable {
			if len(sub.DerivedAttributes) > 0 {
				return true
			}
		}
	}
	return false
}

// dropFromStatus drops the operations that nodes may skip (KEP-5945) from an
// allocation.
func dropFromStatus(status, old *resourcev1.ResourceClaimStatus) {
	if status.Allocation == nil || old.Allocation != nil {
		return // an allocation that is there does not change
	}
	for i := range status.Allocation.Devices.Results {
		status.Allocation.Devices.Results[i].SkipNodeOperations = nil
	}
}

// dropFromSlice drops partition types, operations that nodes may skip, lists as
// attributes, compatibility groups (KEP-5963) and resources of the node itself
// (KEP-5517) from a slice.
func dropFromSlice(spec, old *resourcev1.ResourceSliceSpec) {
	var had sliceUse
	if old != nil {
		had = useOf(old)
	}
	if !had.partitionType {
		spec.PartitionTypeAttribute = nil
	}
	if !had.skip {
		spec.SkipNodeOperations = nil
	}
	for i := range spec.Devices {
		d := &spec.Devices[i]
		if !had.nodeResources {
			d.NodeAllocatableResources = nil
		}
		for j := range d.ConsumesCounters {
			if !had.groups {
				d.ConsumesCounters[j].CompatibilityGroups = nil
			}
		}
		for name, a := range d.Attributes {
			if !had.lists && isList(a) {
				a.IntValues, a.BoolValues, a.StringValues, a.VersionValues = nil, nil, nil, nil
				d.Attributes[name] = a
			}
		}
	}
}

// sliceUse is what of the disabled features a slice uses.
type sliceUse struct{ partitionType, skip, nodeResources, groups, lists bool }

func useOf(spec *resourcev1.ResourceSliceSpec) sliceUse {
	use := sliceUse{partitionType: spec.PartitionTypeAttribute != nil, skip: len(spec.SkipNodeOperations) > 0}
	for _, d := range spec.Devices {
		use.nodeResources = use.nodeResources || len(d.NodeAllocatableResources) > 0
		for _, c := range d.ConsumesCounters {
			use.groups = use.groups || len(c.CompatibilityGroups) > 0
		}
		for _, a := range d.Attributes {
			use.lists = use.lists || isList(a)
		}
	}
	return use
}

func isList(a resourcev1.DeviceAttribute) bool {
	return a.IntValues != nil || a.BoolValues != nil || a.StringValues != nil || a.VersionValues != nil
}

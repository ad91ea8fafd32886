package dynamicresource

import (
	"slices"

	resourcev1 "k8s.io/api/resource/v1"
	apiequality "k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/validate"
	unversioned "k8s.io/apimachinery/pkg/apis/meta/v1/validation"
	"k8s.io/apimachinery/pkg/util/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resources/podspec"
	"github.com/strake-io/strake/apiserver/resources/rules"
)

// device names one device, or one share of one.
type device struct{ driver, pool, name, share string }

// shown is a device as errors show it.
func (d device) shown() any {
	return rules.Internal(struct{ Driver, Pool, Device, ShareID string }{d.driver, d.pool, d.name, d.share})
}

func allocated(a *resourcev1.AllocationResult) map[device]bool {
	devices := map[device]bool{}
	if a != nil {
		for _, r := range a.Devices.Results {
			devices[device{r.Driver, r.Pool, r.Device, string(ptr.Deref(r.ShareID, ""))}] = true
		}
	}
	return devices
}

func reported(s resourcev1.AllocatedDeviceStatus) device {
	return device{s.Driver, s.Pool, s.Device, ptr.Deref(s.ShareID, "")}
}

// forgetDeallocated removes the status of devices that the claim had and has no more.
func forgetDeallocated(status, old *resourcev1.ResourceClaimStatus) {
	has, had := allocated(status.Allocation), allocated(old.Allocation)
	status.Devices = slices.DeleteFunc(status.Devices, func(s resourcev1.AllocatedDeviceStatus) bool {
		return had[reported(s)] && !has[reported(s)]
	})
	if len(status.Devices) == 0 {
		status.Devices = nil
	}
}

func validateClaimStatus(c, old *resourcev1.ResourceClaim) field.ErrorList {
	path, status, was := field.NewPath("status"), &c.Status, &old.Status
	reserved := path.Child("reservedFor")
	errs := set(status.ReservedFor, resourcev1.ResourceClaimReservedForMaxSize,
		func(r resourcev1.ResourceClaimConsumerReference) string { return string(r.UID) }, whole, validateConsumer, reserved)
	devices := allocated(status.Allocation)
	errs = append(errs, set(status.Devices, len(status.Devices), reported, whole, func(s resourcev1.AllocatedDeviceStatus, at *field.Path) field.ErrorList {
		return validateDeviceStatus(&s, devices, at)
	}, path.Child("devices"))...)

	switch {
	case len(status.ReservedFor) > 0 && status.Allocation == nil:
		errs = append(errs, field.Forbidden(reserved, "may not be specified when `allocated` is not set"))
	case c.DeletionTimestamp != nil && slices.ContainsFunc(status.ReservedFor, func(r resourcev1.ResourceClaimConsumerReference) bool {
		return !slices.Contains(was.ReservedFor, r)
	}):
		errs = append(errs, field.Forbidden(reserved, "new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set"))
	}

	at := path.Child("allocation")
	switch {
	case status.Allocation == nil:
	case was.Allocation == nil:
		errs = append(errs, validateAllocation(status.Allocation, namesOf(&c.Spec.Devices), at)...)
	case !apiequality.Semantic.DeepEqual(status.Allocation, was.Allocation):
		errs = append(errs, field.Invalid(at, nil, "field cannot be modified once set"))
	}
	return errs
}

func validateConsumer(r resourcev1.ResourceClaimConsumerReference, path *field.Path) field.ErrorList {
	var errs field.ErrorList
	for _, one := range []struct{ name, value string }{{"resource", r.Resource}, {"name", r.Name}, {"uid", string(r.UID)}} {
		if one.value == "" {
			errs = append(errs, field.Required(path.Child(one.name), ""))
		}
	}
	return errs
}

func validateAllocation(a *resourcev1.AllocationResult, names requestNames, path *field.Path) field.ErrorList {
	at := path.Child("devices")
	errs := list(a.Devices.Results, resourcev1.AllocationResultsMaxSize, func(r resourcev1.DeviceRequestAllocationResult, at *field.Path) field.ErrorList {
		return validateResult(&r, names, at)
	}, at.Child("results"))
	// As many as a class and a claim may have together.
	errs = append(errs, list(a.Devices.Config, 2*resourcev1.DeviceConfigMaxSize, func(c resourcev1.DeviceAllocationConfiguration, at *field.Path) field.ErrorList {
		errs := rules.Enum(c.Source, at.Child("source"), resourcev1.AllocationConfigSourceClaim, resourcev1.AllocationConfigSourceClass)
		errs = append(errs, names.references(c.Requests, at.Child("requests"))...)
		return append(errs, configuration(c.DeviceConfiguration, false, at)...)
	}, at.Child("config"))...)
	if a.NodeSelector != nil {
		errs = append(errs, podspec.ValidateNodeSelector(a.NodeSelector, path.Child("nodeSelector"))...)
	}
	return errs
}

func validateResult(r *resourcev1.DeviceRequestAllocationResult, names requestNames, path *field.Path) field.ErrorList {
	errs := names.reference(r.Request, path.Child("request"))
	errs = append(errs, rules.Driver(r.Driver, path.Child("driver"))...)
	errs = append(errs, required(r.Pool, validate.ResourcePoolName, path.Child("pool"))...)
	errs = append(errs, rules.Label(r.Device, path.Child("device"))...)
	errs = append(errs, bindingConditions(r.BindingConditions, r.BindingFailureConditions, path)...)
	errs = append(errs, list(r.Tolerations, resourcev1.DeviceTolerationsMaxLength, toleration, path.Child("tolerations"))...)
	if r.ShareID != nil {
		errs = append(errs, is(*r.ShareID, validate.UUID, path.Child("shareID"))...)
	}
	return errs
}

func validateDeviceStatus(s *resourcev1.AllocatedDeviceStatus, devices map[device]bool, path *field.Path) field.ErrorList {
	errs := driverName(s.Driver, path.Child("driver"))
	errs = append(errs, poolName(s.Pool, path.Child("pool"))...)
	errs = append(errs, rules.Label(s.Device, path.Child("device"))...)
	if s.ShareID != nil {
		errs = append(errs, is(*s.ShareID, validate.UUID, path.Child("shareID"))...)
	}
	if id := reported(*s); !devices[id] {
		errs = append(errs, field.Invalid(path, id.shown(), "must be an allocated device in the claim"))
	}
	conditions := path.Child("conditions")
	if n := len(s.Conditions); n > resourcev1.AllocatedDeviceStatusMaxConditions {
		errs = append(errs, field.TooMany(conditions, n, resourcev1.AllocatedDeviceStatusMaxConditions))
	}
	errs = append(errs, unversioned.ValidateConditions(s.Conditions, conditions)...)
	if s.Data != nil && len(s.Data.Raw) > 0 {
		errs = append(errs, rawObject(*s.Data, false, resourcev1.AllocatedDeviceStatusDataMaxLength, path.Child("data"))...)
	}
	return append(errs, validateNetworkData(s.NetworkData, path.Child("networkData"))...)
}

func validateNetworkData(n *resourcev1.NetworkDeviceData, path *field.Path) field.ErrorList {
	if n == nil {
		return nil
	}
	var errs field.ErrorList
	for _, one := range []struct {
		name, value string
		most        int
	}{
		{"interfaceName", n.InterfaceName, resourcev1.NetworkDeviceDataInterfaceNameMaxLength},
		{"hardwareAddress", n.HardwareAddress, resourcev1.NetworkDeviceDataHardwareAddressMaxLength},
	} {
		if len(one.value) > one.most {
			errs = append(errs, field.TooLong(path.Child(one.name), one.value, one.most))
		}
	}
	return append(errs, set(n.IPs, resourcev1.NetworkDeviceDataMaxIPs, itself, whole, func(address string, at *field.Path) field.ErrorList {
		return validation.IsValidInterfaceAddress(at, address)
	}, path.Child("ips"))...)
}

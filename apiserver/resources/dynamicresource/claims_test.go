package dynamicresource

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
)

func lines(errs field.ErrorList) []string {
	var out []string
	for _, e := range errs {
		out = append(out, e.Error())
	}
	return out
}

func claim() *resourcev1.ResourceClaim {
	c := &resourcev1.ResourceClaim{
		ObjectMeta: metav1.ObjectMeta{Name: "gpu", Namespace: "default"},
		Spec: resourcev1.ResourceClaimSpec{Devices: resourcev1.DeviceClaim{
			Requests: []resourcev1.DeviceRequest{
				{Name: "one", Exactly: &resourcev1.ExactDeviceRequest{
					DeviceClassName: "gpu.example.com",
					Selectors:       []resourcev1.DeviceSelector{{CEL: &resourcev1.CELDeviceSelector{Expression: `device.driver == "gpu.example.com"`}}},
					Tolerations:     []resourcev1.DeviceToleration{{Key: "a", Value: "b"}},
				}},
				{Name: "two", FirstAvailable: []resourcev1.DeviceSubRequest{{Name: "big", DeviceClassName: "gpu"}, {Name: "small", DeviceClassName: "gpu"}}},
			},
			Constraints: []resourcev1.DeviceConstraint{{
				Requests: []string{"one", "two/big"}, MatchAttribute: ptr.To(resourcev1.FullyQualifiedName("example.com/numa")),
			}},
		}},
	}
	defaultClaim(&c.Spec)
	return c
}

func TestClaimDefaults(t *testing.T) {
	c := claim()
	one := c.Spec.Devices.Requests[0].Exactly
	if one.AllocationMode != "ExactCount" || one.Count != 1 || one.Tolerations[0].Operator != "Equal" {
		t.Errorf("%+v", one)
	}
	if sub := c.Spec.Devices.Requests[1].FirstAvailable[1]; sub.AllocationMode != "ExactCount" || sub.Count != 1 {
		t.Errorf("%+v", sub)
	}
}

func TestValidateClaim(t *testing.T) {
	const reference = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'"
	exactly := func(c *resourcev1.DeviceClaim) *resourcev1.ExactDeviceRequest { return c.Requests[0].Exactly }
	for name, test := range map[string]struct {
		change func(*resourcev1.DeviceClaim)
		want   []string
	}{
		"right": {change: func(*resourcev1.DeviceClaim) {}},
		"nothing asked for": {change: func(c *resourcev1.DeviceClaim) { c.Requests[0].Exactly = nil }, want: []string{
			"spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
		}},
		"two ways": {change: func(c *resourcev1.DeviceClaim) { c.Requests[1].Exactly = exactly(c) }, want: []string{
			"spec.devices.requests[1]: Invalid value: null: exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set",
		}},
		"no class": {change: func(c *resourcev1.DeviceClaim) { exactly(c).DeviceClassName = "" }, want: []string{
			"spec.devices.requests[0].exactly.deviceClassName: Required value",
		}},
		"mode": {change: func(c *resourcev1.DeviceClaim) { exactly(c).AllocationMode = "Some" }, want: []string{
			`spec.devices.requests[0].exactly.allocationMode: Unsupported value: "Some": supported values: "All", "ExactCount"`,
		}},
		"all and a count": {change: func(c *resourcev1.DeviceClaim) { exactly(c).AllocationMode = "All" }, want: []string{
			`spec.devices.requests[0].exactly.count: Invalid value: 1: must not be specified when allocationMode is 'All'`,
		}},
		"below one": {change: func(c *resourcev1.DeviceClaim) { exactly(c).Count = -1 }, want: []string{
			`spec.devices.requests[0].exactly.count: Invalid value: -1: must be greater than zero`,
		}},
		"toleration": {change: func(c *resourcev1.DeviceClaim) {
			exactly(c).Tolerations = []resourcev1.DeviceToleration{{Operator: "Exists", Value: "x", Effect: "Never"}, {Operator: "Like"}}
		}, want: []string{
			"spec.devices.requests[0].exactly.tolerations[0].value: Invalid value: \"x\": must be empty for operator `Exists`",
			`spec.devices.requests[0].exactly.tolerations[0].effect: Unsupported value: "Never": supported values: "NoExecute", "NoSchedule", "None"`,
			`spec.devices.requests[0].exactly.tolerations[1].operator: Unsupported value: "Like": supported values: "Equal", "Exists"`,
		}},
		"expression that is none": {change: func(c *resourcev1.DeviceClaim) { exactly(c).Selectors[0].CEL.Expression = "noSuchVar" }, want: []string{
			"spec.devices.requests[0].exactly.selectors[0].cel.expression: Invalid value: \"noSuchVar\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'noSuchVar' (in container '')\n | noSuchVar\n | ^",
		}},
		"expression of another type": {change: func(c *resourcev1.DeviceClaim) { exactly(c).Selectors[0].CEL.Expression = `device.driver` }, want: []string{
			`spec.devices.requests[0].exactly.selectors[0].cel.expression: Invalid value: "device.driver": must evaluate to bool or the unknown type, not string`,
		}},
		"expression that is too long": {change: func(c *resourcev1.DeviceClaim) {
			exactly(c).Selectors[0].CEL.Expression = strings.Repeat("x", 10*1024+1)
		}, want: []string{
			`spec.devices.requests[0].exactly.selectors[0].cel.expression: Too long: may not be more than 10240 bytes`,
		}},
		"expression that costs too much": {change: func(c *resourcev1.DeviceClaim) {
			exactly(c).Selectors[0].CEL.Expression = `device.attributes["a"].all(x, device.attributes["b"].all(y, device.attributes["c"].all(z, device.attributes["d"].all(v, x == y && z == v))))`
		}, want: []string{
			`spec.devices.requests[0].exactly.selectors[0].cel.expression: Forbidden: too complex, exceeds cost limit`,
		}},
		"constraint": {change: func(c *resourcev1.DeviceClaim) { c.Constraints[0].MatchAttribute = nil }, want: []string{
			`spec.devices.constraints[0]: Required value: exactly one of "matchAttribute" or "distinctAttribute" is required, but multiple fields are set`,
		}},
		"attribute without a domain": {change: func(c *resourcev1.DeviceClaim) { *c.Constraints[0].MatchAttribute = "numa" }, want: []string{
			`spec.devices.constraints[0].matchAttribute: Invalid value: "numa": a fully qualified name must be a domain and a name separated by a slash`,
		}},
		"references": {change: func(c *resourcev1.DeviceClaim) {
			c.Constraints[0].Requests = []string{"three", "two/tiny", "a/b/c", "one", "one"}
		}, want: []string{
			`spec.devices.constraints[0].requests[0]: Invalid value: "three": ` + reference,
			`spec.devices.constraints[0].requests[1]: Invalid value: "two/tiny": ` + reference,
			`spec.devices.constraints[0].requests[2]: Invalid value: "a/b/c": ` + reference,
			`spec.devices.constraints[0].requests[4]: Duplicate value: "one"`,
		}},
		"configuration": {change: func(c *resourcev1.DeviceClaim) {
			c.Config = []resourcev1.DeviceClaimConfiguration{{}, {DeviceConfiguration: resourcev1.DeviceConfiguration{
				Opaque: &resourcev1.OpaqueDeviceConfiguration{Parameters: runtime.RawExtension{Raw: []byte(`[1]`)}},
			}}}
		}, want: []string{
			"spec.devices.config[0].opaque: Required value",
			"spec.devices.config[1].opaque.driver: Required value",
			`spec.devices.config[1].opaque.parameters: Invalid value: "<value omitted>": must be a valid JSON object`,
		}},
		"too many": {change: func(c *resourcev1.DeviceClaim) { c.Requests, c.Constraints = make([]resourcev1.DeviceRequest, 33), nil }, want: []string{
			"spec.devices.requests: Too many: 33: must have at most 32 items",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c := claim()
			test.change(&c.Spec.Devices)
			if diff := cmp.Diff(test.want, lines(validateClaim(&c.Spec.Devices, field.NewPath("spec", "devices")))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestClaimDoesNotChange(t *testing.T) {
	old, c := claim(), claim()
	c.Spec.Devices.Requests[0].Exactly.Count = 2
	if diff := cmp.Diff([]string{"spec: Invalid value: null: field is immutable"}, lines(resourceClaims().ValidateChange(c, old))); diff != "" {
		t.Error(diff)
	}
	if errs := resourceClaims().ValidateChange(old, old); errs != nil {
		t.Error(errs)
	}
}

func TestDerivedAttributesAreDropped(t *testing.T) {
	with := func() *resourcev1.ResourceClaim {
		c := claim()
		c.Spec.Devices.Requests[0].Exactly.DerivedAttributes = []resourcev1.DeviceDerivedAttribute{{Name: "a/b", Expression: "1"}}
		return c
	}
	c := with()
	resourceClaims().PrepareForCreate(resource.Request{}, c)
	if diff := cmp.Diff(claim(), c); diff != "" {
		t.Error(diff)
	}
	c = with()
	resourceClaims().PrepareForUpdate(resource.Request{}, c, with())
	if diff := cmp.Diff(with(), c); diff != "" {
		t.Errorf("those of another server are lost: %s", diff)
	}
}

func allocation() *resourcev1.AllocationResult {
	return &resourcev1.AllocationResult{Devices: resourcev1.DeviceAllocationResult{Results: []resourcev1.DeviceRequestAllocationResult{
		{Request: "one", Driver: "gpu.example.com", Pool: "node-1", Device: "gpu-0"},
	}}}
}

func TestValidateClaimStatus(t *testing.T) {
	user := resourcev1.ResourceClaimConsumerReference{Resource: "pods", Name: "p", UID: types.UID("u")}
	for name, test := range map[string]struct {
		change func(c, old *resourcev1.ResourceClaim)
		want   []string
	}{
		"allocated": {change: func(c, _ *resourcev1.ResourceClaim) {
			c.Status = resourcev1.ResourceClaimStatus{Allocation: allocation(), ReservedFor: []resourcev1.ResourceClaimConsumerReference{user}}
		}},
		"reserved without a device": {change: func(c, _ *resourcev1.ResourceClaim) {
			c.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{user, {}}
		}, want: []string{
			"status.reservedFor[1].resource: Required value",
			"status.reservedFor[1].name: Required value",
			"status.reservedFor[1].uid: Required value",
			"status.reservedFor: Forbidden: may not be specified when `allocated` is not set",
		}},
		"reserved on its way out": {change: func(c, old *resourcev1.ResourceClaim) {
			c.DeletionTimestamp = ptr.To(metav1.Now())
			old.Status.Allocation, c.Status.Allocation = allocation(), allocation()
			c.Status.ReservedFor = []resourcev1.ResourceClaimConsumerReference{user}
		}, want: []string{
			"status.reservedFor: Forbidden: new entries may not be added while `deallocationRequested` or `deletionTimestamp` are set",
		}},
		"another device": {change: func(c, old *resourcev1.ResourceClaim) {
			old.Status.Allocation, c.Status.Allocation = allocation(), allocation()
			c.Status.Allocation.Devices.Results[0].Device = "gpu-1"
		}, want: []string{"status.allocation: Invalid value: null: field cannot be modified once set"}},
		"result": {change: func(c, _ *resourcev1.ResourceClaim) {
			c.Status.Allocation = allocation()
			c.Status.Allocation.Devices.Results[0] = resourcev1.DeviceRequestAllocationResult{
				Request: "nine", Driver: "d", Pool: "p", Device: "D", ShareID: ptr.To(types.UID("x")), BindingConditions: []string{"a"},
			}
		}, want: []string{
			`status.allocation.devices.results[0].request: Invalid value: "nine": must be the name of a request in the claim or the name of a request and a subrequest separated by '/'`,
			`status.allocation.devices.results[0].device: Invalid value: "D": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
			`status.allocation.devices.results[0].bindingFailureConditions: Invalid value: null: bindingFailureConditions are required to use bindingConditions`,
			`status.allocation.devices.results[0].shareID: Invalid value: "x": must be a lowercase UUID in 8-4-4-4-12 format`,
		}},
		"device of someone else": {change: func(c, _ *resourcev1.ResourceClaim) {
			c.Status.Allocation = allocation()
			c.Status.Devices = []resourcev1.AllocatedDeviceStatus{
				{Driver: "gpu.example.com", Pool: "node-1", Device: "gpu-0", NetworkData: &resourcev1.NetworkDeviceData{IPs: []string{"10.0.0.1/8", "x"}}},
				{Driver: "gpu.example.com", Pool: "node-1", Device: "gpu-7"},
			}
		}, want: []string{
			`status.devices[0].networkData.ips[1]: Invalid value: "x": must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)`,
			`status.devices[1]: Invalid value: {"Driver":"gpu.example.com","Pool":"node-1","Device":"gpu-7","ShareID":""}: must be an allocated device in the claim`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			c, old := claim(), claim()
			test.change(c, old)
			if diff := cmp.Diff(test.want, lines(validateClaimStatus(c, old))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestDeallocatedDevicesAreForgotten(t *testing.T) {
	old, c := claim(), claim()
	old.Status.Allocation = allocation()
	c.Status.Devices = []resourcev1.AllocatedDeviceStatus{{Driver: "gpu.example.com", Pool: "node-1", Device: "gpu-0"}}
	forgetDeallocated(&c.Status, &old.Status)
	if c.Status.Devices != nil {
		t.Errorf("%+v", c.Status.Devices)
	}
}

func TestClaimState(t *testing.T) {
	for _, test := range []struct {
		deleted, allocated, reserved bool
		want                         string
	}{
		{want: "pending"}, {deleted: true, want: "deleted"}, {allocated: true, want: "allocated"},
		{allocated: true, reserved: true, want: "allocated,reserved"}, {allocated: true, deleted: true, want: "deleted,allocated"},
	} {
		c := claim()
		if test.deleted {
			c.DeletionTimestamp = ptr.To(metav1.Now())
		}
		if test.allocated {
			c.Status.Allocation = allocation()
		}
		if test.reserved {
			c.Status.ReservedFor = make([]resourcev1.ResourceClaimConsumerReference, 1)
		}
		if got := claimState(c); got != test.want {
			t.Errorf("%+v is %s", test, got)
		}
	}
	for _, r := range Resources() {
		if cells := r.Cells(r.New(), time.Now()); len(cells) != len(r.Columns) {
			t.Errorf("%s: %d columns for %d cells", r.Plural, len(r.Columns), len(cells))
		}
	}
	if got := fmt.Sprint(allocated(allocation())); got != "map[{gpu.example.com node-1 gpu-0 }:true]" {
		t.Error(got)
	}
}

package dynamicresource

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	resourcev1 "k8s.io/api/resource/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/utils/ptr"

	"github.com/strake-io/strake/apiserver/resource"
)

func slice() *resourcev1.ResourceSlice {
	return &resourcev1.ResourceSlice{
		ObjectMeta: metav1.ObjectMeta{Name: "node-1-gpus"},
		Spec: resourcev1.ResourceSliceSpec{
			Driver: "gpu.example.com", NodeName: ptr.To("node-1"), Pool: resourcev1.ResourcePool{Name: "node-1", ResourceSliceCount: 1},
			Devices: []resourcev1.Device{{
				Name:       "gpu-0",
				Attributes: map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{"model": {StringValue: ptr.To("x1")}, "example.com/rev": {VersionValue: ptr.To("1.2.3-a+b")}},
				Capacity:   map[resourcev1.QualifiedName]resourcev1.DeviceCapacity{"memory": {Value: apiresource.MustParse("80Gi")}},
			}},
		},
	}
}

func TestValidateSlice(t *testing.T) {
	const ways = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required"
	const deviceWays = "exactly one of `nodeName`, `nodeSelector`, or `allNodes` is required when `perDeviceNodeSelection` is set to true in the ResourceSlice spec"
	for name, test := range map[string]struct {
		change func(*resourcev1.ResourceSliceSpec)
		want   []string
	}{
		"right": {change: func(*resourcev1.ResourceSliceSpec) {}},
		"empty": {change: func(s *resourcev1.ResourceSliceSpec) {
			*s = resourcev1.ResourceSliceSpec{Pool: resourcev1.ResourcePool{Generation: -1}}
		}, want: []string{
			"spec.driver: Required value",
			"spec.pool.name: Required value",
			"spec.pool.resourceSliceCount: Invalid value: 0: must be greater than zero",
			"spec.pool.generation: Invalid value: -1: must be greater than or equal to zero",
			"spec: Required value: " + ways,
		}},
		"two ways": {change: func(s *resourcev1.ResourceSliceSpec) { s.AllNodes = ptr.To(true) }, want: []string{
			"spec: Invalid value: \"{`nodeName`, `allNodes`}\": " + ways + ", but multiple fields are set",
		}},
		"selector": {change: func(s *resourcev1.ResourceSliceSpec) { s.NodeName, s.NodeSelector = nil, &corev1.NodeSelector{} }, want: []string{
			"spec.nodeSelector.nodeSelectorTerms: Required value: must have at least one node selector term",
			"spec.nodeSelector.nodeSelectorTerms: Invalid value: null: must have exactly one node selector term",
		}},
		"false is no way": {change: func(s *resourcev1.ResourceSliceSpec) { s.AllNodes = ptr.To(false) }, want: []string{
			"spec.allNodes: Invalid value: false: must be either unset or set to true",
		}},
		"devices and counters": {change: func(s *resourcev1.ResourceSliceSpec) {
			s.SharedCounters = []resourcev1.CounterSet{{Name: "A"}, {Name: "b", Counters: map[string]resourcev1.Counter{"memory": {}}}}
		}, want: []string{
			"spec: Invalid value: \"\": only one of `sharedCounters` or `devices` is allowed",
			`spec.sharedCounters[0].name: Invalid value: "A": a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')`,
			"spec.sharedCounters[0].counters: Required value",
		}},
		"the same device twice": {change: func(s *resourcev1.ResourceSliceSpec) { s.Devices = append(s.Devices, s.Devices[0]) }, want: []string{
			`spec.devices[1]: Duplicate value: "gpu-0"`,
		}},
		"too many with taints": {change: func(s *resourcev1.ResourceSliceSpec) {
			s.Devices = make([]resourcev1.Device, 65)
			s.Devices[64].Taints = make([]resourcev1.DeviceTaint, 1)
		}, want: []string{"spec.devices: Too many: 65: must have at most 64 items"}},
		"attributes": {change: func(s *resourcev1.ResourceSliceSpec) {
			s.Devices[0].Attributes = map[resourcev1.QualifiedName]resourcev1.DeviceAttribute{
				"a/b/c": {BoolValue: ptr.To(true)}, "none": {}, "two": {IntValue: ptr.To(int64(1)), BoolValue: ptr.To(true)},
				"version": {VersionValue: ptr.To("1.2")}, "long": {StringValue: ptr.To(strings.Repeat("x", 65))}, "/x": {BoolValue: ptr.To(true)},
			}
		}, want: []string{
			`spec.devices[0].attributes: Invalid value: "": the domain must not be empty`,
			`spec.devices[0].attributes: Invalid value: "a/b/c": must not contain more than one slash`,
			`spec.devices[0].attributes[long].string: Too long: may not be more than 64 bytes`,
			"spec.devices[0].attributes[none]: Invalid value: \"\": must specify one of: `int`, `bool`, `string`, `version`, `ints`, `bools`, `strings`, `versions`",
			"spec.devices[0].attributes[two]: Invalid value: \"{int, bool}\": must specify exactly one of: `int`, `bool`, `string`, `version`, `ints`, `bools`, `strings`, `versions`",
			`spec.devices[0].attributes[version].version: Invalid value: "1.2": must be a string compatible with semver.org spec 2.0.0`,
		}},
		"taints": {change: func(s *resourcev1.ResourceSliceSpec) {
			s.Devices[0].Taints = []resourcev1.DeviceTaint{{Key: "a"}, {Key: "b", Effect: "PreferNoSchedule"}}
		}, want: []string{
			"spec.devices[0].taints[0].effect: Required value",
			`spec.devices[0].taints[1].effect: Unsupported value: "PreferNoSchedule": supported values: "NoExecute", "NoSchedule", "None"`,
		}},
		"a node for a device": {change: func(s *resourcev1.ResourceSliceSpec) { s.Devices[0].AllNodes = ptr.To(true) }, want: []string{
			"spec.devices[0]: Invalid value: null: `nodeName`, `nodeSelector` and `allNodes` can only be set if `perDeviceNodeSelection` is set to true in the ResourceSlice spec",
		}},
		"no node for a device": {change: func(s *resourcev1.ResourceSliceSpec) { s.NodeName, s.PerDeviceNodeSelection = nil, ptr.To(true) }, want: []string{
			"spec.devices[0]: Required value: " + deviceWays,
		}},
		"binding": {change: func(s *resourcev1.ResourceSliceSpec) {
			s.Devices[0].BindingConditions, s.Devices[0].BindingFailureConditions = []string{"a", "a"}, []string{"a"}
		}, want: []string{
			`spec.devices[0].bindingConditions[1]: Duplicate value: "a"`,
			`spec.devices[0].bindingFailureConditions[0]: Invalid value: "a": bindingFailureConditions must not overlap with bindingConditions`,
		}},
		"a part of a whole device": {change: func(s *resourcev1.ResourceSliceSpec) {
			s.Devices[0].Capacity = map[resourcev1.QualifiedName]resourcev1.DeviceCapacity{"memory": {RequestPolicy: &resourcev1.CapacityRequestPolicy{}}}
		}, want: []string{"spec.devices[0].capacity[memory].requestPolicy: Forbidden: allowMultipleAllocations must be true"}},
	} {
		t.Run(name, func(t *testing.T) {
			s := slice()
			test.change(&s.Spec)
			if diff := cmp.Diff(test.want, lines(validateSlice(&s.Spec, nil))); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSliceStaysWhereItIs(t *testing.T) {
	old, s := slice(), slice()
	s.Spec.Driver, s.Spec.NodeName, s.Spec.Pool.Name = "other.example.com", ptr.To("node-2"), "node-2"
	want := []string{
		`spec.pool.name: Invalid value: "node-2": field is immutable`, `spec.driver: Invalid value: "other.example.com": field is immutable`,
		`spec.nodeName: Invalid value: "node-2": field is immutable`,
	}
	if diff := cmp.Diff(want, lines(resourceSlices().ValidateChange(s, old))); diff != "" {
		t.Error(diff)
	}
}

func TestSharedCapacity(t *testing.T) {
	q := func(s string) *apiresource.Quantity { return ptr.To(apiresource.MustParse(s)) }
	for name, test := range map[string]struct {
		policy resourcev1.CapacityRequestPolicy
		want   []string
	}{
		"range":    {policy: resourcev1.CapacityRequestPolicy{Default: q("2"), ValidRange: &resourcev1.CapacityRequestPolicyRange{Min: q("1"), Max: q("9"), Step: q("1")}}},
		"fraction": {policy: resourcev1.CapacityRequestPolicy{Default: q("500m"), ValidRange: &resourcev1.CapacityRequestPolicyRange{Min: q("100m"), Step: q("200m")}}},
		"off the steps": {policy: resourcev1.CapacityRequestPolicy{Default: q("2"), ValidRange: &resourcev1.CapacityRequestPolicyRange{Min: q("1"), Max: q("4"), Step: q("2")}}, want: []string{
			`policy.requestPolicy.validRange.step: Invalid value: "2": value is not a multiple of a given step (2) from (1)`,
			`policy.requestPolicy.validRange.step: Invalid value: "4": value is not a multiple of a given step (2) from (1)`,
		}},
		"outside": {policy: resourcev1.CapacityRequestPolicy{Default: q("12"), ValidRange: &resourcev1.CapacityRequestPolicyRange{Min: q("11"), Max: q("10")}}, want: []string{
			`policy.requestPolicy.validRange.min: Invalid value: "11": min is larger than capacity value: 10`,
			`policy.requestPolicy.validRange.max: Invalid value: "11": min is larger than max: 10`,
			`policy.requestPolicy.validRange.default: Invalid value: "12": default is more than max: 10`,
		}},
		"a step of nothing": {policy: resourcev1.CapacityRequestPolicy{Default: q("1"), ValidRange: &resourcev1.CapacityRequestPolicyRange{Min: q("1"), Step: q("0")}}, want: []string{
			`policy.requestPolicy.validRange.step: Invalid value: "0": must be greater than zero`,
		}},
		"values": {policy: resourcev1.CapacityRequestPolicy{Default: q("3"), ValidValues: []apiresource.Quantity{*q("2"), *q("1"), *q("20"), *q("20")}}, want: []string{
			`policy.requestPolicy.validValues[1]: Invalid value: "1": values must be sorted in ascending order`,
			`policy.requestPolicy.validValues[2]: Invalid value: "20": option is larger than capacity value: 10`,
			`policy.requestPolicy.validValues[3]: Invalid value: "20": option is larger than capacity value: 10`,
			`policy.requestPolicy.validValues[3]: Duplicate value: "20"`,
			`policy.requestPolicy.validValues: Invalid value: "3": default value is not valid according to the requestPolicy`,
		}},
		"no default": {policy: resourcev1.CapacityRequestPolicy{ValidValues: []apiresource.Quantity{*q("2")}}, want: []string{
			"policy.requestPolicy.default: Required value: required when validValues is defined",
		}},
		"both": {policy: resourcev1.CapacityRequestPolicy{ValidValues: []apiresource.Quantity{*q("2")}, ValidRange: &resourcev1.CapacityRequestPolicyRange{}}, want: []string{
			`policy.requestPolicy: Forbidden: exactly one policy can be specified, cannot specify "validValues" and "validRange" at the same time`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			got := sharedCapacity(resourcev1.DeviceCapacity{Value: *q("10"), RequestPolicy: &test.policy}, field.NewPath("policy"))
			if diff := cmp.Diff(test.want, lines(got)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestSliceIsPrepared(t *testing.T) {
	s := slice()
	d := &s.Spec.Devices[0]
	d.Attributes["list"] = resourcev1.DeviceAttribute{IntValues: []int64{1}}
	d.Taints = []resourcev1.DeviceTaint{{Key: "a", Effect: "NoExecute"}}
	d.NodeAllocatableResources = map[corev1.ResourceName]resourcev1.NodeAllocatableResource{"cpu": {}}
	s.Spec.SkipNodeOperations, s.Spec.PartitionTypeAttribute = []resourcev1.SkipNodeOperation{"*"}, ptr.To(resourcev1.FullyQualifiedName("a/b"))
	foreign := s.DeepCopy()
	resourceSlices().PrepareForCreate(resource.Request{}, s)
	if useOf(&s.Spec) != (sliceUse{}) || d.Taints[0].TimeAdded == nil || s.Generation != 1 {
		t.Errorf("%+v", s)
	}
	// What another server let in stays.
	again := foreign.DeepCopy()
	resourceSlices().PrepareForUpdate(resource.Request{}, again, foreign)
	if useOf(&again.Spec) != useOf(&foreign.Spec) {
		t.Errorf("%+v", again.Spec)
	}
	if set := resourceSlices().SelectableFields(s); set["spec.nodeName"] != "node-1" || set["spec.driver"] != "gpu.example.com" || set["spec.pool.name"] != "node-1" {
		t.Error(set)
	}
	s.Spec.Driver = "GPU.example.com"
	want := []string{`spec.driver: driver names should be lowercase; "GPU.example.com" contains uppercase characters`}
	if diff := cmp.Diff(want, resourceSlices().Warnings(s, nil)); diff != "" {
		t.Error(diff)
	}
}

func TestValidateDeviceClassAndRule(t *testing.T) {
	class := &resourcev1.DeviceClassSpec{
		Selectors: []resourcev1.DeviceSelector{{}, {CEL: &resourcev1.CELDeviceSelector{Expression: "x"}}}, ExtendedResourceName: ptr.To("cpu"),
		Config: []resourcev1.DeviceClassConfiguration{{DeviceConfiguration: resourcev1.DeviceConfiguration{Opaque: &resourcev1.OpaqueDeviceConfiguration{
			Driver: "d", Parameters: runtime.RawExtension{Raw: []byte(`{}`)},
		}}}},
	}
	want := []string{
		"spec.selectors[0].cel: Required value",
		"spec.selectors[1].cel.expression: Invalid value: \"x\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'x' (in container '')\n | x\n | ^",
		`spec.extendedResourceName: Invalid value: "cpu": a name must be a domain-prefixed path, such as 'example.com/my-prop'`,
	}
	if diff := cmp.Diff(want, lines(validateDeviceClass(class, nil, field.NewPath("spec")))); diff != "" {
		t.Error(diff)
	}
	// An expression that is stored is not compiled again.
	class.Selectors = class.Selectors[1:]
	if diff := cmp.Diff(want[2:], lines(validateDeviceClass(class, class, field.NewPath("spec")))); diff != "" {
		t.Error(diff)
	}

	rules := deviceTaintRules()
	rule := &resourcev1.DeviceTaintRule{Spec: resourcev1.DeviceTaintRuleSpec{
		DeviceSelector: &resourcev1.DeviceTaintSelector{Driver: ptr.To(""), Device: ptr.To("gpu-0")}, Taint: resourcev1.DeviceTaint{Key: "a", Effect: "NoExecute"},
	}}
	rules.PrepareForCreate(resource.Request{}, rule)
	if rule.Spec.Taint.TimeAdded == nil || rule.Generation != 1 {
		t.Errorf("%+v", rule)
	}
	if diff := cmp.Diff([]string{"spec.deviceSelector.driver: Required value"}, lines(rules.Validate(rule))); diff != "" {
		t.Error(diff)
	}
	// Another effect begins now; another key does not.
	old := rule.DeepCopy()
	old.Spec.Taint.TimeAdded = &metav1.Time{}
	for effect, begins := range map[resourcev1.DeviceTaintEffect]bool{"NoExecute": false, "NoSchedule": true} {
		changed := old.DeepCopy()
		changed.Spec.Taint.Key, changed.Spec.Taint.Effect = "b", effect
		rules.PrepareForUpdate(resource.Request{}, changed, old)
		if changed.Generation != 2 || changed.Spec.Taint.TimeAdded.Equal(old.Spec.Taint.TimeAdded) == begins {
			t.Errorf("%s: %+v", effect, changed)
		}
	}
}

package core

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

// What a node agent may not report, in upstream's words.
func TestValidatePodStatus(t *testing.T) {
	const spec = `{nodeName: n, restartPolicy: OnFailure, containers: [{name: a}, {name: b, restartPolicy: Never, restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [3]}}]}]}`
	for _, test := range []struct {
		old, now string
		want     []string
	}{
		{`{}`, `{podIP: 1.2.3.4, podIPs: [{ip: 1.2.3.4}], hostIP: 1.2.3.5, hostIPs: [{ip: 1.2.3.5}]}`, nil},
		{`{}`, `{podIPs: [{ip: 1.2.3.4}]}`, []string{`status.podIPs: Invalid value: [{"IP":"1.2.3.4"}]: podIP and podIPs must either both be set or both be unset`}},
		{`{}`, `{podIP: 01.2.3.4, podIPs: [{ip: 01.2.3.4}]}`, []string{`status.podIPs[0]: Invalid value: "01.2.3.4": must not have leading 0s`}},
		{`{podIPs: [{ip: 01.2.3.4}]}`, `{podIP: 01.2.3.4, podIPs: [{ip: 01.2.3.4}]}`, nil},
		{`{}`, `{nominatedNodeName: m, observedGeneration: -1}`, []string{
			`status.nominatedNodeName: Forbidden: may not be set on pods that are already bound to a node`,
			`status.observedGeneration: Invalid value: -1: must be a non-negative integer`}},
		{`{containerStatuses: [{name: a, state: {terminated: {exitCode: 1}}}, {name: b, state: {terminated: {exitCode: 3}}}]}`, `{containerStatuses: [{name: a}, {name: b}]}`, nil},
		{`{containerStatuses: [{name: a, state: {terminated: {exitCode: 0}}}, {name: b, state: {terminated: {exitCode: 2}}}, {name: z, state: {terminated: {exitCode: 1}}}]}`,
			`{containerStatuses: [{name: a}, {name: b}, {name: z}]}`, []string{
				`status.containerStatuses[0].state: Forbidden: may not be transitioned to non-terminated state`,
				`status.containerStatuses[1].state: Forbidden: may not be transitioned to non-terminated state`,
				`status.containerStatuses[2].state: Forbidden: may not be transitioned to non-terminated state`}},
		{`{}`, `{containerStatuses: [{name: a, user: {linux: {uid: -1}}, allocatedResourcesStatus: [{name: x, resources: [{resourceID: r, health: Fine}]}]}]}`, []string{
			`status.containerStatuses[0].user.linux.uid: Invalid value: -1: must be between 0 and 4294967295, inclusive`,
			`status.containerStatuses[0].allocatedResourcesStatus[0].name: Invalid value: "x": must match one of the container's resource requests`,
			`status.containerStatuses[0].allocatedResourcesStatus[0].resources[0].health: Unsupported value: "Fine": supported values: "Healthy", "Unhealthy", "Unknown"`}},
	} {
		read := func(status string) *corev1.Pod {
			pod := &corev1.Pod{}
			if err := yaml.UnmarshalStrict([]byte("{spec: "+spec+", status: "+status+"}"), pod); err != nil {
				t.Fatal(status, err)
			}
			return pod
		}
		if diff := cmp.Diff(test.want, lines(validatePodStatus(read(test.now), read(test.old)))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.now, diff)
		}
	}
}

func TestNodeFeatures(t *testing.T) {
	node := &corev1.Node{Status: corev1.NodeStatus{DeclaredFeatures: []string{"B/c", "A", "A", "x"}}}
	want := []string{
		`status.declaredFeatures[1]: Invalid value: "A": list must be sorted alphabetically`,
		`status.declaredFeatures[2]: Duplicate value: "A"`,
		`status.declaredFeatures[3]: Invalid value: "x": invalid feature name "x": must start with an UpperCamelCase segment, with subsequent segments separated by '/' (e.g., MyFeature or MyFeature/mySubFeature), and contain only alphanumeric characters and slashes`,
	}
	if diff := cmp.Diff(want, lines(validateNode(node, nil))); diff != "" {
		t.Error(diff)
	}
}

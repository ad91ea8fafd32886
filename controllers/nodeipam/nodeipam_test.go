package nodeipam_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/controllers"
	"github.com/strake-io/strake/controllers/internal/fakeapi"
	"github.com/strake-io/strake/controllers/nodeipam"
)

func node(name string, cidrs ...string) *corev1.Node {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if len(cidrs) > 0 {
		n.Spec.PodCIDR, n.Spec.PodCIDRs = cidrs[0], cidrs
	}
	return n
}

func within(cidr string, mask int) nodeipam.Range {
	return nodeipam.Range{Cluster: netip.MustParsePrefix(cidr), Mask: mask}
}

func TestReconcile(t *testing.T) {
	leaving := node("b")
	leaving.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
	four, six := within("10.0.0.0/22", 24), within("fd00::/62", 64)
	for _, test := range []struct {
		name   string
		ranges []nodeipam.Range
		nodes  []*corev1.Node
		want   string
	}{
		{"each the lowest free one", []nodeipam.Range{four}, []*corev1.Node{node("a"), node("b", "10.0.0.0/24"), node("c")}, "a 10.0.1.0/24; c 10.0.2.0/24"},
		{"both families", []nodeipam.Range{four, six}, []*corev1.Node{node("a"), node("b")}, "a 10.0.0.0/24,fd00::/64; b 10.0.1.0/24,fd00:0:0:1::/64"},
		{"around ranges of another size", []nodeipam.Range{four}, []*corev1.Node{node("a", "10.0.0.0/23"), node("b", "10.0.2.128/25"), node("c")}, "c 10.0.3.0/24"},
		{"not to one that leaves", []nodeipam.Range{four}, []*corev1.Node{leaving, node("c")}, "c 10.0.0.0/24"},
		{"none is left", []nodeipam.Range{within("10.0.0.0/24", 24)}, []*corev1.Node{node("a"), node("b")}, "a 10.0.0.0/24; CIDRNotAvailable: Node b status is now: CIDRNotAvailable"},
		{"up to the end of the space", []nodeipam.Range{within("255.255.254.0/23", 24)}, []*corev1.Node{node("a"), node("b"), node("c")},
			"a 255.255.254.0/24; b 255.255.255.0/24; CIDRNotAvailable: Node c status is now: CIDRNotAvailable"},
		{"what is no range is nobody's", []nodeipam.Range{four}, []*corev1.Node{node("a", "nonsense"), node("b")}, "b 10.0.0.0/24"},
	} {
		plan := nodeipam.Reconcile(test.nodes, test.ranges)
		var got []string
		for _, step := range plan.Steps {
			for _, w := range step.Writes {
				var patch struct{ Spec corev1.NodeSpec }
				if err := json.Unmarshal(w.PatchData, &patch); err != nil {
					t.Fatal(err)
				}
				got = append(got, w.Object.GetName()+" "+strings.Join(patch.Spec.PodCIDRs, ","))
			}
		}
		for _, e := range plan.Events {
			got = append(got, e.Reason+": "+e.Message)
		}
		if got := strings.Join(got, "; "); got != test.want {
			t.Errorf("%s: %q, want %q", test.name, got, test.want)
		}
	}
}

func TestARangeGoesToWhoeverWaitsForIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		api := fakeapi.New(node("a"))
		fakeapi.Start(t, controllers.Config{Client: api.Client, Controllers: []controllers.Registration{
			nodeipam.New(nodeipam.Config{ClusterCIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}}),
		}})
		nodes := api.Client.CoreV1().Nodes()
		if _, err := nodes.Create(t.Context(), node("b"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		if err := nodes.Delete(t.Context(), "a", metav1.DeleteOptions{}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if b, err := nodes.Get(t.Context(), "b", metav1.GetOptions{}); err != nil || b.Spec.PodCIDR != "10.0.0.0/24" {
			t.Errorf("b has %q, %v", b.Spec.PodCIDR, err)
		}
	})
}

func TestConfigIsChecked(t *testing.T) {
	for _, cidrs := range []string{"", "10.0.0.0/25", "10.0.0.0/16 10.1.0.0/16", "10.0.0.0/16 fd00::/48 fd01::/48", "fd00::/80"} {
		var config nodeipam.Config
		for _, cidr := range strings.Fields(cidrs) {
			config.ClusterCIDRs = append(config.ClusterCIDRs, netip.MustParsePrefix(cidr))
		}
		_, err := controllers.New(controllers.Config{
			Client: fakeapi.New().Client, Controllers: []controllers.Registration{nodeipam.New(config)},
		})
		if err == nil || !strings.Contains(fmt.Sprint(err), "luster CIDR") {
			t.Errorf("%q: %v", cidrs, err)
		}
	}
}

package strake

import (
	"net"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/strake-io/strake/store/etcd"
)

// TestExternalEtcd runs a cluster on an etcd that it does not run itself, stops it,
// and finds everything again with a second cluster on the same etcd.
func TestExternalEtcd(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	member, err := etcd.New(etcd.Config{
		DataDir: filepath.Join(t.TempDir(), "etcd"), Listeners: []net.Listener{listener}, UnsafeNoFsync: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer background(t, member.Run, member.Ready())()

	config := func() Config {
		external, err := etcd.New(etcd.Config{Endpoints: []string{"http://" + listener.Addr().String()}})
		if err != nil {
			t.Fatal(err)
		}
		return Config{ControlPlane: ControlPlaneConfig{Store: external}, FakeNodes: 1}
	}
	_, stop := start(t, config())
	stop()
	first, stop := start(t, config())
	available(t, first.Client(), 2)
	stop()

	again, stop := start(t, config())
	defer stop()
	pods, err := again.Client().CoreV1().Pods("default").List(t.Context(), metav1.ListOptions{})
	if err != nil || len(pods.Items) != 2 {
		t.Errorf("after the restart: %d pods, %v; want 2", len(pods.Items), err)
	}
}

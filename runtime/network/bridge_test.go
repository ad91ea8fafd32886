package network

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	goruntime "runtime"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/strake-io/strake/runtime"
)

// namespace makes a network namespace and returns its path.
func namespace(t *testing.T) string {
	t.Helper()
	path := t.TempDir() + "/netns"
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		goruntime.LockOSThread() // and never unlocked: the thread ends with us
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- unix.Mount("/proc/thread-self/ns/net", path, "none", unix.MS_BIND, "")
	}()
	if err := <-done; err != nil {
		t.Skipf("no network namespace can be made here: %v", err)
	}
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
	return path
}

func TestBridgeConnectsPods(t *testing.T) {
	// With br_netfilter the firewall sees what is only bridged, too.
	for _, bridged := range []string{"0", "1"} {
		t.Run("bridge-nf-call-iptables="+bridged, func(t *testing.T) {
			host := namespace(t)
			if err := Within(host, func() error { return sysctl("net/bridge/bridge-nf-call-iptables", bridged) }); bridged == "1" && err != nil {
				t.Skipf("no br_netfilter here: %v", err)
			}
			bridgeConnectsPods(t, host)
		})
	}
}

func bridgeConnectsPods(t *testing.T, host string) {
	first, second := namespace(t), namespace(t)
	if err := loopbackUp(host); err != nil {
		t.Fatal(err)
	}
	config := BridgeConfig{Name: "strtest0", Subnet: netip.MustParsePrefix("10.99.7.0/24"), StateDir: t.TempDir(), HostNetNS: host}
	bridge, err := NewBridge(config)
	if err != nil {
		t.Fatal(err)
	}
	if err := bridge.Status(t.Context()); err != nil {
		t.Fatalf("status: %v", err)
	}
	pods := []Pod{
		{SandboxID: "one", NetNS: first, Name: "one", Ports: []runtime.PortMapping{{Protocol: "TCP", HostPort: 8080, ContainerPort: 80}}},
		{SandboxID: "two", NetNS: second, Name: "two"},
	}
	var addrs []netip.Addr
	for _, pod := range pods {
		began := time.Now()
		result, err := bridge.Setup(t.Context(), pod)
		if err != nil {
			t.Fatal(err)
		}
		t.Logf("set up %v in %v", result.IPs, time.Since(began))
		addrs = append(addrs, result.IPs...)
	}
	want := []netip.Addr{netip.MustParseAddr("10.99.7.2"), netip.MustParseAddr("10.99.7.3")}
	if diff := cmp.Diff(want, addrs, cmp.Comparer(func(a, b netip.Addr) bool { return a == b })); diff != "" {
		t.Errorf("addresses (-want +got):\n%s", diff)
	}

	// A new process does it again and gets the same.
	again, err := NewBridge(config)
	if err != nil {
		t.Fatal(err)
	}
	result, err := again.Setup(t.Context(), pods[0])
	if err != nil || result.IPs[0] != addrs[0] {
		t.Errorf("set up again: %v, %v; want %v", result.IPs, err, addrs[0])
	}

	serveOnce := func() {
		t.Helper()
		err := Within(first, func() error {
			listener, err := net.Listen("tcp4", ":80")
			if err != nil {
				return err
			}
			t.Cleanup(func() { _ = listener.Close() })
			go func() {
				for {
					c, err := listener.Accept()
					if err != nil {
						return
					}
					fmt.Fprint(c, c.RemoteAddr().(*net.TCPAddr).IP)
					_ = c.Close()
				}
			}()
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	serveOnce()
	for _, try := range []struct {
		name, from, to, seenAs string
	}{
		{"machine to pod", host, "10.99.7.2:80", "10.99.7.1"},
		{"pod to pod", second, "10.99.7.2:80", "10.99.7.3"},
		{"host port from the machine", host, "127.0.0.1:8080", "10.99.7.1"},
		{"host port from another pod", second, "10.99.7.1:8080", "10.99.7.3"},
		{"host port from the pod itself", first, "10.99.7.1:8080", "10.99.7.1"},
	} {
		var seen []byte
		err := Within(try.from, func() error {
			c, err := net.DialTimeout("tcp4", try.to, 3*time.Second)
			if err != nil {
				return err
			}
			defer c.Close()
			seen, err = io.ReadAll(c)
			return err
		})
		if err != nil || string(seen) != try.seenAs {
			t.Errorf("%s: seen as %q, want %q (%v)", try.name, seen, try.seenAs, err)
		}
	}

	// What a crash left behind goes, the rest stays.
	if err := again.Retain(t.Context(), []string{"one"}); err != nil {
		t.Error(err)
	}
	owners, err := again.ipam.owners()
	if diff := cmp.Diff([]string{"one"}, owners); diff != "" || err != nil {
		t.Errorf("leases after Retain (%v): %s", err, diff)
	}
	for range 2 {
		if err := again.Teardown(t.Context(), pods[0]); err != nil {
			t.Errorf("teardown: %v", err)
		}
	}
	for range 2 {
		if err := again.Cleanup(t.Context()); err != nil {
			t.Errorf("cleanup: %v", err)
		}
	}
	err = Within(host, func() error {
		links, err := netlink.LinkList()
		if err != nil {
			return err
		}
		for _, l := range links {
			if l.Type() == "bridge" || l.Type() == "veth" {
				t.Errorf("%s is left", l.Attrs().Name)
			}
		}
		c, err := nftables.New()
		if err != nil {
			return err
		}
		tables, err := c.ListTables()
		if len(tables) > 0 {
			t.Errorf("table %s is left", tables[0].Name)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}

func TestARemovedTableComesBack(t *testing.T) {
	host, inside := namespace(t), namespace(t)
	bridge, err := NewBridge(BridgeConfig{Name: "strtest2", Subnet: netip.MustParsePrefix("10.99.6.0/24"), StateDir: t.TempDir(), HostNetNS: host})
	if err != nil {
		t.Fatal(err)
	}
	pod := Pod{SandboxID: "one", NetNS: inside, Name: "one", Ports: []runtime.PortMapping{{HostPort: 8080, ContainerPort: 80}}}
	if _, err := bridge.Setup(t.Context(), pod); err != nil {
		t.Fatal(err)
	}
	removed := func() {
		t.Helper()
		if err := Within(host, bridge.rules.remove); err != nil {
			t.Fatal(err)
		}
	}
	removed()
	if err := bridge.Status(t.Context()); err != nil {
		t.Fatal(err)
	}
	err = Within(host, func() error {
		if intact, err := bridge.rules.intact(); err != nil || !intact {
			t.Errorf("intact: %v, %v", intact, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	removed()
	if err := bridge.Teardown(t.Context(), pod); err != nil { // there are no rules to remove
		t.Fatal(err)
	}
	if err := bridge.Cleanup(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestIPAM(t *testing.T) {
	p := &ipam{dir: t.TempDir(), subnet: netip.MustParsePrefix("10.1.1.0/29")}
	var got []string
	for i := range 5 {
		addr, err := p.lease(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, addr.String())
	}
	want := []string{"10.1.1.2", "10.1.1.3", "10.1.1.4", "10.1.1.5", "10.1.1.6"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("leases (-want +got):\n%s", diff)
	}
	if _, err := p.lease("one too many"); !errors.Is(err, ErrExhausted) {
		t.Errorf("full: %v, want ErrExhausted", err)
	}
	if err := p.release(func(id string) bool { return id == "1" }); err != nil {
		t.Fatal(err)
	}
	// A new process reads what is there.
	p = &ipam{dir: p.dir, subnet: p.subnet}
	if addr, err := p.lease("4"); err != nil || addr.String() != "10.1.1.6" {
		t.Errorf("the same sandbox again: %v, %v", addr, err)
	}
	if addr, err := p.lease("new"); err != nil || addr.String() != "10.1.1.3" {
		t.Errorf("the freed address: %v, %v", addr, err)
	}
}

func TestNewBridgeChecksConfig(t *testing.T) {
	for name, config := range map[string]BridgeConfig{
		"no state":  {},
		"long name": {Name: "a-name-of-sixteen", StateDir: "/x"},
		"IPv6":      {Subnet: netip.MustParsePrefix("fd00::/64"), StateDir: "/x"},
		"tiny":      {Subnet: netip.MustParsePrefix("10.0.0.0/31"), StateDir: "/x"},
	} {
		if _, err := NewBridge(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

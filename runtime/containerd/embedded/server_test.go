package embedded

import (
	"context"
	"os"
	"testing"
	"time"

	containerd "github.com/containerd/containerd/v2/client"

	"github.com/strake-io/strake/runtime/containerd/shim"
)

func TestMain(m *testing.M) {
	shim.RunIfShim()
	os.Exit(m.Run())
}

func TestNewChecksConfig(t *testing.T) {
	for name, config := range map[string]Config{
		"relative root":  {Root: "root", State: "/state"},
		"relative state": {Root: "/root", State: "state"},
		"same":           {Root: "/x", State: "/x"},
		"long socket":    {Root: "/x", State: "/" + string(make([]byte, 200))},
	} {
		if _, err := New(config); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// TestTwoSideBySide: each serves its own metadata, and one stops alone.
func TestTwoSideBySide(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("containerd needs root")
	}
	type running struct {
		client *containerd.Client
		stop   func()
	}
	var both []running
	for range 2 {
		// t.TempDir is too long for a socket's path.
		dir, err := os.MkdirTemp("", "ctd")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		s, err := New(Config{Root: dir + "/root", State: dir + "/state"})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		began := time.Now()
		go func() { ended <- s.Run(ctx) }()
		select {
		case <-s.Ready():
		case err := <-ended:
			t.Fatalf("Run: %v", err)
		}
		t.Logf("ready after %v", time.Since(began))
		client, err := containerd.New(s.Address())
		if err != nil {
			t.Fatal(err)
		}
		stop := func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("Run: %v", err)
			}
			_ = client.Close()
		}
		both = append(both, running{client, stop})
	}
	if err := both[0].client.NamespaceService().Create(t.Context(), "only-first", nil); err != nil {
		t.Fatal(err)
	}
	names, err := both[1].client.NamespaceService().List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(names) != 0 {
		t.Errorf("the second server shows the namespaces of the first: %v", names)
	}
	both[0].stop()
	if _, err := both[1].client.Version(t.Context()); err != nil {
		t.Errorf("after the first stopped, the second: %v", err)
	}
	both[1].stop()
}

package runtimetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/strake-io/strake/runtime"
)

// testLogs checks the CRI's log format.
func testLogs(t *testing.T, s *subject) {
	if s.LogDirectory == "" {
		t.Skip("no logs")
	}
	ctx := t.Context()
	sandbox := s.sandbox(t, "pod")
	id := s.start(t, sandbox, "c", "write", "one line", "an error")
	got := s.exit(t, id)
	if want := filepath.Join(s.LogDirectory, "c/0.log"); got.LogPath != want {
		t.Errorf("log path %q, want %q", got.LogPath, want)
	}
	log := readLog(got.LogPath)
	for _, want := range []string{`(?m)^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+Z stdout F one line$`, `(?m)^\S+Z stderr F an error$`} {
		if !regexp.MustCompile(want).MatchString(log) {
			t.Errorf("once a container has ended its log is complete: %q, want %s", log, want)
		}
	}
	if !s.Simulated {
		long := strings.Repeat("x", 20<<10)
		id := s.start(t, sandbox, "long", "echo", long)
		s.exit(t, id)
		var text strings.Builder
		tags := ""
		for line := range strings.Lines(readLog(s.container(t, id).LogPath)) {
			parts := strings.SplitN(strings.TrimSuffix(line, "\n"), " ", 4)
			if len(parts) != 4 {
				t.Fatalf("a log line is %q", line)
			}
			tags += parts[2]
			text.WriteString(parts[3])
		}
		if text.String() != long || !regexp.MustCompile("^P+F$").MatchString(tags) {
			t.Errorf("a long line has parts %q and %d bytes, want %d", tags, text.Len(), len(long))
		}

		ticking := s.start(t, sandbox, "tick", "tick", "20ms")
		path := s.container(t, ticking).LogPath
		s.eventually(t, "the log grows", func() bool { return strings.Contains(readLog(path), "tick 2") })
		if err := os.Rename(path, path+".old"); err != nil {
			t.Fatal(err)
		}
		if err := s.r.ReopenLog(ctx, ticking); err != nil {
			t.Fatalf("ReopenLog: %v", err)
		}
		s.eventually(t, "the new log grows", func() bool { return strings.Contains(readLog(path), "tick") })
	}
	if err := s.r.RemoveContainer(ctx, id); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(got.LogPath); !os.IsNotExist(err) {
		t.Errorf("the log of a removed container: %v, want it gone", err)
	}
}

// testSpecification looks at a container from inside.
func testSpecification(t *testing.T, s *subject) {
	if s.Simulated {
		t.Skip("nothing runs")
	}
	ctx := t.Context()
	config := s.config("pod")
	config.DNS = &runtime.DNSConfig{Servers: []string{"10.96.0.10"}, Searches: []string{"default.svc.cluster.local"}, Options: []string{"ndots:5"}}
	config.Sysctls = map[string]string{"kernel.shm_rmid_forced": "1"}
	sandbox, err := s.r.RunSandbox(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "file"), []byte("mounted"), 0o644); err != nil {
		t.Fatal(err)
	}
	uid, gid := int64(1234), int64(5678)
	base := runtime.ContainerConfig{
		Args: []string{"sleep", "infinity"}, WorkingDir: "/tmp",
		Env: []runtime.EnvVar{{Name: "A", Value: "1"}, {Name: "VERSION", Value: "mine"}},
		Mounts: []runtime.Mount{
			{HostPath: dir, ContainerPath: "/data", ReadOnly: true},
			{HostPath: filepath.Join(dir, "made"), ContainerPath: "/made"},
		},
	}
	plain, user := base, base
	plain.Name, user.Name = "plain", "user"
	user.Security = runtime.SecurityContext{
		RunAsUser: &uid, RunAsGroup: &gid, SupplementalGroups: []int64{77}, ReadonlyRootfs: true, NoNewPrivileges: true,
		DropCapabilities: []string{"ALL"},
	}
	ids := map[string]string{}
	for _, c := range []runtime.ContainerConfig{plain, user} {
		ids[c.Name] = s.createFrom(t, sandbox, c)
		if err := s.r.StartContainer(ctx, ids[c.Name]); err != nil {
			t.Fatal(err)
		}
	}
	for _, check := range []struct{ in, cmd, want string }{
		{"plain", "hostname", "pod\n"},
		{"plain", "pwd", "/tmp\n"},
		{"plain", "id", "uid=0 gid=0 groups=[0]\n"},
		{"user", "id", "uid=1234 gid=5678 groups=[77 5678]\n"},
		{"plain", "cat /etc/resolv.conf", "search default.svc.cluster.local\nnameserver 10.96.0.10\noptions ndots:5\n"},
		{"plain", "cat /etc/hostname", "pod\n"},
		{"plain", "cat /data/file", "mounted"},
		{"plain", "cat /proc/sys/kernel/shm_rmid_forced", "1\n"},
		{"plain", "sh -c echo $A,$VERSION,$HOSTNAME", "1,mine,pod\n"},
		{"plain", "sh -c echo shared > /dev/shm/x", ""},
		{"user", "cat /dev/shm/x", "shared\n"},
		{"plain", "touch /made/x", ""},
	} {
		words := strings.SplitN(check.cmd, " ", 2)
		if strings.HasPrefix(check.cmd, "sh -c ") {
			words = []string{"sh", "-c", check.cmd[6:]}
		}
		result, err := s.r.ExecSync(ctx, ids[check.in], words, patience)
		if err != nil || result.ExitCode != 0 || string(result.Stdout) != check.want {
			t.Errorf("%s: %s: %q %q %d %v, want %q", check.in, check.cmd, result.Stdout, result.Stderr, result.ExitCode, err, check.want)
		}
	}
	for _, check := range []struct{ in, cmd string }{
		{"plain", "touch /data/x"},
		{"user", "touch /x"},
		{"user", "touch /root/x"},
	} {
		result, err := s.r.ExecSync(ctx, ids[check.in], strings.Fields(check.cmd), patience)
		if err != nil || result.ExitCode == 0 {
			t.Errorf("%s: %s must fail: %+v, %v", check.in, check.cmd, result, err)
		}
	}
	status := func(in string) string {
		result, err := s.r.ExecSync(ctx, ids[in], []string{"cat", "/proc/1/status"}, patience)
		if err != nil {
			t.Fatal(err)
		}
		return string(result.Stdout)
	}
	for in, want := range map[string][]string{
		"plain": {"CapBnd:\t00000000a80425fb\n", "Seccomp:\t2\n", "NoNewPrivs:\t0\n"},
		"user":  {"CapBnd:\t0000000000000000\n", "Seccomp:\t2\n", "NoNewPrivs:\t1\n"},
	} {
		for _, line := range want {
			if !strings.Contains(status(in), line) {
				t.Errorf("%s: /proc/1/status lacks %q", in, line)
			}
		}
	}
	privileged := base
	privileged.Name, privileged.Security.Privileged = "privileged", true
	ids["privileged"] = s.createFrom(t, sandbox, privileged)
	if err := s.r.StartContainer(ctx, ids["privileged"]); err != nil {
		t.Fatalf("a privileged container: %v", err)
	}
	if !strings.Contains(status("privileged"), "Seccomp:\t0\n") {
		t.Error("a privileged container has a seccomp profile")
	}
}

func testSharedPID(t *testing.T, s *subject) {
	if s.Simulated {
		t.Skip("nothing runs")
	}
	ctx := t.Context()
	config := s.config("pod")
	config.Namespaces.PID = runtime.NamespacePod
	sandbox, err := s.r.RunSandbox(ctx, config)
	if err != nil {
		t.Fatal(err)
	}
	first := s.start(t, sandbox, "first", "sleep", "infinity")
	second := s.start(t, sandbox, "second", "sleep", "infinity")
	for _, id := range []string{first, second} {
		result, err := s.r.ExecSync(ctx, id, []string{"pids"}, patience)
		if err != nil || strings.Count(string(result.Stdout), "\n") != 4 {
			t.Errorf("with a shared PID namespace there are %q, %v; want pause, both containers and pids", result.Stdout, err)
		}
	}
	if err := s.r.StopContainer(ctx, first, patience); err != nil {
		t.Fatal(err)
	}
	if got := s.container(t, second); got.State != runtime.ContainerRunning {
		t.Errorf("the other container, after one was stopped: %+v", got)
	}
	if err := s.r.StopSandbox(ctx, sandbox); err != nil {
		t.Errorf("StopSandbox: %v", err)
	}
}

func testResources(t *testing.T, s *subject) {
	ctx := t.Context()
	sandbox := s.sandbox(t, "pod")
	id := s.createFrom(t, sandbox, runtime.ContainerConfig{
		Name: "c", Args: []string{"sleep", "infinity"},
		Resources: runtime.Resources{CPUShares: 256, CPUQuota: 50000, CPUPeriod: 100000, MemoryLimitBytes: 128 << 20, OOMScoreAdj: 900},
	})
	if err := s.r.StartContainer(ctx, id); err != nil {
		t.Fatal(err)
	}
	check := func(controller, v1, v2, want string) {
		t.Helper()
		if s.CgroupFile == nil {
			return
		}
		file := v1
		if _, err := os.Stat("/sys/fs/cgroup/cgroup.controllers"); err == nil {
			file = v2
		}
		if got := s.CgroupFile(t, s.CgroupParent, id, controller, file); strings.TrimSpace(got) != want && file == v1 {
			t.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	check("memory", "memory.limit_in_bytes", "memory.max", fmt.Sprint(128<<20))
	check("cpu", "cpu.cfs_quota_us", "cpu.max", "50000")
	check("cpu", "cpu.shares", "cpu.weight", "256")
	if !s.Simulated {
		result, err := s.r.ExecSync(ctx, id, []string{"cat", "/proc/1/oom_score_adj"}, patience)
		if err != nil || string(result.Stdout) != "900\n" {
			t.Errorf("oom_score_adj: %q, %v; want 900", result.Stdout, err)
		}
	}
	more := runtime.Resources{CPUShares: 512, CPUQuota: 100000, CPUPeriod: 100000, MemoryLimitBytes: 256 << 20}
	if err := s.r.UpdateResources(ctx, id, more); err != nil {
		t.Fatalf("UpdateResources: %v", err)
	}
	check("memory", "memory.limit_in_bytes", "memory.max", fmt.Sprint(256<<20))
	if diff := cmp.Diff(more, s.container(t, id).Resources); diff != "" {
		t.Errorf("resources after UpdateResources (-want +got):\n%s", diff)
	}
}

func testOOM(t *testing.T, s *subject) {
	if s.Simulated {
		t.Skip("nothing runs")
	}
	sandbox := s.sandbox(t, "pod")
	id := s.createFrom(t, sandbox, runtime.ContainerConfig{
		Name: "c", Args: []string{"alloc", "512"}, Resources: runtime.Resources{MemoryLimitBytes: 32 << 20},
	})
	if err := s.r.StartContainer(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if got := s.exit(t, id); got.Reason != "OOMKilled" || got.ExitCode != 137 {
		t.Errorf("a container over its memory limit: %q with %d, want OOMKilled with 137", got.Reason, got.ExitCode)
	}
}

func testStats(t *testing.T, s *subject) {
	provider, ok := s.r.(runtime.StatsProvider)
	if !ok {
		t.Skip("no StatsProvider")
	}
	ctx := t.Context()
	sandbox := s.sandbox(t, "pod")
	id := s.start(t, sandbox, "c", "serve")
	s.eventually(t, "the container has used CPU and memory", func() bool {
		one, err := provider.ContainerStats(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		all, err := provider.SandboxStats(ctx, sandbox)
		if err != nil {
			t.Fatal(err)
		}
		return one.CPUNanos > 0 && one.WorkingSetBytes > 0 && one.WorkingSetBytes <= one.MemoryBytes && all.CPUNanos >= one.CPUNanos
	})
}

func testEvents(t *testing.T, s *subject) {
	source, ok := s.r.(runtime.EventSource)
	if !ok {
		t.Skip("no EventSource")
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	events, err := source.Events(ctx)
	if err != nil {
		t.Fatal(err)
	}
	sandbox := s.sandbox(t, "pod")
	id := s.start(t, sandbox, "c", "true")
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for s.container(t, id).State != runtime.ContainerExited {
		select {
		case e := <-events:
			if e.SandboxID != sandbox {
				t.Errorf("an event of %+v, want one of sandbox %s", e, sandbox)
			}
		case <-timeout.C:
			t.Fatal("a container ended and no event told of it")
		}
	}
	cancel()
	for range events {
	}
}

// testReopen ends the runtime and starts another over what it left.
func testReopen(t *testing.T, s *subject) {
	if s.Reopen == nil {
		t.Skip("nothing survives this runtime")
	}
	ctx := t.Context()
	sandbox := s.sandbox(t, "pod")
	stopped := s.sandbox(t, "stopped")
	if err := s.r.StopSandbox(ctx, stopped); err != nil {
		t.Fatal(err)
	}
	running := s.start(t, sandbox, "running", "tick", "10ms")
	created := s.create(t, sandbox, "created", "true")
	exited := s.start(t, sandbox, "exited", "exit", "3")
	s.exit(t, exited)
	ending := s.start(t, sandbox, "ending", "sh", "-c", "sleep 0.5; echo last; exit 6")
	s.ready(t, running, "tick 3")
	ids := []string{running, created, exited}
	before := map[string]runtime.Container{}
	for _, id := range ids {
		before[id] = s.container(t, id)
	}
	sandboxBefore, err := s.r.Sandbox(ctx, sandbox)
	if err != nil {
		t.Fatal(err)
	}

	s.r = s.Reopen(t)
	ignoreZones := cmp.Comparer(func(a, b time.Time) bool { return a.Equal(b) })
	sandboxAfter, err := s.r.Sandbox(ctx, sandbox)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(sandboxBefore, sandboxAfter, ignoreZones); diff != "" {
		t.Errorf("a sandbox after a new start (-before +after):\n%s", diff)
	}
	if got, err := s.r.Sandbox(ctx, stopped); err != nil || got.State != runtime.SandboxNotReady {
		t.Errorf("a stopped sandbox after a new start: %+v, %v", got, err)
	}
	for _, id := range ids {
		if diff := cmp.Diff(before[id], s.container(t, id), ignoreZones); diff != "" {
			t.Errorf("a container after a new start (-before +after):\n%s", diff)
		}
	}
	if s.LogDirectory != "" && !s.Simulated {
		path := s.container(t, running).LogPath
		size := len(readLog(path))
		s.eventually(t, "the log goes on after a new start", func() bool { return len(readLog(path)) > size+100 })
	}
	if result, err := s.r.ExecSync(ctx, running, []string{"true"}, patience); err != nil || result.ExitCode != 0 {
		t.Errorf("ExecSync after a new start: %+v, %v", result, err)
	}
	if err := s.r.StartContainer(ctx, created); err != nil {
		t.Errorf("StartContainer after a new start: %v", err)
	}
	if got := s.exit(t, ending); got.ExitCode != 6 {
		t.Errorf("a container that ended around the new start: %+v, want exit code 6", got)
	}
	if log := readLog(s.container(t, ending).LogPath); s.LogDirectory != "" && !strings.Contains(log, "last") {
		t.Errorf("its log is %q, want its last word", log)
	}
	if err := s.r.StopContainer(ctx, running, patience); err != nil {
		t.Errorf("StopContainer after a new start: %v", err)
	}
	if _, err := s.r.RunSandbox(ctx, s.config("pod")); err == nil {
		t.Error("RunSandbox of a name that is taken, after a new start: no error")
	}
}

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/client-go/util/exec"
)

// TestPods walks through what a user does with pods. They share a cluster, and all
// start at once.
func TestPods(t *testing.T) {
	c := newCluster(t)
	ends := c.endings()
	c.apply(c.manifest("nginx.yaml", "v1"))
	c.apply(strings.ReplaceAll(c.fill(podsManifest), "HOSTPATH", t.TempDir()))
	c.apply(ends.manifest())
	c.apply(strings.NewReplacer("busybox:latest", c.image("v1"), "while true; do date >> /work/ticks; sleep 5; done", "tick 1s").
		Replace(c.manifest("sidecar.yaml", "v1")))
	for name, test := range map[string]func(*testing.T, *cluster){
		"manifest": testManifest, "environment": testEnvironment, "volumes": testVolumes, "sidecar": testSidecar,
		"streams": testStreams, "logs": testLogs, "copy": testCopy, "network": testNetwork, "security": testSecurity,
		"endings": ends.test, "probes": testProbes, "killed": testKilled, "deletion": testDeletion, "debug": testDebug,
	} {
		t.Run(name, func(t *testing.T) {
			sub := *c
			sub.t = t
			test(t, &sub)
		})
	}
}

// fill puts the images into a manifest.
func (c *cluster) fill(manifest string) string {
	return strings.NewReplacer("IMAGE", c.image("v1"), "REGISTRY", c.registry.Addr).Replace(manifest)
}

func (c *cluster) pod(name string) *corev1.Pod {
	c.t.Helper()
	var pod corev1.Pod
	if err := json.Unmarshal([]byte(c.kubectl("get", "pod", name, "-o", "json")), &pod); err != nil {
		c.t.Fatal(err)
	}
	return &pod
}

func (c *cluster) ready(pods ...string) {
	c.t.Helper()
	args := []string{"wait", "--for=condition=Ready", "--timeout=60s"}
	for _, p := range pods {
		args = append(args, "pod/"+p)
	}
	c.kubectl(args...)
}

// wants compares what a command says.
func (c *cluster) wants(want string, args ...string) {
	c.t.Helper()
	if out := c.kubectl(args...); out != want {
		c.t.Errorf("kubectl %s said %q, want %q", strings.Join(args, " "), out, want)
	}
}

// groups finds the control groups of a container, or of a pod by "pod" and its UID.
func groups(name string) (dirs []string) {
	for _, depth := range []string{"/*/strake/*/kubepods/", "/strake/*/kubepods/"} {
		for _, class := range []string{"", "*/"} {
			for _, below := range []string{"", "pod*/"} {
				found, _ := filepath.Glob("/sys/fs/cgroup" + depth + class + below + name)
				dirs = append(dirs, found...)
			}
		}
	}
	return dirs
}

func containerID(s corev1.ContainerStatus) string {
	return strings.TrimPrefix(s.ContainerID, "containerd://")
}

// mainProcess is the first process of a container.
func (c *cluster) mainProcess(s corev1.ContainerStatus) int {
	c.t.Helper()
	for _, dir := range groups(containerID(s)) {
		procs, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if first := strings.Fields(string(procs)); len(first) > 0 {
			pid, _ := strconv.Atoi(first[0])
			return pid
		}
	}
	c.t.Fatalf("no process in the groups of %s", s.ContainerID)
	return 0
}

func testManifest(t *testing.T, c *cluster) {
	c.ready("nginx-pod")
	const file = "/etc/nginx/conf.d/default.conf"
	if out := c.kubectl("exec", "nginx-pod", "--", "cat", file); !strings.Contains(out, "hello from nginx") {
		t.Errorf("the file of the config map: %q", out)
	}
	pod := c.pod("nginx-pod")
	if pod.Status.QOSClass != corev1.PodQOSBurstable {
		t.Errorf("class %s", pod.Status.QOSClass)
	}
	limits := map[string]string{"memory.limit_in_bytes": "134217728", "cpu.cfs_quota_us": "50000", "cpu.shares": "256",
		"memory.max": "134217728", "cpu.max": "50000 100000"}
	for _, name := range []string{containerID(pod.Status.ContainerStatuses[0]), "pod" + string(pod.UID)} {
		read := 0
		for _, dir := range groups(name) {
			for file, want := range limits {
				if got, err := os.ReadFile(filepath.Join(dir, file)); err == nil {
					if read++; strings.TrimSpace(string(got)) != want {
						t.Errorf("%s/%s is %s, want %s", dir, file, got, want)
					}
				}
			}
		}
		if read < 2 {
			t.Errorf("%d limits found of %s", read, name)
		}
	}
	c.kubectl("patch", "configmap", "nginx-config-map", "-p", `{"data":{"default.conf":"changed"}}`)
	c.says("changed", "exec", "nginx-pod", "--", "cat", file)
	for _, want := range []string{"Successfully assigned default/nginx-pod to", "Container created", "Container started", "nginx-config-map"} {
		c.says(want, "describe", "pod", "nginx-pod")
	}
}

func testEnvironment(t *testing.T, c *cluster) {
	c.ready("envs")
	pod := c.pod("envs")
	have := map[string]bool{}
	for line := range strings.Lines(c.kubectl("exec", "envs", "-c", "c", "--", "env")) {
		have[strings.TrimSpace(line)] = true
	}
	for _, want := range []string{"KEY=value", "P_PASS=secret", "X=value-x", "ESC=$(KEY)", "FROM_MAP=value", "FROM_SECRET=secret",
		"NAME=envs", "NAMESPACE=default", "UID=" + string(pod.UID), "LABEL=lv", "ANNOTATION=av", "NODE=" + pod.Spec.NodeName,
		"ACCOUNT=default", "HOST_IP=" + machineAddr.String(), "POD_IP=" + pod.Status.PodIP, "CPU=200", "MEMORY=64", "REQUEST=33554432",
		"HOSTNAME=envs", "KUBERNETES_SERVICE_PORT=443"} {
		if !have[want] {
			t.Errorf("%s is missing in %v", want, have)
		}
	}
}

func testVolumes(t *testing.T, c *cluster) {
	c.ready("envs")
	c.wants("one\nfrom filel=\"lv\"200envs", "exec", "envs", "-c", "c", "--", "cat", "/host/seed", "/one.txt", "/down/labels", "/down/cpu", "/all/name")
	c.wants("secretvalue", "exec", "envs", "-c", "c", "--", "cat", "/all/PASS", "/all/KEY")
	c.wants("from file", "exec", "envs", "-c", "c", "--", "cat", "/items/deep/er.txt")
	c.kubectl("exec", "envs", "-c", "c", "--", "touch", "/sub/here")
	c.wants("here", "exec", "envs", "-c", "c", "--", "ls", "/empty/d/envs")
	if out := c.kubectl("exec", "envs", "-c", "c", "--", "cat", "/proc/mounts"); !strings.Contains(out, "tmpfs /memory tmpfs rw,relatime,size=8192k") {
		t.Errorf("the volume in memory is not among\n%s", out)
	}
	c.refuses("read-only file system", "", "exec", "envs", "-c", "c", "--", "touch", "/secret/x")
	// A volume whose object comes later holds the pod, and says so.
	c.says("ContainerCreating", "get", "pod", "late")
	c.says(`MountVolume.SetUp failed for volume "v" : configmap "late" not found`, "describe", "pod", "late")
	c.kubectl("create", "configmap", "late", "--from-literal=a=b")
	c.ready("late")
}

func testSidecar(t *testing.T, c *cluster) {
	c.ready("sidecar")
	c.wants("prepared", "exec", "sidecar", "-c", "main", "--", "cat", "/usr/share/nginx/html/index.html")
	c.says("2/2", "get", "pod", "sidecar")
	if out := c.kubectl("logs", "sidecar", "--all-containers", "--prefix"); !strings.Contains(out, "[pod/sidecar/ticker] tick 0") || !strings.Contains(out, "[pod/sidecar/main] serving on") {
		t.Errorf("logs of all:\n%s", out)
	}
}

// stream is kubectl exec or attach, by one of its two protocols.
func (c *cluster) stream(protocol, pod, what string, options any, streams remotecommand.StreamOptions) error {
	client, config := c.client()
	codec := scheme.ParameterCodec
	req := client.CoreV1().RESTClient().Post().Resource("pods").Namespace("default").Name(pod).SubResource(what)
	switch o := options.(type) {
	case *corev1.PodExecOptions:
		req.VersionedParams(o, codec)
	case *corev1.PodAttachOptions:
		req.VersionedParams(o, codec)
	}
	executor, err := remotecommand.NewSPDYExecutor(config, "POST", req.URL())
	if protocol == "websocket" {
		executor, err = remotecommand.NewWebSocketExecutor(config, "GET", req.URL().String())
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	// Neither takes a Dial function: the thread has to be there.
	return c.machine.In(func() error { return executor.StreamWithContext(ctx, streams) })
}

// sizes is what a terminal is resized to.
type sizes chan remotecommand.TerminalSize

func (s sizes) Next() *remotecommand.TerminalSize {
	if size, ok := <-s; ok {
		return &size
	}
	return nil
}

func testStreams(t *testing.T, c *cluster) {
	c.ready("many", "web")
	c.refuses("exit code 3", "", "exec", "web", "--", "sh", "-c", "exit 3")
	c.refuses("executable file not found in $PATH", "", "exec", "web", "--", "nosuch")
	if out, err := c.feed("one\ntwo\n", "exec", "-i", "web", "--", "cat"); err != nil || out != "one\ntwo" {
		t.Errorf("stdin came back as %q, %v", out, err)
	}
	c.refuses("container nosuch is not valid for pod web", "", "exec", "web", "-c", "nosuch", "--", "true")
	for _, protocol := range []string{"spdy", "websocket"} {
		var out, errs bytes.Buffer
		err := c.stream(protocol, "web", "exec", &corev1.PodExecOptions{Command: []string{"sh", "-c", "write out err; exit 4"}, Stdout: true, Stderr: true},
			remotecommand.StreamOptions{Stdout: &out, Stderr: &errs})
		var code exec.CodeExitError
		if !errors.As(err, &code) || code.Code != 4 || out.String() != "out\n" || errs.String() != "err\n" {
			t.Errorf("%s: %v, said %q and %q", protocol, err, out.String(), errs.String())
		}
		// A terminal, resized while it is used.
		terminal := make(sizes, 2)
		terminal <- remotecommand.TerminalSize{Width: 90, Height: 20}
		input, keyboard := io.Pipe()
		screen := &screen{}
		done := make(chan error, 1)
		go func() {
			err := c.stream(protocol, "many", "attach", &corev1.PodAttachOptions{Container: protocol, Stdin: true, Stdout: true, TTY: true},
				remotecommand.StreamOptions{Stdin: input, Stdout: screen, Tty: true, TerminalSizeQueue: terminal})
			input.CloseWithError(errors.New("the session is over")) // nobody waits for it to read
			done <- err
		}()
		for _, want := range []string{"90x20", "100x30"} {
			c.eventually("the size of the terminal over "+protocol, func() error {
				fmt.Fprintln(keyboard, "tty")
				if !strings.Contains(screen.String(), want) {
					return fmt.Errorf("it shows %q, want %q", screen, want)
				}
				return nil
			})
			if want == "90x20" {
				terminal <- remotecommand.TerminalSize{Width: 100, Height: 30}
			}
		}
		fmt.Fprintln(keyboard, "exit")
		if err := <-done; err != nil {
			t.Errorf("%s: the session ended: %v", protocol, err)
		}
		close(terminal)
		keyboard.Close()
	}
}

func testLogs(t *testing.T, c *cluster) {
	c.ready("many")
	c.eventually("three ticks", func() error {
		if out, err := c.try("logs", "many", "-c", "ticks", "--tail=2"); err != nil || len(strings.Split(out, "\n")) != 2 || strings.HasPrefix(out, "tick 0") {
			return fmt.Errorf("%v: %q", err, out)
		}
		return nil
	})
	if out := c.kubectl("logs", "many", "-c", "ticks", "--timestamps"); !strings.HasPrefix(out, time.Now().UTC().Format("2006-")) || !strings.Contains(out, "Z tick 0\n") {
		t.Errorf("with timestamps:\n%s", out)
	}
	if all, late := c.kubectl("logs", "many", "-c", "ticks"), c.kubectl("logs", "many", "-c", "ticks", "--since=1s"); len(late) >= len(all) && strings.Contains(late, "tick 0\n") {
		t.Errorf("the last second was %q of %q", late, all)
	}
	c.wants("", "logs", "many", "-c", "ticks", "--since-time="+time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	follow := c.command(ctx, "logs", "-f", "many", "-c", "ticks", "--tail=1")
	seen := &screen{}
	follow.Stdout = seen
	if err := c.machine.In(follow.Start); err != nil {
		t.Fatal(err)
	}
	c.eventually("the log to be followed", func() error {
		if n := strings.Count(seen.String(), "tick"); n < 4 {
			return fmt.Errorf("%d lines", n)
		}
		return nil
	})
	cancel()
	_ = follow.Wait()
	c.refuses(`previous terminated container "ticks" in pod "many" not found`, "", "logs", "many", "-c", "ticks", "--previous")
	c.refuses("a container name must be specified for pod many", "", "get", "--raw", "/api/v1/namespaces/default/pods/many/log")
	c.refuses("is waiting to start", "", "logs", "badname")
}

func testCopy(t *testing.T, c *cluster) {
	c.ready("web")
	dir := t.TempDir()
	from, back := filepath.Join(dir, "from"), filepath.Join(dir, "back")
	content := strings.Repeat("copied over and back\n", 10000)
	if err := os.WriteFile(from, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	c.kubectl("cp", from, "web:/tmp/there")
	c.kubectl("cp", "web:/tmp/there", back)
	if got, err := os.ReadFile(back); err != nil || string(got) != content {
		t.Errorf("%d bytes came back of %d: %v", len(got), len(content), err)
	}
}

func testNetwork(t *testing.T, c *cluster) {
	c.ready("web", "host", "many", "hostport")
	web := c.pod("web").Status.PodIP
	if out := c.kubectl("exec", "many", "-c", "ticks", "--", "wget", web); !strings.Contains(out, "host=web") {
		t.Errorf("from pod to pod: %q", out)
	}
	for address, want := range map[string]string{web: "host=web", machineAddr.String() + ":7777": "version=v1", machineAddr.String() + ":7070": "host=hostport"} {
		if out, err := c.get(address); err != nil || !strings.Contains(out, want) {
			t.Errorf("%s: %q, %v", address, out, err)
		}
	}
	if pod := c.pod("host"); pod.Status.PodIP != machineAddr.String() {
		t.Errorf("on the machine's network the pod's address is %s", pod.Status.PodIP)
	}
	c.kubectl("expose", "pod", "web", "--port=8080", "--target-port=80")
	for target, port := range map[string]string{"pod/web": "80", "service/web": "8080"} {
		ctx, cancel := context.WithCancel(context.Background())
		forward := c.command(ctx, "port-forward", target, ":"+port)
		said := &screen{}
		forward.Stdout = said
		if err := c.machine.In(forward.Start); err != nil {
			t.Fatal(err)
		}
		c.eventually("forwarding to "+target, func() error {
			_, rest, _ := strings.Cut(said.String(), "127.0.0.1:")
			local, _, found := strings.Cut(rest, " ")
			if !found {
				return errors.New("not yet")
			}
			for range 3 {
				if out, err := c.get("127.0.0.1:" + local); err != nil || !strings.Contains(out, "host=web") {
					return fmt.Errorf("%q, %v", out, err)
				}
			}
			return nil
		})
		cancel()
		_ = forward.Wait()
	}
}

func testSecurity(t *testing.T, c *cluster) {
	c.ready("secure", "shared")
	c.wants("uid=1234 gid=55 groups=[55 77 88]", "exec", "secure", "--", "id")
	c.refuses("read-only file system", "", "exec", "secure", "--", "touch", "/x")
	c.kubectl("exec", "secure", "--", "touch", "/v/x")
	if out := c.kubectl("exec", "secure", "--", "ls", "-l", "/v"); !strings.Contains(out, " 1234 77 ") {
		t.Errorf("the volume's files are %s", out)
	}
	if out := c.kubectl("exec", "shared", "-c", "b", "--", "pids"); strings.Count(out, "sleep") != 2 {
		t.Errorf("processes that are seen:\n%s", out)
	}
}

func testProbes(t *testing.T, c *cluster) {
	c.ready("live", "readiness")
	c.kubectl("exec", "live", "--", "touch", "/tmp/unhealthy")
	c.kubectl("exec", "readiness", "--", "touch", "/tmp/unhealthy")
	c.says("Container c failed liveness probe, will be restarted", "describe", "pod", "live")
	c.eventually("the unhealthy container to be restarted", func() error {
		if s := c.pod("live").Status.ContainerStatuses[0]; s.RestartCount != 1 || !s.Ready {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	c.says("0/1", "get", "pod", "readiness")
	c.says("Readiness probe failed: HTTP probe failed with statuscode: 500", "describe", "pod", "readiness")
	if s := c.pod("readiness").Status.ContainerStatuses[0]; s.RestartCount != 0 {
		t.Errorf("it was restarted: %+v", s)
	}
	c.ready("slow") // whose startup probe holds back the liveness probe
	if s := c.pod("slow").Status.ContainerStatuses[0]; s.RestartCount != 0 {
		t.Errorf("a slow starter was restarted: %+v", s)
	}
	c.says("Startup probe failed: dial tcp", "describe", "pod", "never-started")
	c.says("Container c failed startup probe, will be restarted", "describe", "pod", "never-started")
	c.says("Readiness probe failed", "describe", "pod", "grpc")
}

func testKilled(t *testing.T, c *cluster) {
	c.ready("victim")
	before := c.pod("victim").Status.ContainerStatuses[0]
	if err := syscall.Kill(c.mainProcess(before), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.eventually("the killed container to be restarted", func() error {
		s := c.pod("victim").Status.ContainerStatuses[0]
		last := s.LastTerminationState.Terminated
		if s.RestartCount != 1 || !s.Ready || last == nil {
			return fmt.Errorf("%+v", s)
		}
		if last.ExitCode != 137 || last.Reason != "Error" || last.ContainerID != before.ContainerID {
			t.Errorf("last state %+v", last)
		}
		return nil
	})
	if out := c.kubectl("logs", "victim", "--previous"); !strings.Contains(out, "serving on") {
		t.Errorf("the log of the one before: %q", out)
	}
}

func testDeletion(t *testing.T, c *cluster) {
	c.ready("polite", "stubborn", "forced", "quick")
	uid := c.pod("forced").UID
	begun := time.Now()
	c.kubectl("delete", "pod", "quick")
	quick := time.Since(begun)
	begun = time.Now()
	c.kubectl("delete", "pod", "stubborn") // ignores SIGTERM, and has 3 s
	if took := time.Since(begun); took < 3*time.Second {
		t.Errorf("it was gone after %v, before its grace", took)
	}
	t.Logf("delete of a process that ends at once: %v; of one that does not, with 3 s: %v", quick, time.Since(begun))
	c.kubectl("delete", "pod", "polite")
	if got, err := os.ReadFile(filepath.Join(c.hostPath(), "hooks")); err != nil || string(got) != "started\nstopping\n" {
		t.Errorf("the hooks wrote %q, %v", got, err)
	}
	c.kubectl("delete", "pod", "forced", "--force", "--grace-period=0")
	c.refuses(`pods "forced" not found`, "", "get", "pod", "forced")
	c.eventually("the forced pod's processes and groups to be gone", func() error {
		if left := groups("pod" + string(uid)); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
}

// hostPath is the directory that the pod "polite" writes to.
func (c *cluster) hostPath() string {
	return c.kubectl("get", "pod", "envs", "-o", `jsonpath={.spec.volumes[?(@.name=="host")].hostPath.path}`)
}

func testDebug(t *testing.T, c *cluster) {
	c.ready("debugged")
	c.kubectl("debug", "debugged", "--image="+c.image("v1"), "--container=look", "--target=c", "--", "pids")
	c.says("program", "logs", "debugged", "-c", "look") // the server, which it can see
	c.eventually("the ephemeral container to end", func() error {
		s := c.pod("debugged").Status.EphemeralContainerStatuses
		if len(s) != 1 || s[0].State.Terminated == nil || s[0].State.Terminated.Reason != "Completed" {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
}

// instance is what the program calls itself outside of its data directory.
func (c *cluster) instance() string {
	sum := sha256.Sum256([]byte(c.dir))
	return hex.EncodeToString(sum[:4])
}

// TestRestart kills the program while pods run, and starts it again; and looks
// what --purge leaves.
func TestRestart(t *testing.T) {
	c := newCluster(t)
	for _, name := range []string{"stays", "dies", "leaves"} {
		c.kubectl("run", name, "--image="+c.image("v1"), "--", "tick", "100ms")
	}
	c.apply(c.manifest("nginx.yaml", "v1"))
	c.ready("stays", "dies", "leaves", "nginx-pod")
	stays, dies, nginx := c.pod("stays"), c.pod("dies"), c.pod("nginx-pod")
	leaves := c.pod("leaves")

	c.apply(c.fill(`---
{apiVersion: v1, kind: Pod, metadata: {name: mounts}, spec: {volumes: [{name: m, emptyDir: {medium: Memory}}],
  containers: [{name: c, image: IMAGE, volumeMounts: [{name: m, mountPath: /m, subPath: s}]}]}}`))
	c.ready("mounts")
	c.kubectl("delete", "pod", "leaves", "--wait=false")
	c.kill()
	if err := syscall.Kill(c.mainProcess(dies.Status.ContainerStatuses[0]), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	c.start()
	for _, before := range []*corev1.Pod{stays, nginx} {
		after := c.pod(before.Name)
		old, now := before.Status.ContainerStatuses[0], after.Status.ContainerStatuses[0]
		if after.UID != before.UID || now.ContainerID != old.ContainerID || now.RestartCount != 0 || after.Status.PodIP != before.Status.PodIP {
			t.Errorf("pod %s was %+v, and is %+v", before.Name, old, now)
		}
	}
	c.ready("stays")
	c.wants("here", "exec", "stays", "--", "echo", "here")
	last := c.kubectl("logs", "stays", "--tail=1")
	c.eventually("the log to go on", func() error {
		if now := c.kubectl("logs", "stays", "--tail=1"); now == last {
			return errors.New(now)
		}
		return nil
	})
	if lines := strings.Split(c.kubectl("logs", "stays"), "\n"); lines[0] != "tick 0" || lines[len(lines)-1] != fmt.Sprintf("tick %d", len(lines)-1) {
		t.Errorf("lines of the log were lost: %d lines from %q to %q", len(lines), lines[0], lines[len(lines)-1])
	}
	c.eventually("the container that died meanwhile to be started again", func() error {
		s := c.pod("dies").Status.ContainerStatuses[0]
		if last := s.LastTerminationState.Terminated; s.RestartCount != 1 || !s.Ready || last == nil || last.ExitCode != 137 {
			return fmt.Errorf("%+v", s)
		}
		return nil
	})
	c.kubectl("wait", "--for=delete", "pod/leaves", "--timeout=60s")
	c.eventually("the deleted pod's groups to be gone", func() error {
		if left := groups("pod" + string(leaves.UID)); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
	if said := c.stop(); !strings.Contains(said, "What is left") {
		t.Errorf("it did not say what is left:\n%s", said)
	}
	if pid := c.mainProcess(stays.Status.ContainerStatuses[0]); pid == 0 {
		t.Error("the containers ended with the program")
	}
	c.purge()
	c.nothingLeft()
}

// nothingLeft looks for what a purge should have removed.
func (c *cluster) nothingLeft() {
	c.t.Helper()
	for _, pattern := range []string{"/sys/fs/cgroup/*/strake/" + c.instance(), "/sys/fs/cgroup/strake/" + c.instance(), "/run/strake/" + c.instance(), c.dir} {
		if left, _ := filepath.Glob(pattern); len(left) > 0 {
			c.t.Errorf("left behind: %v", left)
		}
	}
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		c.t.Fatal(err)
	}
	for line := range strings.Lines(string(mounts)) {
		if strings.Contains(line, c.dir) || strings.Contains(line, c.instance()) {
			c.t.Errorf("left mounted: %s", line)
		}
	}
	c.machine.Do(c.t, func(h *netlink.Handle) error {
		links, err := h.LinkList()
		for _, l := range links {
			if name := l.Attrs().Name; name != "lo" && name != "eth0" {
				c.t.Errorf("left on the network: %s", name)
			}
		}
		return err
	})
	conn, err := nftables.New(nftables.WithNetNSFd(c.machine.FD()))
	if err != nil {
		c.t.Fatal(err)
	}
	tables, err := conn.ListTables()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, table := range tables {
		c.t.Errorf("left of the packet filter: table %s", table.Name)
	}
}

// screen keeps what is written; safe for concurrent use.
type screen struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.Write(p)
}

func (s *screen) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buf.String()
}

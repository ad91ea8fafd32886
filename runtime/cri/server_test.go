package cri

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	api "k8s.io/cri-api/pkg/apis/runtime/v1"
	"k8s.io/cri-streaming/pkg/streaming"
	remotecommandserver "k8s.io/cri-streaming/pkg/streaming/remotecommand"
	utilexec "k8s.io/utils/exec"

	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/fake"
	"github.com/strake-io/strake/runtime/runtimetest"
)

// server is a CRI runtime made of the fake runtime: what the client translates, it
// translates back.
type server struct {
	api.UnimplementedRuntimeServiceServer
	api.UnimplementedImageServiceServer
	fake      *fake.Runtime
	streaming streaming.Server
}

func serve(t *testing.T, f *fake.Runtime) string {
	t.Helper()
	s := &server{fake: f}
	web := httptest.NewUnstartedServer(nil)
	config := streaming.DefaultConfig
	config.BaseURL = &url.URL{Scheme: "http", Host: web.Listener.Addr().String()}
	var err error
	if s.streaming, err = streaming.NewServer(config, streams{s}); err != nil {
		t.Fatal(err)
	}
	web.Config.Handler = s.streaming
	web.Start()
	t.Cleanup(web.Close)
	path := filepath.Join(t.TempDir(), "s")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer()
	api.RegisterRuntimeServiceServer(g, s)
	api.RegisterImageServiceServer(g, s)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = g.Serve(listener)
	}()
	t.Cleanup(func() { g.Stop(); <-done })
	return "unix://" + path
}

func TestContract(t *testing.T) {
	runtimetest.Run(t, func(t *testing.T) *runtimetest.Harness {
		f, err := fake.New(fake.Config{WriteLogs: true})
		if err != nil {
			t.Fatal(err)
		}
		endpoint := serve(t, f)
		open := func(t *testing.T) runtime.Runtime {
			r, err := New(Config{Endpoint: endpoint})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = r.Close() })
			return r
		}
		// Another owner's pod, which the contract must never meet.
		if _, err := f.RunSandbox(t.Context(), runtime.SandboxConfig{Pod: runtime.PodIdentity{Name: "stranger"}}); err != nil {
			t.Fatal(err)
		}
		outer := t
		return &runtimetest.Harness{
			Runtime: open(t), Image: "registry.test/server:v1", OtherImage: "registry.test/server:v2",
			MissingImage: "fake.invalid/server:v1", LogDirectory: t.TempDir(),
			Reopen:    func(*testing.T) runtime.Runtime { return openUntilEnd(outer, endpoint) },
			Simulated: true,
		}
	})
}

// openUntilEnd leaves the connection open: the suite's clearing up comes after all
// that is registered now.
func openUntilEnd(t *testing.T, endpoint string) runtime.Runtime {
	r, err := New(Config{Endpoint: endpoint})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func toStatus(err error) error {
	for sentinel, code := range map[error]codes.Code{
		runtime.ErrNotFound: codes.NotFound, runtime.ErrExists: codes.AlreadyExists, runtime.ErrState: codes.FailedPrecondition,
	} {
		if errors.Is(err, sentinel) {
			return status.Error(code, err.Error())
		}
	}
	return err
}

func (s *server) Version(context.Context, *api.VersionRequest) (*api.VersionResponse, error) {
	return &api.VersionResponse{RuntimeName: "test", RuntimeVersion: "v1.2.3"}, nil
}

func (s *server) RunPodSandbox(ctx context.Context, q *api.RunPodSandboxRequest) (*api.RunPodSandboxResponse, error) {
	c := q.Config
	n := c.GetLinux().GetSecurityContext().GetNamespaceOptions()
	id, err := s.fake.RunSandbox(ctx, runtime.SandboxConfig{
		Pod: runtime.PodIdentity{
			Name: c.Metadata.Name, Namespace: c.Metadata.Namespace, UID: c.Metadata.Uid, Attempt: c.Metadata.Attempt,
		},
		Hostname: c.Hostname, LogDirectory: c.LogDirectory, Labels: c.Labels, Annotations: c.Annotations,
		Namespaces: runtime.Namespaces{Network: runtime.NamespaceMode(n.GetNetwork()), PID: runtime.NamespaceMode(n.GetPid())},
	})
	return &api.RunPodSandboxResponse{PodSandboxId: id}, toStatus(err)
}

func (s *server) StopPodSandbox(ctx context.Context, q *api.StopPodSandboxRequest) (*api.StopPodSandboxResponse, error) {
	return &api.StopPodSandboxResponse{}, toStatus(s.fake.StopSandbox(ctx, q.PodSandboxId))
}

func (s *server) RemovePodSandbox(ctx context.Context, q *api.RemovePodSandboxRequest) (*api.RemovePodSandboxResponse, error) {
	return &api.RemovePodSandboxResponse{}, toStatus(s.fake.RemoveSandbox(ctx, q.PodSandboxId))
}

func (s *server) PodSandboxStatus(ctx context.Context, q *api.PodSandboxStatusRequest) (*api.PodSandboxStatusResponse, error) {
	sb, err := s.fake.Sandbox(ctx, q.PodSandboxId)
	if err != nil {
		return nil, toStatus(err)
	}
	out := &api.PodSandboxStatus{
		Id: sb.ID, CreatedAt: sb.CreatedAt.UnixNano(), Labels: sb.Labels, Annotations: sb.Annotations,
		Metadata: &api.PodSandboxMetadata{Name: sb.Pod.Name, Namespace: sb.Pod.Namespace, Uid: sb.Pod.UID, Attempt: sb.Pod.Attempt},
		State:    api.PodSandboxState_SANDBOX_NOTREADY, Network: &api.PodSandboxNetworkStatus{},
		Linux: &api.LinuxPodSandboxStatus{Namespaces: &api.Namespace{Options: &api.NamespaceOption{}}},
	}
	if sb.State == runtime.SandboxReady {
		out.State = api.PodSandboxState_SANDBOX_READY
	}
	if sb.HostNetwork {
		out.Linux.Namespaces.Options.Network = api.NamespaceMode_NODE
	}
	if len(sb.IPs) > 0 {
		out.Network.Ip = sb.IPs[0]
	}
	return &api.PodSandboxStatusResponse{Status: out}, nil
}

func owns(labels, selector map[string]string) bool {
	for k, v := range selector {
		if labels[k] != v {
			return false
		}
	}
	return true
}

func (s *server) ListPodSandbox(ctx context.Context, q *api.ListPodSandboxRequest) (*api.ListPodSandboxResponse, error) {
	all, err := s.fake.ListSandboxes(ctx)
	out := &api.ListPodSandboxResponse{}
	for _, sb := range all {
		if owns(sb.Labels, q.GetFilter().GetLabelSelector()) {
			out.Items = append(out.Items, &api.PodSandbox{Id: sb.ID})
		}
	}
	return out, toStatus(err)
}

func (s *server) CreateContainer(ctx context.Context, q *api.CreateContainerRequest) (*api.CreateContainerResponse, error) {
	c := q.Config
	config := runtime.ContainerConfig{
		Name: c.Metadata.Name, Attempt: c.Metadata.Attempt, Image: c.Image.Image, UserImage: c.Image.UserSpecifiedImage,
		Command: c.Command, Args: c.Args, Labels: c.Labels, Annotations: c.Annotations, LogPath: c.LogPath,
		Stdin: c.Stdin, StdinOnce: c.StdinOnce, TTY: c.Tty, Resources: resources(c.GetLinux().GetResources()),
	}
	id, err := s.fake.CreateContainer(ctx, q.PodSandboxId, config)
	return &api.CreateContainerResponse{ContainerId: id}, toStatus(err)
}

func resources(l *api.LinuxContainerResources) runtime.Resources {
	return containerOf(&api.ContainerStatus{Resources: &api.ContainerResources{Linux: l}}).Resources
}

func (s *server) StartContainer(ctx context.Context, q *api.StartContainerRequest) (*api.StartContainerResponse, error) {
	return &api.StartContainerResponse{}, toStatus(s.fake.StartContainer(ctx, q.ContainerId))
}

func (s *server) StopContainer(ctx context.Context, q *api.StopContainerRequest) (*api.StopContainerResponse, error) {
	return &api.StopContainerResponse{}, toStatus(s.fake.StopContainer(ctx, q.ContainerId, time.Duration(q.Timeout)*time.Second))
}

func (s *server) RemoveContainer(ctx context.Context, q *api.RemoveContainerRequest) (*api.RemoveContainerResponse, error) {
	return &api.RemoveContainerResponse{}, toStatus(s.fake.RemoveContainer(ctx, q.ContainerId))
}

func (s *server) ListContainers(ctx context.Context, q *api.ListContainersRequest) (*api.ListContainersResponse, error) {
	all, err := s.fake.ListContainers(ctx)
	out := &api.ListContainersResponse{}
	for _, c := range all {
		if id := q.GetFilter().GetId(); owns(c.Labels, q.GetFilter().GetLabelSelector()) && (id == "" || id == c.ID) {
			out.Containers = append(out.Containers, &api.Container{Id: c.ID, PodSandboxId: c.SandboxID})
		}
	}
	return out, toStatus(err)
}

func (s *server) ContainerStatus(ctx context.Context, q *api.ContainerStatusRequest) (*api.ContainerStatusResponse, error) {
	c, err := s.fake.Container(ctx, q.ContainerId)
	if err != nil {
		return nil, toStatus(err)
	}
	nanos := func(t time.Time) int64 {
		if t.IsZero() {
			return 0
		}
		return t.UnixNano()
	}
	return &api.ContainerStatusResponse{Status: &api.ContainerStatus{
		Id: c.ID, Metadata: &api.ContainerMetadata{Name: c.Name, Attempt: c.Attempt}, State: api.ContainerState(c.State),
		CreatedAt: nanos(c.CreatedAt), StartedAt: nanos(c.StartedAt), FinishedAt: nanos(c.FinishedAt),
		ExitCode: c.ExitCode, Reason: c.Reason, Message: c.Message, Labels: c.Labels, Annotations: c.Annotations,
		Image: &api.ImageSpec{UserSpecifiedImage: c.Image}, ImageId: c.ImageID, ImageRef: c.ImageRef, LogPath: c.LogPath,
		Resources: &api.ContainerResources{Linux: linuxResources(c.Resources)},
	}}, nil
}

func (s *server) UpdateContainerResources(ctx context.Context, q *api.UpdateContainerResourcesRequest) (*api.UpdateContainerResourcesResponse, error) {
	return &api.UpdateContainerResourcesResponse{}, toStatus(s.fake.UpdateResources(ctx, q.ContainerId, resources(q.Linux)))
}

func (s *server) ExecSync(ctx context.Context, q *api.ExecSyncRequest) (*api.ExecSyncResponse, error) {
	result, err := s.fake.ExecSync(ctx, q.ContainerId, q.Cmd, time.Duration(q.Timeout)*time.Second)
	return &api.ExecSyncResponse{Stdout: result.Stdout, Stderr: result.Stderr, ExitCode: result.ExitCode}, toStatus(err)
}

func (s *server) ContainerStats(ctx context.Context, q *api.ContainerStatsRequest) (*api.ContainerStatsResponse, error) {
	stats, err := s.fake.ContainerStats(ctx, q.ContainerId)
	if err != nil {
		return nil, toStatus(err)
	}
	return &api.ContainerStatsResponse{Stats: &api.ContainerStats{Cpu: cpu(stats), Memory: memory(stats)}}, nil
}

func (s *server) PodSandboxStats(ctx context.Context, q *api.PodSandboxStatsRequest) (*api.PodSandboxStatsResponse, error) {
	stats, err := s.fake.SandboxStats(ctx, q.PodSandboxId)
	if err != nil {
		return nil, toStatus(err)
	}
	return &api.PodSandboxStatsResponse{Stats: &api.PodSandboxStats{Linux: &api.LinuxPodSandboxStats{Cpu: cpu(stats), Memory: memory(stats)}}}, nil
}

func cpu(s *runtime.Stats) *api.CpuUsage {
	return &api.CpuUsage{Timestamp: s.Time.UnixNano(), UsageCoreNanoSeconds: &api.UInt64Value{Value: s.CPUNanos}}
}

func memory(s *runtime.Stats) *api.MemoryUsage {
	return &api.MemoryUsage{UsageBytes: &api.UInt64Value{Value: s.MemoryBytes}, WorkingSetBytes: &api.UInt64Value{Value: s.WorkingSetBytes}}
}

func (s *server) Exec(_ context.Context, q *api.ExecRequest) (*api.ExecResponse, error) {
	return s.streaming.GetExec(q)
}

func (s *server) Attach(_ context.Context, q *api.AttachRequest) (*api.AttachResponse, error) {
	return s.streaming.GetAttach(q)
}

func (s *server) PortForward(_ context.Context, q *api.PortForwardRequest) (*api.PortForwardResponse, error) {
	return s.streaming.GetPortForward(q)
}

func (s *server) PullImage(ctx context.Context, q *api.PullImageRequest) (*api.PullImageResponse, error) {
	id, err := s.fake.Pull(ctx, q.Image.Image, nil)
	return &api.PullImageResponse{ImageRef: id}, err
}

func apiImage(i runtime.Image) *api.Image {
	return &api.Image{Id: i.ID, RepoTags: i.RepoTags, RepoDigests: i.RepoDigests, Size: uint64(i.SizeBytes)}
}

func (s *server) ImageStatus(ctx context.Context, q *api.ImageStatusRequest) (*api.ImageStatusResponse, error) {
	image, err := s.fake.Image(ctx, q.Image.Image)
	if err != nil {
		return &api.ImageStatusResponse{}, nil // absent is no error in the CRI
	}
	return &api.ImageStatusResponse{Image: apiImage(*image)}, nil
}

func (s *server) ListImages(ctx context.Context, _ *api.ListImagesRequest) (*api.ListImagesResponse, error) {
	all, err := s.fake.ListImages(ctx)
	out := &api.ListImagesResponse{}
	for _, i := range all {
		out.Images = append(out.Images, apiImage(i))
	}
	return out, err
}

func (s *server) RemoveImage(ctx context.Context, q *api.RemoveImageRequest) (*api.RemoveImageResponse, error) {
	return &api.RemoveImageResponse{}, s.fake.RemoveImage(ctx, q.Image.Image)
}

func (s *server) ImageFsInfo(ctx context.Context, _ *api.ImageFsInfoRequest) (*api.ImageFsInfoResponse, error) {
	u, err := s.fake.ImageUsage(ctx)
	return &api.ImageFsInfoResponse{ImageFilesystems: []*api.FilesystemUsage{{
		FsId: &api.FilesystemIdentifier{Mountpoint: u.Mountpoint}, UsedBytes: &api.UInt64Value{Value: u.UsedBytes},
	}}}, err
}

// streams is what the streaming server calls.
type streams struct{ *server }

func streamIO(in io.Reader, out, errOut io.WriteCloser, tty bool) runtime.StreamIO {
	s := runtime.StreamIO{Stdin: in, TTY: tty}
	if out != nil {
		s.Stdout = out
	}
	if errOut != nil {
		s.Stderr = errOut
	}
	return s
}

func (s streams) Exec(ctx context.Context, id string, cmd []string, in io.Reader, out, errOut io.WriteCloser, tty bool, _ <-chan remotecommandserver.TerminalSize) error {
	err := s.fake.Exec(ctx, id, cmd, streamIO(in, out, errOut, tty))
	var exit *runtime.ExitError
	if errors.As(err, &exit) {
		return &utilexec.CodeExitError{Err: err, Code: int(exit.Code)}
	}
	return err
}

func (s streams) Attach(ctx context.Context, id string, in io.Reader, out, errOut io.WriteCloser, tty bool, _ <-chan remotecommandserver.TerminalSize) error {
	return s.fake.Attach(ctx, id, streamIO(in, out, errOut, tty))
}

func (s streams) PortForward(ctx context.Context, id string, port int32, stream io.ReadWriteCloser) error {
	return s.fake.PortForward(ctx, id, uint16(port), stream)
}

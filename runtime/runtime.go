// Package runtime is the contract between the kubelet and whatever runs pods on
// one machine: images, pod sandboxes and containers.
//
// The words are those of the CRI (https://kubernetes.io/docs/concepts/architecture/cri):
// a sandbox is the environment of a pod (its network, its shared namespaces),
// and containers run inside one. Implementations are runtime/containerd (a
// containerd on a socket, or embedded in this process), runtime/cri (anything
// that speaks CRI) and runtime/fake (a simulation). package runtimetest is the
// contract as code. A program that brings its own implements [Runtime] and, as
// far as it can, the optional interfaces [Streamer], [StatsProvider] and
// [EventSource].
//
// # Life of a sandbox and a container
//
//	RunSandbox → SandboxReady → StopSandbox → SandboxNotReady → RemoveSandbox
//	CreateContainer → ContainerCreated → StartContainer → ContainerRunning
//	  → (it ends, or StopContainer) → ContainerExited → RemoveContainer
//
// Nothing goes back. All state is kept by the runtime: a kubelet that starts
// anew learns everything from the lists. A runtime lists only what was created
// through this interface, by the same Namespace where it has such a thing.
package runtime

import (
	"context"
	"errors"
	"io"
	"time"
)

var (
	// ErrNotFound says that the sandbox, container or image does not exist.
	ErrNotFound = errors.New("runtime: not found")
	// ErrExists says that a sandbox or container of that name and attempt does.
	ErrExists = errors.New("runtime: exists already")
	// ErrState says that the operation does not fit the state: starting what
	// has started, removing what runs.
	ErrState = errors.New("runtime: not in a state for this")
	// ErrUnavailable says that the runtime could not be reached; the same call
	// may succeed later.
	ErrUnavailable = errors.New("runtime: unavailable")
	// ErrUnsupported says that this runtime cannot do that at all.
	ErrUnsupported = errors.New("runtime: unsupported")
)

// Runtime is what the kubelet needs of a machine. Methods are safe for concurrent
// use and idempotent where their comments say so; they block until done or ctx
// ends. What they return belongs to the caller.
type Runtime interface {
	Images
	Sandboxes
	Containers

	// Version names the runtime: "containerd", "2.4.2".
	Version(ctx context.Context) (Version, error)
	// Status says whether pods can run now; an error means the runtime did not
	// answer.
	Status(ctx context.Context) (Status, error)
}

// Version of a runtime.
type Version struct{ Name, Version string }

// Status of a runtime. The messages are for people.
type Status struct {
	RuntimeReady   bool
	RuntimeMessage string
	NetworkReady   bool
	NetworkMessage string
}

// Images keeps the machine's images.
type Images interface {
	// Pull fetches an image and returns its ID. Errors are a *[PullError].
	// Pulling what is there again refreshes a tag.
	Pull(ctx context.Context, ref string, auth *RegistryAuth) (id string, err error)
	// Image looks up a reference, digest or ID; [ErrNotFound] where it is not here.
	Image(ctx context.Context, ref string) (*Image, error)
	ListImages(ctx context.Context) ([]Image, error)
	// RemoveImage removes an image by reference or ID, with all its names.
	// Absent is no error.
	RemoveImage(ctx context.Context, ref string) error
	// ImageUsage is the space that images and container layers take.
	ImageUsage(ctx context.Context) (FilesystemUsage, error)
}

// RegistryAuth is how to log in to a registry. The zero value is anonymous.
type RegistryAuth struct {
	Username, Password string
	// IdentityToken is exchanged for an access token; RegistryToken is one.
	IdentityToken, RegistryToken string
}

// PullError says why a pull failed, in a form the kubelet can show.
type PullError struct {
	Ref string
	// Reason of the pod status: ErrImagePull, InvalidImageName,
	// RegistryUnavailable, SignatureValidationFailed.
	Reason string
	Err    error
}

func (e *PullError) Error() string { return e.Err.Error() }
func (e *PullError) Unwrap() error { return e.Err }

// Image is one image on the machine.
type Image struct {
	// ID is the digest of the image's configuration: "sha256:...".
	ID          string
	RepoTags    []string
	RepoDigests []string
	SizeBytes   int64
	// User that the image says to run as: UID where it is a number, else
	// Username ("" is root).
	UID      *int64
	Username string
	Pinned   bool
}

// FilesystemUsage of a filesystem that the runtime uses.
type FilesystemUsage struct {
	Mountpoint            string
	UsedBytes, InodesUsed uint64
}

// Sandboxes makes and ends pods' environments.
type Sandboxes interface {
	// RunSandbox makes and starts a sandbox. The same name, UID and Attempt
	// twice is [ErrExists].
	RunSandbox(ctx context.Context, config SandboxConfig) (id string, err error)
	// StopSandbox stops the sandbox's containers by force and gives back its
	// network. Idempotent; [ErrNotFound] counts as stopped and is not returned.
	StopSandbox(ctx context.Context, id string) error
	// RemoveSandbox stops and removes the sandbox with its containers. Idempotent.
	RemoveSandbox(ctx context.Context, id string) error
	// Sandbox reports one; [ErrNotFound] where there is none.
	Sandbox(ctx context.Context, id string) (*Sandbox, error)
	// ListSandboxes reports all, in any state.
	ListSandboxes(ctx context.Context) ([]Sandbox, error)
}

// PodIdentity names the pod that a sandbox is of.
type PodIdentity struct {
	Name, Namespace, UID string
	// Attempt counts the sandboxes of the pod, from 0.
	Attempt uint32
}

// SandboxConfig is what a sandbox is made from.
type SandboxConfig struct {
	Pod PodIdentity
	// Hostname in the UTS namespace; empty with HostNetwork.
	Hostname string
	// LogDirectory holds the containers' logs.
	LogDirectory string
	DNS          *DNSConfig
	Ports        []PortMapping
	Labels       map[string]string
	Annotations  map[string]string
	// CgroupParent is the pod's cgroup, made by the kubelet; empty lets the
	// runtime choose.
	CgroupParent string
	// RuntimeHandler of the pod's RuntimeClass; empty is the default.
	RuntimeHandler string
	Namespaces     Namespaces
	// Sysctls of the pod's namespaces.
	Sysctls  map[string]string
	Security SecurityContext
}

// NamespaceMode says with whom a namespace is shared.
type NamespaceMode uint8

const (
	NamespacePod       NamespaceMode = iota // shared by the pod's containers
	NamespaceContainer                      // the container's own
	NamespaceNode                           // the machine's
	NamespaceTarget                         // another container's: Namespaces.TargetID
)

// Namespaces of a sandbox or a container. The zero value, corrected to PID
// NamespaceContainer, is an ordinary pod's.
type Namespaces struct {
	Network, PID, IPC NamespaceMode
	TargetID          string
	// UserHost is true without a user namespace (the default of Kubernetes).
	UserHost bool
}

// DNSConfig is what resolv.conf of a pod says; nil copies the machine's.
type DNSConfig struct{ Servers, Searches, Options []string }

// PortMapping forwards a port of the machine to one of the pod.
type PortMapping struct {
	Protocol                string // TCP, UDP or SCTP
	HostIP                  string
	HostPort, ContainerPort int32
}

// SandboxState of a sandbox.
type SandboxState uint8

const (
	SandboxNotReady SandboxState = iota
	SandboxReady
)

// Sandbox is what a runtime reports of one.
type Sandbox struct {
	ID    string
	Pod   PodIdentity
	State SandboxState
	// IPs of the pod, the primary first; empty with the machine's network.
	IPs         []string
	CreatedAt   time.Time
	Labels      map[string]string
	Annotations map[string]string
	HostNetwork bool
	// NetworkNamespace is a path that can be entered; empty where there is none.
	NetworkNamespace string
}

// Containers makes, starts and ends containers.
type Containers interface {
	// CreateContainer makes a container inside a sandbox that is ready.
	CreateContainer(ctx context.Context, sandboxID string, config ContainerConfig) (id string, err error)
	// StartContainer starts what was created: [ErrState] on anything else.
	StartContainer(ctx context.Context, id string) error
	// StopContainer sends the stop signal (the image's, or TERM), waits up to
	// grace, then kills, and returns when the container has exited. grace 0
	// kills at once. Idempotent, absent is no error.
	StopContainer(ctx context.Context, id string, grace time.Duration) error
	// RemoveContainer removes a container that does not run, with its log.
	// A running one is stopped by force first. Idempotent.
	RemoveContainer(ctx context.Context, id string) error
	// Container reports one; [ErrNotFound] where there is none.
	Container(ctx context.Context, id string) (*Container, error)
	// ListContainers reports all, in any state.
	ListContainers(ctx context.Context) ([]Container, error)
	// UpdateResources changes the limits of a running container.
	UpdateResources(ctx context.Context, id string, resources Resources) error
	// ExecSync runs a command and waits for it, at most timeout (0: no limit;
	// context.DeadlineExceeded when it is over, and the command is killed).
	// Each output is cut after 16 MiB. A command that fails is no error.
	ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (ExecResult, error)
	// ReopenLog makes the container's log file anew after a rotation.
	ReopenLog(ctx context.Context, id string) error
}

// ContainerConfig is what a container is made from.
type ContainerConfig struct {
	Name string
	// Attempt counts the containers of that name in the pod, from 0.
	Attempt uint32
	// Image is the ID or reference of an image on the machine. UserImage is
	// what the pod asked for, kept for reports.
	Image, UserImage string
	// Command replaces the image's entry point, Args its arguments; nil keeps.
	Command, Args []string
	WorkingDir    string
	Env           []EnvVar
	Mounts        []Mount
	Devices       []Device
	Labels        map[string]string
	Annotations   map[string]string
	// LogPath below the sandbox's LogDirectory, in the CRI's log format; empty
	// keeps no log.
	LogPath          string
	Stdin, StdinOnce bool
	TTY              bool
	Resources        Resources
	Namespaces       Namespaces
	Security         SecurityContext
	// StopSignal overrides the image's: "SIGTERM"; empty keeps it.
	StopSignal string
}

// EnvVar is one variable of the environment.
type EnvVar struct{ Name, Value string }

// Propagation of mounts.
type Propagation uint8

const (
	PropagationPrivate Propagation = iota
	PropagationHostToContainer
	PropagationBidirectional
)

// Mount is a directory or file of the machine inside a container.
type Mount struct {
	HostPath, ContainerPath string
	ReadOnly                bool
	RecursiveReadOnly       bool
	Propagation             Propagation
}

// Device is a device of the machine inside a container. Permissions are cgroup
// permissions: a subset of "rwm".
type Device struct{ HostPath, ContainerPath, Permissions string }

// Resources are limits of a container, in the kernel's units; zero means none.
type Resources struct {
	CPUShares          int64 // relative weight, cgroup v1 units (2 to 262144)
	CPUQuota           int64 // µs of CPU time in each CPUPeriod
	CPUPeriod          int64 // µs
	MemoryLimitBytes   int64
	OOMScoreAdj        int64
	CpusetCPUs         string
	CpusetMems         string
	HugepageLimitBytes map[string]int64  // by page size: "2MB"
	Unified            map[string]string // cgroup v2 files
}

// SecurityContext of a container or a sandbox. The zero value drops nothing that
// the runtime grants by default.
type SecurityContext struct {
	Privileged         bool
	RunAsUser          *int64
	RunAsUsername      string
	RunAsGroup         *int64
	SupplementalGroups []int64
	ReadonlyRootfs     bool
	NoNewPrivileges    bool
	AddCapabilities    []string // without the CAP_ prefix; "ALL" means all
	DropCapabilities   []string
	// Seccomp and AppArmor: "" or "runtime/default", "unconfined",
	// "localhost/<profile>".
	Seccomp, AppArmor string
	SELinux           *SELinuxOptions
	MaskedPaths       []string
	ReadonlyPaths     []string
}

// SELinuxOptions label a container.
type SELinuxOptions struct{ User, Role, Type, Level string }

// ContainerState of a container.
type ContainerState uint8

const (
	ContainerCreated ContainerState = iota
	ContainerRunning
	ContainerExited
	ContainerUnknown
)

// Container is what a runtime reports of one.
type Container struct {
	ID, SandboxID string
	Name          string
	Attempt       uint32
	State         ContainerState
	// Image is the reference the pod asked for, ImageID and ImageRef (repo
	// digest) what it is.
	Image, ImageID, ImageRef         string
	CreatedAt, StartedAt, FinishedAt time.Time
	ExitCode                         int32
	// Reason of an exit: Completed, Error, OOMKilled, ContainerCannotRun,
	// StartError. Message is for people.
	Reason, Message string
	Labels          map[string]string
	Annotations     map[string]string
	LogPath         string // absolute
	Mounts          []Mount
	Resources       Resources
}

// ExecResult of a command.
type ExecResult struct {
	Stdout, Stderr []byte
	ExitCode       int32
}

// TerminalSize in characters.
type TerminalSize struct{ Width, Height uint16 }

// StreamIO connects a command or a container to a client. Nil streams are not
// connected; with TTY, Stderr is nil.
type StreamIO struct {
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	TTY            bool
	// Resize delivers new sizes until it is closed; nil: none come.
	Resize <-chan TerminalSize
}

// ExitError is a command that ended with another status than 0.
type ExitError struct{ Code int32 }

func (e *ExitError) Error() string { return "command terminated with a non-zero exit code" }

// Streamer is implemented by runtimes that serve kubectl exec, attach and
// port-forward. The methods block until the stream ends.
type Streamer interface {
	// Exec runs a command; a status other than 0 is an *[ExitError].
	Exec(ctx context.Context, containerID string, cmd []string, io StreamIO) error
	// Attach connects to the container's first process.
	Attach(ctx context.Context, containerID string, io StreamIO) error
	// PortForward connects stream with a TCP port inside the sandbox.
	PortForward(ctx context.Context, sandboxID string, port uint16, stream io.ReadWriteCloser) error
}

// Stats of one container or a whole sandbox, at one time.
type Stats struct {
	Time             time.Time
	CPUNanos         uint64 // used since it started
	MemoryBytes      uint64 // usage
	WorkingSetBytes  uint64 // usage less what can be given back at once
	WritableBytes    uint64
	RxBytes, TxBytes uint64 // sandboxes only
}

// StatsProvider is implemented by runtimes that measure what containers use.
type StatsProvider interface {
	ContainerStats(ctx context.Context, id string) (*Stats, error)
	SandboxStats(ctx context.Context, id string) (*Stats, error)
}

// Event says that something about a pod changed: read it again.
type Event struct {
	SandboxID   string
	ContainerID string // empty where it is about the sandbox
}

// EventSource is implemented by runtimes that tell of changes as they happen.
// Without it the kubelet lists every second.
type EventSource interface {
	// Events delivers until ctx ends, then closes the channel. A slow receiver
	// may lose events: the kubelet still lists now and then.
	Events(ctx context.Context) (<-chan Event, error)
}

package kubelet

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/record"

	"github.com/strake-io/strake/kubelet/machine"
	"github.com/strake-io/strake/kubelet/probes"
	"github.com/strake-io/strake/kubelet/volumes"
	"github.com/strake-io/strake/runtime"
)

// Version that nodes report.
const Version = "v1.37.0+strake"

// Config of a [Kubelet].
type Config struct {
	// Client of the API. Required.
	Client kubernetes.Interface
	// Runtime that runs the pods. Required.
	Runtime runtime.Runtime

	// HostnameOverride names the node; by default it is the machine's host name
	// in lower case.
	HostnameOverride string
	// Cloud provides what a cloud knows of its machine: name, addresses, zone.
	// nil: there is no cloud.
	Cloud Cloud
	// NodeIP are the node's addresses, the primary first; by default the machine's.
	NodeIP []string
	// NodeLabels and RegisterTaints of a node that registers. The labels are also
	// kept on a node that exists.
	NodeLabels     map[string]string
	RegisterTaints []corev1.Taint
	// Port of the kubelet's own server, to be published in the node's status; 0:
	// there is none.
	Port int32

	// Machine tells the capacity; by default the machine is read. Give a
	// machine.Facts to claim something else.
	Machine machine.Source
	// MaxPods on this node; 110 by default.
	MaxPods int
	// PodCIDR is reported by the API's node once it is given; this value is for
	// networks without a controller that hands out ranges: it is written to
	// the spec of a node that registers.
	PodCIDR string
	// Reserved is kept from pods: allocatable is capacity less this.
	Reserved corev1.ResourceList

	// RootDir for volumes, hosts files and termination messages, an absolute path.
	// Empty touches no file at all: for simulated nodes.
	RootDir string
	// PodLogsDir for containers' logs; "/var/log/pods" where there is a RootDir.
	PodLogsDir string
	// ContainerLogMaxBytes is the size at which a container's log is rotated, 10 MiB
	// by default; ContainerLogMaxFiles how many of them are kept, 5 by default and
	// at least 2; ContainerLogMonitorInterval how often they are looked at, 10 s by
	// default. Only where there is a PodLogsDir.
	ContainerLogMaxBytes        int64
	ContainerLogMaxFiles        int
	ContainerLogMonitorInterval time.Duration
	// Volumes of pods. By default those of package volumes below RootDir,
	// simulated where that is empty.
	Volumes Volumes
	// Objects are the config maps and secrets that pods name. By default the
	// kubelet keeps its own; several kubelets in one process may share one, whose
	// owner runs it.
	Objects *volumes.Objects
	// Services that pods get variables for. By default the kubelet watches them
	// itself; several kubelets in one process may share a lister.
	Services ServiceLister
	// ProbeHandler makes the probes of containers. By default they go over the
	// network and through the runtime; simulated nodes (no RootDir) take what
	// their pods serve for healthy.
	ProbeHandler probes.Handler
	// Cgroups of pods; nil leaves pods' groups to the runtime.
	Cgroups Cgroups

	// ClusterDNS are the servers of pods' resolv.conf; ClusterDomain is
	// "cluster.local" by default.
	ClusterDNS    []string
	ClusterDomain string
	// ResolvConf of the machine; "/etc/resolv.conf" where there is a RootDir.
	ResolvConf string

	// RelistPeriod is how often everything is listed from a runtime with events,
	// 30 s by default; one without is listed every second.
	RelistPeriod time.Duration
	// NodeStatusUpdateFrequency is how often the node's state is looked at, 10 s
	// by default; NodeStatusReportFrequency how often it is written where nothing
	// changed, 5 min by default.
	NodeStatusUpdateFrequency, NodeStatusReportFrequency time.Duration
	// LeaseDuration after which the node counts as lost, 40 s by default; the
	// lease is renewed after a quarter of it.
	LeaseDuration time.Duration
	// ParallelPulls is how many images are pulled at the same time; 4 by default.
	ParallelPulls int
	// StatusWriters is how many pod statuses are written at the same time; 8 by
	// default.
	StatusWriters int

	// Events of pods and the node go here; by default they are written through
	// Client.
	Events record.EventRecorder
	// Logger; the zero value is silent.
	Logger logr.Logger
	// Rand spreads periodic work; by default seeded at random.
	Rand *rand.Rand
	// Registerer of metrics; nil: none.
	Registerer prometheus.Registerer
}

// Cloud is what a cloud provider's logic adds to a node. Methods are called as the
// node registers, and again whenever its status is written.
type Cloud interface {
	// Node describes this machine's instance.
	Node(ctx context.Context) (CloudNode, error)
}

// CloudNode describes an instance; what is empty is left as it would be.
type CloudNode struct {
	// Name of the Node object; HostnameOverride does not win over it.
	Name string
	// ProviderID names the instance: "<provider>://<id>".
	ProviderID   string
	InstanceType string
	Zone, Region string
	Addresses    []corev1.NodeAddress
}

// Volumes sets up what containers mount. *volumes.Manager is one.
type Volumes interface {
	// SetUp makes the pod's volumes exist and returns their paths by name.
	SetUp(ctx context.Context, pod *corev1.Pod) (map[string]string, error)
	// ContainerMounts are the mounts of one container.
	ContainerMounts(pod *corev1.Pod, container *corev1.Container, paths map[string]string, env []runtime.EnvVar) ([]runtime.Mount, error)
	// TearDown takes a pod's volumes away; what is not there is no error.
	TearDown(ctx context.Context, uid types.UID) error
	// CleanOrphans tears down all pods on disk that are not kept.
	CleanOrphans(ctx context.Context, keep func(types.UID) bool) error
}

// Cgroups of pods. *cgroups.Manager is one.
type Cgroups interface {
	// EnsurePod makes a pod's group and returns its path.
	EnsurePod(ctx context.Context, pod *corev1.Pod) (string, error)
	// UpdateClasses follows what the pods of a class request together.
	UpdateClasses(pods []*corev1.Pod) error
	// RemovePod removes a pod's groups. Idempotent.
	RemovePod(ctx context.Context, uid string) error
	// Pods lists the UIDs that have groups.
	Pods() ([]string, error)
}

// ServiceLister lists services. Every corelisters.ServiceLister is one.
type ServiceLister interface {
	List(selector labels.Selector) ([]*corev1.Service, error)
}

// complete validates a configuration and fills in what is not set.
func (c *Config) complete() error {
	if c.Client == nil || c.Runtime == nil {
		return errors.New("kubelet: Config.Client and Config.Runtime are required")
	}
	if c.RootDir != "" && !filepath.IsAbs(c.RootDir) {
		return fmt.Errorf("kubelet: Config.RootDir %q is not absolute", c.RootDir)
	}
	if c.Machine == nil {
		c.Machine = machine.Local{Dir: c.RootDir}
	}
	name := c.HostnameOverride
	if name == "" {
		name = c.Machine.Facts().Hostname
	}
	if name == "" {
		name, _ = os.Hostname()
	}
	c.HostnameOverride = strings.ToLower(strings.TrimSpace(name))
	if c.HostnameOverride == "" && c.Cloud == nil {
		return errors.New("kubelet: the machine has no host name, and Config.HostnameOverride is empty")
	}
	if c.RootDir != "" {
		c.PodLogsDir = or(c.PodLogsDir, "/var/log/pods")
		c.ResolvConf = or(c.ResolvConf, "/etc/resolv.conf")
	}
	c.MaxPods = or(c.MaxPods, 110)
	c.ClusterDomain = or(c.ClusterDomain, "cluster.local")
	c.RelistPeriod = or(c.RelistPeriod, 30*time.Second)
	c.NodeStatusUpdateFrequency = or(c.NodeStatusUpdateFrequency, 10*time.Second)
	c.NodeStatusReportFrequency = or(c.NodeStatusReportFrequency, 5*time.Minute)
	c.LeaseDuration = or(c.LeaseDuration, 40*time.Second)
	c.ParallelPulls = or(c.ParallelPulls, 4)
	c.StatusWriters = or(c.StatusWriters, 8)
	if c.ProbeHandler == nil {
		if c.RootDir == "" {
			c.ProbeHandler = probes.AlwaysSuccess{Exec: c.Runtime}
		} else {
			c.ProbeHandler = &probes.NetworkHandler{Exec: c.Runtime}
		}
	}
	if c.Rand == nil {
		c.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	return nil
}

func or[T comparable](v, otherwise T) T {
	var zero T
	if v == zero {
		return otherwise
	}
	return v
}

package volumes

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"sync"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/strake-io/strake/runtime"
)

// Config configures a [Manager].
type Config struct {
	// Root is the kubelet's directory, an absolute path; pods' volumes are
	// below Root/pods. Required unless Simulate.
	Root string
	// Objects gives ConfigMaps and Secrets. Required. The caller runs it.
	Objects *Objects
	// Tokens mints service account tokens; nil makes volumes that need one fail.
	Tokens TokenSource
	// Allocatable of the node stands for limits that containers do not set, and
	// bounds volumes in memory. Nil means unknown.
	Allocatable func() corev1.ResourceList
	// Mounter; nil is [SystemMounter].
	Mounter Mounter
	// RefreshPeriod is how often volumes with tokens are looked at. Default 1
	// minute. Changes of objects need no period: they are watched.
	RefreshPeriod time.Duration
	// Rand spreads token refreshes; nil is a source of its own.
	Rand *rand.Rand
	// Simulate checks that what volumes refer to exists, and touches no disk:
	// for nodes that only simulate pods.
	Simulate bool
	// Logger; the zero value is silent.
	Logger logr.Logger
}

// Manager sets up, refreshes and tears down the volumes of a node's pods. Safe
// for concurrent use; calls about one pod wait for each other.
type Manager struct {
	cfg    Config
	tokens tokens
	wake   chan struct{}

	warnOnce sync.Once // tmpfs not permitted

	mu sync.Mutex // guards all below
	// pods that are set up. A pod's own lock comes before this one.
	pods map[types.UID]*podVolumes
	// dirty pods refer to an object that changed.
	dirty map[types.UID]bool
}

type podVolumes struct {
	mu   sync.Mutex // held for the whole of a set-up or tear-down
	pod  *corev1.Pod
	gone bool
}

// New validates the configuration.
func New(cfg Config) (*Manager, error) {
	if cfg.Objects == nil {
		return nil, errors.New("volumes: Config.Objects is required")
	}
	if !cfg.Simulate && !filepath.IsAbs(cfg.Root) {
		return nil, fmt.Errorf("volumes: Config.Root must be an absolute path, not %q", cfg.Root)
	}
	if cfg.Mounter == nil {
		cfg.Mounter = SystemMounter()
	}
	if cfg.RefreshPeriod == 0 {
		cfg.RefreshPeriod = time.Minute
	}
	if cfg.Allocatable == nil {
		cfg.Allocatable = func() corev1.ResourceList { return nil }
	}
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))
	}
	m := &Manager{
		cfg:   cfg,
		wake:  make(chan struct{}, 1),
		pods:  map[types.UID]*podVolumes{},
		dirty: map[types.UID]bool{},
	}
	var randMu sync.Mutex // guards cfg.Rand
	m.tokens = tokens{source: cfg.Tokens, held: map[tokenKey]heldToken{}, jitter: func() time.Duration {
		randMu.Lock()
		defer randMu.Unlock()
		return time.Duration(cfg.Rand.Int64N(int64(10 * time.Second)))
	}}
	return m, nil
}

// SetUpError says that one volume could not be set up. It may work later: the
// caller tries again with back-off.
type SetUpError struct {
	Volume string
	Err    error
}

func (e *SetUpError) Error() string {
	return fmt.Sprintf("MountVolume.SetUp failed for volume %q : %v", e.Volume, e.Err)
}

func (e *SetUpError) Unwrap() error { return e.Err }

// SetUp makes the volumes that a pod's containers mount exist with their current
// content, and returns their host paths by volume name. It is idempotent; call
// it again when the pod changed. From then on the volumes follow the objects
// that they show, while [Manager.Run] runs, until TearDown. The error joins one
// *[SetUpError] for each volume that failed; the others are set up.
func (m *Manager) SetUp(ctx context.Context, pod *corev1.Pod) (map[string]string, error) {
	pv := m.lockPod(pod.UID, true)
	defer pv.mu.Unlock()
	pv.pod = pod
	m.cfg.Objects.Register(pod)
	return m.setUpLocked(ctx, pod)
}

// lockPod returns the pod's state, locked. Without create it is nil for an unknown
// pod.
func (m *Manager) lockPod(uid types.UID, create bool) *podVolumes {
	for {
		m.mu.Lock()
		pv := m.pods[uid]
		if pv == nil {
			if !create {
				m.mu.Unlock()
				return nil
			}
			pv = &podVolumes{}
			m.pods[uid] = pv
		}
		m.mu.Unlock()
		pv.mu.Lock()
		if !pv.gone {
			return pv
		}
		pv.mu.Unlock()
	}
}

// ContainerMounts computes a container's mounts (see [Mounts]) and resolves
// their sub-paths on disk, without ever leaving the volume.
func (m *Manager) ContainerMounts(pod *corev1.Pod, container *corev1.Container, paths map[string]string, env []runtime.EnvVar) ([]runtime.Mount, error) {
	mounts, err := Mounts(pod, container, paths, env)
	if err != nil {
		return nil, err
	}
	out := make([]runtime.Mount, len(mounts))
	for i, cm := range mounts {
		if cm.SubPath != "" {
			if m.cfg.Simulate {
				cm.HostPath = filepath.Join(cm.HostPath, filepath.FromSlash(cm.SubPath))
			} else {
				target := m.subPathTarget(m.podDir(pod.UID), cm.Volume, container.Name, cm.Index)
				cm.HostPath, err = resolveSubPath(m.cfg.Mounter, cm.HostPath, cm.SubPath, target)
				if err != nil {
					return nil, err
				}
			}
		}
		out[i] = cm.Mount
	}
	return out, nil
}

func (m *Manager) podDir(uid types.UID) string {
	return filepath.Join(m.cfg.Root, "pods", string(uid))
}

// Run refreshes volumes whose objects change and renews tokens, until ctx ends.
func (m *Manager) Run(ctx context.Context) error {
	cancel := m.cfg.Objects.Subscribe(m.changed)
	defer cancel()
	ticker := time.NewTicker(m.cfg.RefreshPeriod)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.wake:
		case <-ticker.C:
			m.markTokens()
		}
		m.mu.Lock()
		dirty := m.dirty
		m.dirty = map[types.UID]bool{}
		m.mu.Unlock()
		for uid := range dirty {
			m.refresh(ctx, uid)
		}
	}
}

// changed marks the pods that show an object.
func (m *Manager) changed(ref Ref) {
	users := m.cfg.Objects.users(ref)
	m.mu.Lock()
	for _, uid := range users {
		if m.pods[uid] != nil {
			m.dirty[uid] = true
		}
	}
	m.mu.Unlock()
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// markTokens marks the pods that have tokens.
func (m *Manager) markTokens() {
	for _, uid := range m.tokens.pods() {
		m.mu.Lock()
		if m.pods[uid] != nil {
			m.dirty[uid] = true
		}
		m.mu.Unlock()
	}
}

func (m *Manager) refresh(ctx context.Context, uid types.UID) {
	pv := m.lockPod(uid, false)
	if pv == nil {
		return
	}
	defer pv.mu.Unlock()
	if pv.pod == nil {
		return
	}
	if _, err := m.setUpLocked(ctx, pv.pod); err != nil && ctx.Err() == nil {
		m.cfg.Logger.Info("could not refresh volumes", "namespace", pv.pod.Namespace, "pod", pv.pod.Name, "err", err)
	}
}

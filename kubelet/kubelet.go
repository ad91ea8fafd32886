package kubelet

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/record"

	"github.com/strake-io/strake/internal/eventrecorder"
	"github.com/strake-io/strake/kubelet/containerspec"
	"github.com/strake-io/strake/kubelet/lifecycle"
	"github.com/strake-io/strake/kubelet/logs"
	"github.com/strake-io/strake/kubelet/probes"
	"github.com/strake-io/strake/kubelet/volumes"
	"github.com/strake-io/strake/runtime"
)

// Kubelet is one node. Its methods are safe for concurrent use.
type Kubelet struct {
	cfg      Config
	log      logr.Logger
	events   record.EventRecorder
	recorder *eventrecorder.Recorder // nil where events are the caller's
	objects  *volumes.Objects
	ownObjects,
	ownVolumes bool
	hooks    *lifecycle.Runner
	rotator  *logs.Rotator // nil where containers keep no logs
	probes   *probes.Manager
	seen     *observer
	statuses *statusWriter
	pokes    *pokes
	group    *group
	services ServiceLister
	// servicesSynced is closed when the kubelet's own watch of services has
	// listed them; nil where the caller's lister is used.
	servicesSynced <-chan struct{}
	serviceWatch   cache.Controller
	pulls          chan struct{} // one slot for each pull at the same time
	ready          chan struct{}
	nodeChanged    chan struct{}
	node           atomic.Pointer[corev1.Node]
	facts          atomic.Pointer[containerspec.Node]
	name           atomic.Pointer[string] // of the runtime
	ran            atomic.Bool

	// intake is held while a pod is taken up or let go, so that none is twice.
	intake sync.Mutex

	mu   sync.Mutex // guards what follows, and cfg.Rand
	pods map[types.UID]*worker
	// early collects pods until the first list is complete (listed).
	early   map[types.UID]*corev1.Pod
	listed  bool
	listErr error
}

// New validates the configuration. It opens and starts nothing.
func New(c Config) (*Kubelet, error) {
	if err := c.complete(); err != nil {
		return nil, err
	}
	k := &Kubelet{cfg: c, log: c.Logger, events: c.Events, objects: c.Objects, services: c.Services, group: &group{}, pokes: newPokes(),
		pulls: make(chan struct{}, c.ParallelPulls), ready: make(chan struct{}), nodeChanged: make(chan struct{}, 1),
		pods: map[types.UID]*worker{}, early: map[types.UID]*corev1.Pod{}}
	k.facts.Store(&containerspec.Node{})
	var err error
	if k.events == nil {
		if k.recorder, err = eventrecorder.NewFromConfig(eventrecorder.Config{Client: c.Client, Component: "kubelet", Host: c.HostnameOverride, Logger: c.Logger}); err != nil {
			return nil, fmt.Errorf("kubelet: %w", err)
		}
		k.events = k.recorder
	}
	if k.objects == nil {
		k.ownObjects = true
		if k.objects, err = volumes.NewObjects(volumes.ObjectsConfig{Client: c.Client, Logger: c.Logger}); err != nil {
			return nil, fmt.Errorf("kubelet: %w", err)
		}
	}
	if c.Volumes == nil {
		k.ownVolumes = true
		k.cfg.Volumes, err = volumes.New(volumes.Config{Root: c.RootDir, Simulate: c.RootDir == "", Objects: k.objects, Logger: c.Logger,
			Tokens: tokens{c.Client}, Allocatable: func() corev1.ResourceList { return k.facts.Load().Allocatable }})
		if err != nil {
			return nil, fmt.Errorf("kubelet: %w", err)
		}
	}
	if k.hooks, err = lifecycle.New(lifecycle.Config{Executor: c.Runtime}); err != nil {
		return nil, fmt.Errorf("kubelet: %w", err)
	}
	if c.PodLogsDir != "" {
		if k.rotator, err = logs.NewRotator(logs.RotatorConfig{Containers: c.Runtime, MaxSizeBytes: c.ContainerLogMaxBytes,
			MaxFiles: c.ContainerLogMaxFiles, Period: c.ContainerLogMonitorInterval, Logger: c.Logger}); err != nil {
			return nil, fmt.Errorf("kubelet: %w", err)
		}
	}
	if k.probes, err = k.newProbes(); err != nil {
		return nil, fmt.Errorf("kubelet: %w", err)
	}
	k.seen = newObserver(c.Runtime, k.poke)
	k.statuses = newStatusWriter(c.Client, c.Logger, c.StatusWriters, k.group)
	if k.services == nil {
		k.services, k.serviceWatch = k.serviceInformer()
	}
	return k, nil
}

// Ready is closed once the node is registered and the pods of the API are known.
func (k *Kubelet) Ready() <-chan struct{} { return k.ready }

// Run is the node's life: it registers, runs pods and reports until ctx ends. The
// pods go on when it returns; a later kubelet takes them over. It can run once.
func (k *Kubelet) Run(ctx context.Context) error {
	if k.ran.Swap(true) {
		return errors.New("kubelet: Run was called twice")
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	// First stop what makes work, then join the workers.
	defer func() {
		cancel()
		wg.Wait()
		k.group.Wait()
		k.stopTimers()
	}()
	wg.Go(func() { k.dispatch(ctx) })
	if k.recorder != nil {
		wg.Go(func() { _ = k.recorder.Run(ctx) })
	}
	if !k.registered(ctx) {
		return nil
	}
	k.birthEvents()
	wg.Go(func() { k.heartbeat(ctx) })
	if k.ownObjects {
		wg.Go(func() { _ = k.objects.Run(ctx) })
	}
	if runner, ok := k.cfg.Volumes.(interface{ Run(context.Context) error }); ok && k.ownVolumes {
		wg.Go(func() { _ = runner.Run(ctx) })
	}
	wg.Go(func() { _ = k.probes.Run(ctx) })
	if k.rotator != nil {
		wg.Go(func() { _ = k.rotator.Run(ctx) })
	}
	if k.serviceWatch != nil {
		synced := make(chan struct{})
		k.servicesSynced = synced
		wg.Go(func() { k.serviceWatch.RunWithContext(ctx) })
		wg.Go(func() {
			if k.waitSynced(ctx, k.serviceWatch) {
				close(synced)
			}
		})
	}
	listed := make(chan struct{})
	var once sync.Once
	wg.Go(func() {
		k.seen.run(ctx, k.cfg.RelistPeriod, func(err error) {
			k.listDone(err)
			if err == nil {
				once.Do(func() { close(listed) })
				k.orphans()
			}
		})
	})
	pods := k.podInformer(k.podHandler(ctx))
	wg.Go(func() { pods.RunWithContext(ctx) })
	select {
	case <-listed:
	case <-ctx.Done():
		return nil
	}
	if !k.waitSynced(ctx, pods) {
		return nil
	}
	k.adopt(ctx)
	k.orphans()
	k.cleanUp(ctx)
	close(k.ready)
	<-ctx.Done()
	return nil
}

// registered registers the node, for as long as it takes; false if ctx ended.
func (k *Kubelet) registered(ctx context.Context) bool {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 7*time.Second) {
		err := k.register(ctx)
		if err == nil {
			return true
		}
		k.log.Info("node not registered yet", "err", err.Error())
		select {
		case <-ctx.Done():
			return false
		case <-time.After(k.spread(wait)):
		}
	}
}

func (k *Kubelet) waitSynced(ctx context.Context, c cache.Controller) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !c.HasSynced() {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
	}
	return true
}

// cleanUp removes volumes and groups of pods that are not there any more. Pods
// that still have containers are ended first, like any other.
func (k *Kubelet) cleanUp(ctx context.Context) {
	known := func(uid types.UID) bool {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.pods[uid] != nil
	}
	if err := k.cfg.Volumes.CleanOrphans(ctx, known); err != nil && ctx.Err() == nil {
		k.log.Info("volumes of pods that are gone remain", "err", err.Error())
	}
	if k.cfg.Cgroups == nil {
		return
	}
	uids, err := k.cfg.Cgroups.Pods()
	for _, uid := range uids {
		if !known(types.UID(uid)) {
			err = errors.Join(err, k.cfg.Cgroups.RemovePod(ctx, uid))
		}
	}
	if err != nil && ctx.Err() == nil {
		k.log.Info("cgroups of pods that are gone remain", "err", err.Error())
	}
}

// stopTimers ends what would poke pods later.
func (k *Kubelet) stopTimers() {
	workers := k.workers()
	for _, w := range workers {
		w.mu.Lock()
		if w.timer != nil {
			w.timer.Stop()
		}
		w.mu.Unlock()
	}
}

// listDone notes whether the runtime could be listed; a change is told at once.
func (k *Kubelet) listDone(err error) {
	k.mu.Lock()
	changed := (err == nil) != (k.listErr == nil)
	k.listErr = err
	k.mu.Unlock()
	if changed {
		select {
		case k.nodeChanged <- struct{}{}:
		default:
		}
	}
}

func (k *Kubelet) lastList() error {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.listErr
}

func (k *Kubelet) nodeFacts() containerspec.Node { return *k.facts.Load() }
func (k *Kubelet) hostIPs() []string             { return k.facts.Load().HostIPs }

func (k *Kubelet) nodeName() string {
	if node := k.node.Load(); node != nil {
		return node.Name
	}
	return k.cfg.HostnameOverride
}

// Node is the node's object as it was read or written last; nil before the node
// is registered. Read-only.
func (k *Kubelet) Node() *corev1.Node { return k.node.Load() }

// NodeName is the name of the node's object.
func (k *Kubelet) NodeName() string { return k.nodeName() }

// runtimeName begins the IDs of containers.
func (k *Kubelet) runtimeName() string {
	if name := k.name.Load(); name != nil {
		return *name
	}
	return "containerd"
}

func (k *Kubelet) setRuntimeName(name string) {
	if name != "" {
		k.name.Store(&name)
	}
}

// hostDNS reads the machine's resolv.conf.
func (k *Kubelet) hostDNS() *runtime.DNSConfig {
	if k.cfg.ResolvConf == "" {
		return nil
	}
	data, err := os.ReadFile(k.cfg.ResolvConf)
	if err != nil {
		return nil
	}
	return containerspec.ParseResolvConf(string(data))
}

// removeLogs of a pod that is gone.
func (k *Kubelet) removeLogs(pod *corev1.Pod) {
	if k.cfg.PodLogsDir == "" || pod.Name == "" || pod.UID == "" {
		return
	}
	if err := os.RemoveAll(containerspec.LogDirectory(k.cfg.PodLogsDir, pod)); err != nil {
		k.log.Info("logs of a pod that is gone remain", "err", err.Error())
	}
}

// tokens mints service account tokens for volumes.
type tokens struct{ client kubernetes.Interface }

// Token implements volumes.TokenSource.
func (t tokens) Token(ctx context.Context, pod *corev1.Pod, audience string, seconds int64) (string, time.Time, error) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		ExpirationSeconds: &seconds,
		BoundObjectRef:    &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: pod.Name, UID: pod.UID},
	}}
	if audience != "" {
		request.Spec.Audiences = []string{audience}
	}
	got, err := t.client.CoreV1().ServiceAccounts(pod.Namespace).CreateToken(ctx, or(pod.Spec.ServiceAccountName, "default"), request, metav1.CreateOptions{})
	if err != nil {
		return "", time.Time{}, err
	}
	return got.Status.Token, got.Status.ExpirationTimestamp.Time, nil
}

package containerd

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/api/types/task"
	"github.com/containerd/containerd/v2/core/containers"
	sandboxstore "github.com/containerd/containerd/v2/core/sandbox"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"google.golang.org/protobuf/types/known/anypb"

	"github.com/strake-io/strake/runtime"
	"github.com/strake-io/strake/runtime/network"
)

// extension is where a record hangs on containerd's sandbox or container.
const extension = "strake.io/record"

// sandboxRecord is what is kept of a sandbox.
type sandboxRecord struct {
	Config    runtime.SandboxConfig
	CreatedAt time.Time
	IPs       []string
	// Ready is false until it is wholly made, and after it was stopped.
	Ready bool
	// PausePID is the process that holds a shared PID namespace; 0: none.
	PausePID int
}

// containerRecord is what is kept of a container. Its times say its state: none of
// StartedAt and FinishedAt, created; only StartedAt, running (unless its task is
// gone); both, exited.
type containerRecord struct {
	SandboxID                        string
	Config                           runtime.ContainerConfig // without command and environment
	ImageID, ImageRef                string
	LogPath                          string // absolute
	StopSignal                       string
	CgroupPath                       string
	CreatedAt, StartedAt, FinishedAt time.Time
	ExitCode                         int32
	Reason, Message                  string
}

func encode(record any) (typeurl.Any, error) {
	body, err := json.Marshal(record)
	if err != nil {
		return nil, err
	}
	return &anypb.Any{TypeUrl: extension, Value: body}, nil
}

func decode(extensions map[string]typeurl.Any, record any) error {
	body, ok := extensions[extension]
	if !ok {
		return fmt.Errorf("no record: %w", errdefs.ErrNotFound)
	}
	return json.Unmarshal(body.GetValue(), record)
}

// saveSandbox writes a sandbox's record, the first time or again.
func (r *Runtime) saveSandbox(ctx context.Context, id string, record sandboxRecord, first bool) error {
	body, err := encode(record)
	if err != nil {
		return err
	}
	s := sandboxstore.Sandbox{
		ID: id, Runtime: sandboxstore.RuntimeOpts{Name: r.config.Shim}, Sandboxer: "strake",
		Extensions: map[string]typeurl.Any{extension: body},
		Labels: map[string]string{
			"io.kubernetes.pod.name": record.Config.Pod.Name, "io.kubernetes.pod.namespace": record.Config.Pod.Namespace,
		},
	}
	if first {
		_, err = r.client.SandboxStore().Create(ctx, s)
	} else {
		_, err = r.client.SandboxStore().Update(ctx, s, "extensions."+extension)
	}
	return failure(err)
}

// saveContainer writes a container's record again.
func (r *Runtime) saveContainer(ctx context.Context, id string, record containerRecord) error {
	body, err := encode(record)
	if err != nil {
		return err
	}
	_, err = r.client.ContainerService().Update(ctx,
		containers.Container{ID: id, Extensions: map[string]typeurl.Any{extension: body}}, "extensions."+extension)
	return failure(err)
}

// A containerd that starts removes the shims of tasks that have ended meanwhile, and
// their exit status with them, unless a sandbox has the shim's name. So each
// container that runs has such a record beside it; it carries nothing else.

// keepsExit labels such a record.
const keepsExit = "strake.io/keeps-exit"

// keepExit makes containerd keep a container's exit status over its own restart.
func (r *Runtime) keepExit(ctx context.Context, id string) error {
	_, err := r.client.SandboxStore().Create(ctx, sandboxstore.Sandbox{
		ID: id, Runtime: sandboxstore.RuntimeOpts{Name: r.config.Shim}, Sandboxer: "strake",
		Labels: map[string]string{keepsExit: "true"},
	})
	if errdefs.IsAlreadyExists(err) {
		return nil
	}
	return failure(err)
}

// dropExit undoes keepExit, once the exit is in the container's record.
func (r *Runtime) dropExit(ctx context.Context, id string) error {
	if err := r.client.SandboxStore().Delete(ctx, id); err != nil && !errdefs.IsNotFound(err) {
		return failure(err)
	}
	return nil
}

// newID makes an identifier as containerd's users expect it.
func newID() (string, error) {
	var b [32]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", err
	}
	return hex.EncodeToString(b[:]), nil
}

// load reads all records and finds what still runs. It returns the containers that
// someone must follow.
func (r *Runtime) load(ctx context.Context) ([]*container, error) {
	stored, err := r.client.SandboxStore().List(ctx)
	if err != nil && !errdefs.IsNotFound(err) {
		return nil, err
	}
	var ids []string
	keeping := map[string]bool{}
	for _, s := range stored {
		if s.Labels[keepsExit] != "" {
			keeping[s.ID] = true
		}
		var record sandboxRecord
		if err := decode(s.Extensions, &record); err != nil {
			continue // not ours
		}
		sb := &sandbox{id: s.ID, record: record, containers: map[string]*container{}}
		sb.ready = record.Ready && sb.namespacesAlive(r.sandboxDir(s.ID))
		r.sandboxes[s.ID] = sb
		r.names[identity(record.Config.Pod)] = struct{}{}
		ids = append(ids, s.ID)
	}
	if keeper, ok := r.config.Network.(network.Retainer); ok {
		if err := keeper.Retain(ctx, ids); err != nil {
			r.log.Error(err, "giving back what crashed pods held of the network")
		}
	}
	records, err := r.client.ContainerService().List(ctx)
	if err != nil {
		return nil, err
	}
	var running []*container
	for _, stored := range records {
		c := &container{id: stored.ID, exited: make(chan struct{})}
		if err := decode(stored.Extensions, &c.record); err != nil {
			continue // not ours
		}
		c.sandbox = r.sandboxes[c.record.SandboxID]
		if c.sandbox == nil {
			// Its sandbox was removed and the removal was cut short.
			if err := r.discard(ctx, c); err != nil {
				r.log.Error(err, "removing a container without a sandbox", "container", c.id)
			}
			continue
		}
		r.containers[c.id] = c
		c.sandbox.containers[c.id] = c
		follow, err := r.adopt(ctx, c)
		if err != nil {
			return nil, fmt.Errorf("container %s: %w", c.id, err)
		}
		if follow {
			running = append(running, c)
			delete(keeping, c.id)
		}
	}
	for id := range keeping {
		if err := r.dropExit(ctx, id); err != nil {
			return nil, err
		}
	}
	r.sweep()
	return running, nil
}

// sweep removes the FIFOs of commands that were under way when the last process was
// killed, and those of containers that are no more.
func (r *Runtime) sweep() {
	entries, err := os.ReadDir(filepath.Dir(r.fifoDir("any")))
	if err != nil {
		return // there are none yet
	}
	for _, e := range entries {
		if r.containers[e.Name()] == nil {
			_ = os.RemoveAll(r.fifoDir(e.Name()))
		}
	}
}

// adopt finds out what became of a container while nobody looked.
func (r *Runtime) adopt(ctx context.Context, c *container) (follow bool, err error) {
	if !c.record.FinishedAt.IsZero() {
		c.finish()
		return false, nil
	}
	response, err := r.tasks.Get(ctx, &tasks.GetRequest{ContainerID: c.id})
	err = errgrpc.ToNative(err)
	switch {
	case errdefs.IsNotFound(err) && c.record.StartedAt.IsZero():
		return false, nil // created, never started
	case errdefs.IsNotFound(err):
		// The machine restarted, or the shim was killed.
		c.record.FinishedAt, c.record.ExitCode = time.Now(), 255
		c.record.Reason, c.record.Message = "Unknown", "the container ended while nothing watched it"
		c.finish()
		return false, r.saveContainer(ctx, c.id, c.record)
	case err != nil:
		return false, err
	case response.Process.Status == task.Status_CREATED:
		// The start was cut short: it can be done anew.
		_, err := r.tasks.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: c.id})
		if err = errgrpc.ToNative(err); err != nil && !errdefs.IsNotFound(err) {
			return false, err
		}
		return false, nil
	}
	if c.record.StartedAt.IsZero() {
		c.record.StartedAt = time.Now()
		if err := r.saveContainer(ctx, c.id, c.record); err != nil {
			return false, err
		}
	}
	c.pid = response.Process.Pid
	c.streams, err = openStreams(r.fifoDir(c.id), c.record.Config.Stdin, c.record.Config.TTY)
	if err != nil {
		return false, err
	}
	c.state = runtime.ContainerRunning
	return true, nil
}

func (r *Runtime) sandboxDir(id string) string { return filepath.Join(r.config.State, "sandboxes", id) }
func (r *Runtime) fifoDir(id string) string    { return filepath.Join(r.config.State, "io", id) }

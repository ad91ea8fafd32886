package containerd

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"time"

	tasks "github.com/containerd/containerd/api/services/tasks/v1"
	"github.com/containerd/containerd/v2/core/mount"
	"github.com/containerd/errdefs"
	"github.com/containerd/errdefs/pkg/errgrpc"
	"github.com/containerd/typeurl/v2"
	"golang.org/x/sys/unix"

	"github.com/strake-io/strake/runtime"
)

// StartContainer implements [runtime.Containers].
func (r *Runtime) StartContainer(ctx context.Context, id string) error {
	ctx, err := r.begin(ctx)
	if err != nil {
		return err
	}
	c, err := r.find(id, runtime.ContainerCreated)
	if err != nil {
		return err
	}
	c.starting.Lock()
	defer c.starting.Unlock()
	if _, err := r.find(id, runtime.ContainerCreated); err != nil {
		return err // somebody was faster
	}
	r.mu.Lock()
	ready := c.sandbox.ready
	r.mu.Unlock()
	if !ready {
		return fmt.Errorf("container %q: its sandbox is not ready: %w", id, runtime.ErrState)
	}
	if err := r.launch(ctx, c); err != nil {
		undo, cancel := detached(ctx)
		defer cancel()
		if derr := r.deleteTask(undo, id); derr != nil {
			r.log.Error(derr, "clearing up a failed start", "container", id)
		}
		if ctx.Err() != nil || errors.Is(err, runtime.ErrUnavailable) {
			return fmt.Errorf("container %q: %w", id, err) // it can be tried again
		}
		r.mu.Lock()
		c.record.StartedAt = time.Now()
		c.record.FinishedAt = c.record.StartedAt
		c.record.ExitCode, c.record.Reason, c.record.Message = 128, "StartError", err.Error()
		record := c.record
		c.finish()
		r.mu.Unlock()
		if serr := errors.Join(r.saveContainer(undo, id, record), r.dropExit(undo, id)); serr != nil {
			r.log.Error(serr, "recording a failed start", "container", id)
		}
		r.publish(runtime.Event{SandboxID: record.SandboxID, ContainerID: id})
		return err
	}
	select {
	case r.watch <- c:
	case <-r.stopped:
		// The next Run adopts it.
		c.streams.close()
	}
	r.publish(runtime.Event{SandboxID: c.record.SandboxID, ContainerID: id})
	return nil
}

// launch makes and starts the task. On success the container runs and is recorded.
func (r *Runtime) launch(ctx context.Context, c *container) error {
	mounts, err := r.client.SnapshotService(r.snapshotter).Mounts(ctx, c.id)
	if err != nil {
		return failure(err)
	}
	fifos, err := openStreams(r.fifoDir(c.id), c.record.Config.Stdin, c.record.Config.TTY)
	if err != nil {
		return err
	}
	kept := make(chan error, 1)
	go func() { kept <- r.keepExit(ctx, c.id) }()
	created, err := r.tasks.Create(ctx, &tasks.CreateTaskRequest{
		ContainerID: c.id, Rootfs: mount.ToProto(mounts), Terminal: fifos.tty,
		Stdin: fifos.path("stdin"), Stdout: fifos.path("stdout"), Stderr: fifos.path("stderr"),
	})
	keptErr := <-kept
	if err == nil && keptErr != nil {
		err = keptErr
	}
	if err != nil {
		fifos.close()
		return fmt.Errorf("failed to create containerd task: %w", failure(errgrpc.ToNative(err)))
	}
	// From before the start: the process may end before the call returns.
	started := time.Now()
	if _, err := r.tasks.Start(ctx, &tasks.StartRequest{ContainerID: c.id}); err != nil {
		fifos.close()
		return fmt.Errorf("failed to start containerd task %q: %w", c.id, failure(errgrpc.ToNative(err)))
	}
	r.mu.Lock()
	c.pid, c.streams = created.Pid, fifos
	c.hub = newHub(fifos, nil)
	c.record.StartedAt = started
	c.state = runtime.ContainerRunning
	record := c.record
	r.mu.Unlock()
	if err := r.saveContainer(ctx, c.id, record); err != nil {
		// It runs all the same; adopting it later only guesses its start time.
		r.log.Error(err, "recording a start", "container", c.id)
	}
	return nil
}

// follow carries a running container's output and records its end. It returns when
// that is done, or ctx ends.
func (r *Runtime) follow(ctx context.Context, c *container) {
	output, err := openLog(c.record.LogPath)
	if err != nil {
		r.log.Error(err, "opening a log: the container's output is lost", "container", c.id)
		output = &logFile{}
	}
	defer output.close()
	r.mu.Lock()
	if c.hub == nil {
		c.hub = newHub(c.streams, output)
	}
	c.hub.log = output
	h := c.hub
	r.mu.Unlock()

	copied := make(chan struct{})
	carrying, release := context.WithCancel(ctx)
	defer release()
	go func() {
		defer close(copied)
		h.copy(carrying)
	}()
	code, at, err := r.awaitExit(ctx, c.id, "")
	if err != nil {
		c.streams.close()
		<-copied
		return
	}
	oom := c.oom.Load() || oomKilled(c.record.CgroupPath)
	// Deleting waits until the shim has passed on all output.
	if err := r.deleteTask(ctx, c.id); err != nil && ctx.Err() == nil {
		r.log.Error(err, "deleting a task that ended", "container", c.id)
	}
	select {
	case <-copied:
	case <-time.After(10 * time.Second):
		r.log.Info("the output of a container that ended did not", "container", c.id)
	case <-ctx.Done():
	}
	// A client that is attached and does not read must not keep the end back.
	release()
	c.streams.close()
	<-copied
	if ctx.Err() != nil {
		return // adopted and judged by the next Run
	}
	c.streams.remove()

	r.mu.Lock()
	c.record.FinishedAt, c.record.ExitCode = at, code
	c.record.Reason = exitReason(code, oom)
	record := c.record
	r.mu.Unlock()
	if err := r.saveContainer(ctx, c.id, record); err != nil && !errors.Is(err, runtime.ErrNotFound) {
		r.log.Error(err, "recording an exit", "container", c.id)
	} else if err := r.dropExit(ctx, c.id); err != nil {
		r.log.Error(err, "recording an exit", "container", c.id)
	}
	r.mu.Lock()
	c.finish()
	c.streams, c.hub = nil, nil
	r.mu.Unlock()
	r.publish(runtime.Event{SandboxID: record.SandboxID, ContainerID: c.id})
}

// exitReason words an exit as the pod's status does.
func exitReason(code int32, oom bool) string {
	switch {
	case oom && code != 0:
		return "OOMKilled"
	case code == 0:
		return "Completed"
	}
	return "Error"
}

// awaitExit waits for a process; an error means that ctx ended.
func (r *Runtime) awaitExit(ctx context.Context, id, execID string) (int32, time.Time, error) {
	for delay := 100 * time.Millisecond; ; delay = min(2*delay, 5*time.Second) {
		response, err := r.tasks.Wait(ctx, &tasks.WaitRequest{ContainerID: id, ExecID: execID})
		if err == nil {
			at := time.Now()
			if response.ExitedAt.IsValid() && response.ExitedAt.AsTime().Unix() > 0 {
				at = response.ExitedAt.AsTime()
			}
			return int32(response.ExitStatus), at, nil
		}
		if ctx.Err() != nil {
			return 0, time.Time{}, ctx.Err()
		}
		if errdefs.IsNotFound(errgrpc.ToNative(err)) {
			return 255, time.Now(), nil // the shim is gone, and the process with it
		}
		r.log.V(1).Info("waiting for a process", "container", id, "error", err.Error())
		if err := sleep(ctx, delay); err != nil {
			return 0, time.Time{}, err
		}
	}
}

// deleteTask removes a container's task and shim, killing what runs. Absent is fine.
func (r *Runtime) deleteTask(ctx context.Context, id string) error {
	_, err := r.tasks.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
	err = errgrpc.ToNative(err)
	if errdefs.IsFailedPrecondition(err) {
		if err := r.kill(ctx, id, unix.SIGKILL, true); err != nil {
			return err
		}
		if _, _, err := r.awaitExit(ctx, id, ""); err != nil {
			return err
		}
		_, err = r.tasks.Delete(ctx, &tasks.DeleteTaskRequest{ContainerID: id})
		err = errgrpc.ToNative(err)
	}
	if err != nil && !errdefs.IsNotFound(err) {
		return failure(err)
	}
	return nil
}

// kill sends a signal; a process that is gone is fine.
func (r *Runtime) kill(ctx context.Context, id string, signal syscall.Signal, all bool) error {
	_, err := r.tasks.Kill(ctx, &tasks.KillRequest{ContainerID: id, Signal: uint32(signal), All: all})
	if err = errgrpc.ToNative(err); err != nil && !errdefs.IsNotFound(err) && !errdefs.IsFailedPrecondition(err) {
		return failure(err)
	}
	return nil
}

// StopContainer implements [runtime.Containers].
func (r *Runtime) StopContainer(ctx context.Context, id string, grace time.Duration) error {
	ctx, err := r.begin(ctx)
	if err != nil {
		return err
	}
	c, err := r.find(id, runtime.ContainerRunning)
	if err != nil {
		return nil // absent, never started, or over
	}
	if grace > 0 {
		if err := r.kill(ctx, id, stopSignal(c.record.StopSignal), false); err != nil {
			return fmt.Errorf("container %s: %w", id, err)
		}
		timer := time.NewTimer(grace)
		defer timer.Stop()
		select {
		case <-c.exited:
			return nil
		case <-timer.C:
		case <-r.stopped:
			return fmt.Errorf("container %s: %w", id, runtime.ErrUnavailable)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if err := r.kill(ctx, id, unix.SIGKILL, true); err != nil {
		return fmt.Errorf("container %s: %w", id, err)
	}
	select {
	case <-c.exited:
		return nil
	case <-r.stopped:
		return fmt.Errorf("container %s: %w", id, runtime.ErrUnavailable)
	case <-ctx.Done():
		return fmt.Errorf("container %s was killed and has not ended: %w", id, ctx.Err())
	}
}

// stopSignal reads "SIGTERM", "TERM" or "15"; anything else is SIGTERM.
func stopSignal(name string) syscall.Signal {
	if n, err := strconv.Atoi(name); err == nil && n > 0 && n < 65 {
		return syscall.Signal(n)
	}
	name = strings.ToUpper(name)
	if s := unix.SignalNum("SIG" + strings.TrimPrefix(name, "SIG")); s != 0 {
		return s
	}
	if base, offset, ok := strings.Cut(strings.TrimPrefix(name, "SIG"), "RTMIN+"); ok && base == "" {
		if n, err := strconv.Atoi(offset); err == nil && n >= 0 && n <= 30 {
			return syscall.Signal(34 + n)
		}
	}
	return unix.SIGTERM
}

// UpdateResources implements [runtime.Containers].
func (r *Runtime) UpdateResources(ctx context.Context, id string, resources runtime.Resources) error {
	ctx, err := r.begin(ctx)
	if err != nil {
		return err
	}
	c, err := r.find(id, runtime.ContainerRunning)
	if err != nil {
		return err
	}
	limits, err := typeurl.MarshalAnyToProto(linuxResources(resources, r.nodeFacts()))
	if err != nil {
		return err
	}
	if _, err := r.tasks.Update(ctx, &tasks.UpdateTaskRequest{ContainerID: id, Resources: limits}); err != nil {
		return fmt.Errorf("container %s: %w", id, failure(errgrpc.ToNative(err)))
	}
	r.mu.Lock()
	c.record.Config.Resources = resources
	record := c.record
	r.mu.Unlock()
	return r.saveContainer(ctx, id, record)
}

// ReopenLog implements [runtime.Containers].
func (r *Runtime) ReopenLog(ctx context.Context, id string) error {
	if _, err := r.begin(ctx); err != nil {
		return err
	}
	c, err := r.find(id, runtime.ContainerRunning)
	if err != nil {
		return err
	}
	r.mu.Lock()
	var log *logFile
	if c.hub != nil {
		log = c.hub.log
	}
	r.mu.Unlock()
	if log == nil {
		return nil // Run opens it in a moment, by its new name
	}
	return log.reopen()
}

package probes

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/strake-io/strake/runtime"
)

// Outcome of one probe.
type Outcome uint8

const (
	OutcomeSuccess Outcome = iota
	// OutcomeWarning counts as success and is told in an event.
	OutcomeWarning
	OutcomeFailure
	// OutcomeUnknown says that the probe itself could not be made (the runtime
	// did not answer): it counts for nothing.
	OutcomeUnknown
)

// Target is what is probed.
type Target struct {
	Pod         *corev1.Pod
	Container   *corev1.Container
	ContainerID string
	// PodIP is the primary address; the machine's with hostNetwork.
	PodIP string
}

// Handler makes one probe. It returns in the probe's timeout, and is safe for
// concurrent use. The message is for people: what the container answered, or
// what went wrong.
type Handler interface {
	Probe(ctx context.Context, kind Kind, probe *corev1.Probe, target Target) (Outcome, string)
}

// Execer runs commands in containers; every runtime.Runtime is one.
type Execer interface {
	ExecSync(ctx context.Context, id string, cmd []string, timeout time.Duration) (runtime.ExecResult, error)
}

// AlwaysSuccess is the Handler of simulated pods: what they serve cannot be
// reached, and they are always well. Commands are still run where Exec is set,
// since a simulated runtime can say what becomes of them.
type AlwaysSuccess struct{ Exec Execer }

// Probe implements [Handler].
func (a AlwaysSuccess) Probe(ctx context.Context, _ Kind, probe *corev1.Probe, target Target) (Outcome, string) {
	if probe.Exec == nil || a.Exec == nil {
		return OutcomeSuccess, ""
	}
	outcome, message := execProbe(ctx, a.Exec, probe, target)
	if outcome == OutcomeUnknown {
		return OutcomeSuccess, ""
	}
	return outcome, message
}

// maxOutput is how much of an answer is kept for messages.
const maxOutput = 10 << 10

func timeoutOf(probe *corev1.Probe) time.Duration {
	return time.Duration(max(probe.TimeoutSeconds, 1)) * time.Second
}

func execProbe(ctx context.Context, execer Execer, probe *corev1.Probe, target Target) (Outcome, string) {
	timeout := timeoutOf(probe)
	command := expandCommand(probe.Exec.Command, target.Container.Env)
	result, err := execer.ExecSync(ctx, target.ContainerID, command, timeout)
	output := append(append([]byte(nil), result.Stdout...), result.Stderr...)
	if len(output) > maxOutput {
		output = output[:maxOutput]
	}
	switch {
	case ctx.Err() != nil:
		return OutcomeUnknown, ctx.Err().Error()
	case errors.Is(err, context.DeadlineExceeded):
		return OutcomeFailure, fmt.Sprintf("command timed out: %q timed out after %v", strings.Join(command, " "), timeout)
	case err != nil:
		return OutcomeUnknown, err.Error()
	case result.ExitCode != 0:
		return OutcomeFailure, string(output)
	}
	return OutcomeSuccess, string(output)
}

// expandCommand replaces $(NAME) by the container's plain variables, as in its
// own command; what is not known stays as it is.
func expandCommand(command []string, env []corev1.EnvVar) []string {
	values := map[string]string{}
	for _, e := range env {
		if e.ValueFrom == nil {
			values[e.Name] = e.Value
		}
	}
	out := make([]string, len(command))
	for i, arg := range command {
		var b strings.Builder
		for rest := arg; rest != ""; {
			at := strings.IndexByte(rest, '$')
			if at < 0 || at+1 == len(rest) {
				b.WriteString(rest)
				break
			}
			b.WriteString(rest[:at])
			rest = rest[at:]
			if rest[1] == '$' {
				b.WriteByte('$')
				rest = rest[2:]
				continue
			}
			end := strings.IndexByte(rest, ')')
			if rest[1] != '(' || end < 0 {
				b.WriteByte('$')
				rest = rest[1:]
				continue
			}
			if value, ok := values[rest[2:end]]; ok {
				b.WriteString(value)
			} else {
				b.WriteString(rest[:end+1])
			}
			rest = rest[end+1:]
		}
		out[i] = b.String()
	}
	return out
}

// Port resolves a probe's port: a number, or the name of one of the container's
// ports.
func Port(port intstr.IntOrString, c *corev1.Container) (int, error) {
	n := -1
	if port.Type == intstr.Int {
		n = port.IntValue()
	} else {
		for _, p := range c.Ports {
			if p.Name == port.StrVal {
				n = int(p.ContainerPort)
			}
		}
		if n < 0 {
			// A number in quotes is taken too.
			if _, err := fmt.Sscanf(port.StrVal, "%d", &n); err != nil {
				return 0, fmt.Errorf("couldn't find port %q in container %q", port.StrVal, c.Name)
			}
		}
	}
	if n <= 0 || n > 65535 {
		return 0, fmt.Errorf("invalid port number: %v", n)
	}
	return n, nil
}

package fake

import (
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/strake-io/strake/runtime"
)

// Annotations of a pod (or a container) that say how its containers behave. With
// ".NAME" added, one is of the container of that name alone.
const (
	// AnnotationRunFor is how long a container runs before it ends by itself:
	// "30s". Without, it runs until it is stopped.
	AnnotationRunFor = "fake.strake.io/run-for"
	// AnnotationExitCode is the status it ends with; default 0.
	AnnotationExitCode = "fake.strake.io/exit-code"
	// AnnotationOOMKilled, "true", makes it end as one that ran out of memory.
	AnnotationOOMKilled = "fake.strake.io/oom-killed"
	// AnnotationStartError is the message of a container that can't be started.
	AnnotationStartError = "fake.strake.io/start-error"
	// AnnotationIgnoreTerm, "true", makes it wait for SIGKILL.
	AnnotationIgnoreTerm = "fake.strake.io/ignore-term"
)

// Behaviour is what a simulated container does.
type Behaviour struct {
	// Ends says that it ends by itself, RunFor after its start.
	Ends   bool
	RunFor time.Duration
	// ExitCode it ends with, by itself or after SIGTERM.
	ExitCode int32
	// OOMKilled makes the end one by lack of memory (137).
	OOMKilled bool
	// StartError, if not empty, fails the start with this message.
	StartError string
	// IgnoreTerm makes StopContainer wait out its whole grace.
	IgnoreTerm bool
	// Output is written to the log at the start.
	Output, ErrorOutput string
}

// Program is what a command does, for the few commands that the fake runtime
// knows (those of Strake's test image): echo, write, exit, true, false, sleep,
// ignoreterm, onterm; and the same inside `sh -c "a; b"`. Any other runs for ever.
func Program(command []string) Behaviour {
	b, _ := program(command)
	return b
}

// program also says whether the command is known.
func program(command []string) (b Behaviour, known bool) {
	if len(command) == 0 {
		return Behaviour{}, false
	}
	args := command[1:]
	switch path.Base(command[0]) {
	case "sh":
		if len(args) == 2 && args[0] == "-c" {
			return script(args[1]), true
		}
	case "program":
		return program(args)
	case "echo":
		return Behaviour{Ends: true, Output: strings.Join(args, " ") + "\n"}, true
	case "write":
		b := Behaviour{Ends: true}
		if len(args) > 0 {
			b.Output = args[0] + "\n"
		}
		if len(args) > 1 {
			b.ErrorOutput = args[1] + "\n"
		}
		return b, true
	case "true":
		return Behaviour{Ends: true}, true
	case "false":
		return Behaviour{Ends: true, ExitCode: 1}, true
	case "exit":
		return Behaviour{Ends: true, ExitCode: number(args)}, true
	case "sleep":
		b := Behaviour{ExitCode: 143}
		if len(args) > 0 {
			if d, err := time.ParseDuration(args[0]); err == nil {
				return Behaviour{Ends: true, RunFor: d}, true
			}
			if s, err := strconv.ParseFloat(args[0], 64); err == nil && s >= 0 && s < 1e9 {
				return Behaviour{Ends: true, RunFor: time.Duration(s * float64(time.Second))}, true
			}
		}
		return b, true
	case "ignoreterm":
		return Behaviour{IgnoreTerm: true, Output: "ignoring\n"}, true
	case "onterm":
		return Behaviour{ExitCode: number(args), Output: "waiting\n"}, true
	}
	return Behaviour{}, false
}

// script joins the behaviours of commands between semicolons.
func script(text string) Behaviour {
	var all Behaviour
	for line := range strings.SplitSeq(strings.ReplaceAll(text, "\n", ";"), ";") {
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		b := Program(words)
		all.Output += b.Output
		all.ErrorOutput += b.ErrorOutput
		all.RunFor += b.RunFor
		all.ExitCode, all.IgnoreTerm, all.Ends = b.ExitCode, b.IgnoreTerm, b.Ends
		if !b.Ends || words[0] == "exit" {
			break
		}
	}
	return all
}

func number(args []string) int32 {
	if len(args) == 0 {
		return 0
	}
	n, err := strconv.ParseInt(args[0], 10, 32)
	if err != nil {
		return 0
	}
	return int32(n)
}

// behaviour decides from the command, then the annotations of the pod, then those
// of the container.
func behaviour(config runtime.ContainerConfig, pod map[string]string) Behaviour {
	command := append(append([]string(nil), config.Command...), config.Args...)
	b := Program(command)
	for _, annotations := range []map[string]string{pod, config.Annotations} {
		get := func(name string) (string, bool) {
			if v, ok := annotations[name+"."+config.Name]; ok {
				return v, true
			}
			v, ok := annotations[name]
			return v, ok
		}
		if v, ok := get(AnnotationRunFor); ok {
			if d, err := time.ParseDuration(v); err == nil {
				b.Ends, b.RunFor = true, d
			}
		}
		if v, ok := get(AnnotationExitCode); ok {
			b.ExitCode = number([]string{v})
		}
		if v, ok := get(AnnotationOOMKilled); ok {
			b.OOMKilled = v == "true"
		}
		if v, ok := get(AnnotationStartError); ok {
			b.StartError = v
		}
		if v, ok := get(AnnotationIgnoreTerm); ok {
			b.IgnoreTerm = v == "true"
		}
	}
	return b
}

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
)

// shell understands just enough of sh for tests: words, quotes, $NAME, ; and &&,
// > and >>, and the tools of this binary. Without -c it reads lines from stdin.
func shell(args []string) int {
	if len(args) >= 2 && args[0] == "-c" {
		code, _ := script(args[1])
		return code
	}
	in := bufio.NewScanner(os.Stdin)
	code := 0
	for in.Scan() {
		var ended bool
		if code, ended = script(in.Text()); ended {
			return code
		}
	}
	return code
}

// script runs a line; ended says that it said "exit".
func script(text string) (code int, ended bool) {
	for _, command := range split(text) {
		if command.and && code != 0 {
			continue
		}
		if len(command.words) == 0 {
			continue
		}
		if command.words[0] == "exit" {
			if len(command.words) > 1 {
				return exit(command.words[1:]), true
			}
			return code, true
		}
		code = run(command)
	}
	return code, false
}

type command struct {
	words   []string
	and     bool // runs only when the one before succeeded
	out     string
	appends bool
}

func run(c command) int {
	stdout := os.Stdout
	if c.out != "" {
		mode := os.O_CREATE | os.O_WRONLY | os.O_TRUNC
		if c.appends {
			mode = os.O_CREATE | os.O_WRONLY | os.O_APPEND
		}
		f, err := os.OpenFile(c.out, mode, 0o644)
		if err != nil {
			return fail(err)
		}
		defer f.Close()
		stdout = f
	}
	if _, ok := tools()[filepath.Base(c.words[0])]; !ok {
		fmt.Fprintf(os.Stderr, "sh: %s: not found\n", c.words[0])
		return 127
	}
	cmd := exec.Command("/proc/self/exe", c.words...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, stdout, os.Stderr
	if err := cmd.Start(); err != nil {
		return fail(err)
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	defer signal.Stop(term)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case <-term:
		_ = cmd.Process.Signal(syscall.SIGTERM)
		<-done
	case <-done:
	}
	return cmd.ProcessState.ExitCode()
}

func split(text string) []command {
	var commands []command
	var current command
	var word strings.Builder
	inWord, redirect := false, false
	flush := func() {
		if !inWord {
			return
		}
		if redirect {
			current.out, redirect = word.String(), false
		} else {
			current.words = append(current.words, word.String())
		}
		word.Reset()
		inWord = false
	}
	next := func(and bool) {
		flush()
		commands = append(commands, current)
		current = command{and: and}
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == ' ' || c == '\t':
			flush()
		case c == ';' || c == '\n':
			next(false)
		case c == '&' && strings.HasPrefix(text[i:], "&&"):
			i++
			next(true)
		case c == '>':
			flush()
			redirect = true
			if strings.HasPrefix(text[i:], ">>") {
				current.appends = true
				i++
			}
		case c == '\'' || c == '"':
			end := strings.IndexByte(text[i+1:], c)
			if end < 0 {
				end = len(text) - i - 1
			}
			quoted := text[i+1 : i+1+end]
			if c == '"' {
				quoted = os.ExpandEnv(quoted)
			}
			word.WriteString(quoted)
			inWord = true
			i += end + 1
		case c == '$':
			end := i + 1
			for end < len(text) && (text[end] == '_' || text[end] >= 'A' && text[end] <= 'Z' || text[end] >= 'a' && text[end] <= 'z' || text[end] >= '0' && text[end] <= '9') {
				end++
			}
			word.WriteString(os.Getenv(text[i+1 : end]))
			inWord = true
			i = end - 1
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	next(false)
	return commands
}

// Command program is the only program inside the test images: a server and a
// handful of tools under one binary, chosen by the name it is called under or by
// its first argument.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"sort"
)

// tools is the table of sub-commands. Each returns its exit status.
func tools() map[string]func(args []string) int {
	return map[string]func(args []string) int{
		"serve": serve, "sh": shell, "cat": cat, "ls": ls, "env": env, "sleep": sleep,
		"echo": echo, "id": id, "touch": touch, "hostname": hostname, "exit": exit,
		"true": func([]string) int { return 0 }, "false": func([]string) int { return 1 },
		"tick": tick, "alloc": alloc, "ignoreterm": ignoreTerm, "onterm": onTerm,
		"tty": tty, "write": write, "pwd": pwd, "wget": wget, "pids": pids, "burn": burn, "tar": tape,
	}
}

func main() {
	args := os.Args
	table := tools()
	if _, ok := table[filepath.Base(args[0])]; !ok {
		args = args[1:]
	}
	if len(args) == 0 {
		args = []string{"serve"}
	}
	tool, ok := table[filepath.Base(args[0])]
	if !ok {
		names := make([]string, 0, len(table))
		for name := range table {
			names = append(names, name)
		}
		sort.Strings(names)
		fmt.Fprintf(os.Stderr, "%s: not known; there are: %v\n", args[0], names)
		os.Exit(127)
	}
	os.Exit(tool(args[1:]))
}

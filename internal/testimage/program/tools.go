package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

func fail(err error) int {
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func cat(args []string) int {
	if len(args) == 0 {
		if _, err := io.Copy(os.Stdout, os.Stdin); err != nil {
			return fail(err)
		}
	}
	for _, name := range args {
		f, err := os.Open(name)
		if err != nil {
			return fail(err)
		}
		_, err = io.Copy(os.Stdout, f)
		f.Close()
		if err != nil {
			return fail(err)
		}
	}
	return 0
}

func ls(args []string) int {
	long := false
	var dirs []string
	for _, a := range args {
		if strings.HasPrefix(a, "-") {
			long = long || strings.Contains(a, "l")
			continue
		}
		dirs = append(dirs, a)
	}
	if len(dirs) == 0 {
		dirs = []string{"."}
	}
	for _, dir := range dirs {
		entries, err := os.ReadDir(dir)
		if err != nil {
			if info, serr := os.Stat(dir); serr == nil && !info.IsDir() {
				fmt.Println(dir)
				continue
			}
			return fail(err)
		}
		for _, e := range entries {
			if !long {
				fmt.Println(e.Name())
				continue
			}
			info, err := e.Info()
			if err != nil {
				continue
			}
			st := info.Sys().(*syscall.Stat_t)
			target, _ := os.Readlink(filepath.Join(dir, e.Name()))
			fmt.Println(info.Mode(), st.Uid, st.Gid, info.Size(), e.Name(), target)
		}
	}
	return 0
}

func env([]string) int {
	for _, v := range os.Environ() {
		fmt.Println(v)
	}
	return 0
}

func pwd([]string) int {
	dir, err := os.Getwd()
	if err != nil {
		return fail(err)
	}
	fmt.Println(dir)
	return 0
}

// sleep takes seconds, a Go duration, or "infinity"; SIGTERM ends it.
func sleep(args []string) int {
	d := time.Duration(1<<63 - 1)
	if len(args) > 0 && args[0] != "infinity" && args[0] != "inf" {
		var err error
		if d, err = time.ParseDuration(args[0]); err != nil {
			s, err := strconv.ParseFloat(args[0], 64)
			if err != nil {
				return fail(err)
			}
			d = time.Duration(s * float64(time.Second))
		}
	}
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	defer signal.Stop(term)
	select {
	case <-time.After(d):
		return 0
	case <-term:
		return 143
	}
}

func echo(args []string) int {
	end := "\n"
	if len(args) > 0 && args[0] == "-n" {
		args, end = args[1:], ""
	}
	fmt.Print(strings.Join(args, " ") + end)
	return 0
}

func id([]string) int {
	groups, _ := os.Getgroups()
	fmt.Printf("uid=%d gid=%d groups=%v\n", os.Getuid(), os.Getgid(), groups)
	return 0
}

func touch(args []string) int {
	for _, name := range args {
		f, err := os.OpenFile(name, os.O_CREATE|os.O_WRONLY, 0o644)
		if err != nil {
			return fail(err)
		}
		f.Close()
	}
	return 0
}

func hostname([]string) int {
	name, err := os.Hostname()
	if err != nil {
		return fail(err)
	}
	fmt.Println(name)
	return 0
}

func exit(args []string) int {
	code := 0
	if len(args) > 0 {
		code, _ = strconv.Atoi(args[0])
	}
	return code
}

// write prints its first argument to stdout and its second to stderr.
func write(args []string) int {
	if len(args) > 0 {
		fmt.Fprintln(os.Stdout, args[0])
	}
	if len(args) > 1 {
		fmt.Fprintln(os.Stderr, args[1])
	}
	return 0
}

// tick prints a counter each interval (default 1s), for as many times as asked
// (default for ever).
func tick(args []string) int {
	interval, times := time.Second, -1
	if len(args) > 0 {
		interval, _ = time.ParseDuration(args[0])
	}
	if len(args) > 1 {
		times, _ = strconv.Atoi(args[1])
	}
	for i := 0; times < 0 || i < times; i++ {
		fmt.Println("tick", i)
		time.Sleep(interval)
	}
	return 0
}

// alloc takes this many MiB of memory and keeps it.
func alloc(args []string) int {
	mib := 1 << 20
	if len(args) > 0 {
		mib, _ = strconv.Atoi(args[0])
	}
	var kept [][]byte
	for i := range mib {
		block := make([]byte, 1<<20)
		for j := 0; j < len(block); j += 4096 {
			block[j] = byte(i)
		}
		kept = append(kept, block)
	}
	fmt.Println("allocated", len(kept))
	return sleep(nil)
}

// burn keeps one CPU busy.
func burn([]string) int {
	for x := 0; ; x++ {
		_ = x
	}
}

func ignoreTerm([]string) int {
	signal.Ignore(syscall.SIGTERM)
	fmt.Println("ignoring")
	for {
		time.Sleep(time.Hour)
	}
}

// onTerm waits for SIGTERM and ends with the status given.
func onTerm(args []string) int {
	term := make(chan os.Signal, 1)
	signal.Notify(term, syscall.SIGTERM)
	fmt.Println("waiting")
	<-term
	fmt.Println("terminated")
	return exit(args)
}

// tty prints the size of the terminal on stdin, or "not a tty".
func tty([]string) int {
	var size struct{ rows, cols, x, y uint16 }
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, 0, syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	if errno != 0 {
		fmt.Println("not a tty")
		return 1
	}
	fmt.Printf("%dx%d\n", size.cols, size.rows)
	return 0
}

func wget(args []string) int {
	var url string
	for _, a := range args {
		if !strings.HasPrefix(a, "-") || a == "-" {
			url = a
		}
	}
	if !strings.Contains(url, "://") {
		url = "http://" + url
	}
	client := &http.Client{Timeout: 5 * time.Second}
	response, err := client.Get(url)
	if err != nil {
		return fail(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(os.Stdout, response.Body); err != nil {
		return fail(err)
	}
	if response.StatusCode >= 400 {
		return 1
	}
	return 0
}

// pids lists the processes that are seen.
func pids([]string) int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return fail(err)
	}
	for _, e := range entries {
		if _, err := strconv.Atoi(e.Name()); err == nil {
			name, _ := os.ReadFile("/proc/" + e.Name() + "/comm")
			fmt.Println(e.Name(), strings.TrimSpace(string(name)))
		}
	}
	return 0
}

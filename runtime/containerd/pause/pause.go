// Package pause is the first process of a PID namespace that a pod's containers
// share. It does nothing, and reaps its orphans by ignoring SIGCHLD; it is a
// program of some forty instructions, made here byte by byte, so that it costs one
// page of memory and needs neither an image nor a file.
package pause

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	goruntime "runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// ErrUnsupported says that there is no program for this machine's architecture.
var ErrUnsupported = errors.New("pause: no program for this architecture")

const (
	base   = 0x400000
	header = 64 + 56 // the ELF header and one program header
)

// code is rt_sigaction(SIGCHLD, {SIG_IGN}), then pause or ppoll for ever. The
// struct sigaction follows it.
func code(arch string) (machine uint16, text []byte, err error) {
	switch arch {
	case "amd64":
		text = []byte{
			0xb8, 13, 0, 0, 0, // mov eax, rt_sigaction
			0xbf, 17, 0, 0, 0, // mov edi, SIGCHLD
			0xbe, 0, 0, 0, 0, // mov esi, action (below)
			0x31, 0xd2, // xor edx, edx
			0x41, 0xba, 8, 0, 0, 0, // mov r10d, 8
			0x0f, 0x05, // syscall
			0xb8, 34, 0, 0, 0, // mov eax, pause
			0x0f, 0x05, // syscall
			0xeb, 0xf7, // jmp to the mov
		}
		binary.LittleEndian.PutUint32(text[11:], uint32(base+header+len(text)))
		return 62, text, nil
	case "arm64":
		for _, word := range []uint32{
			0xd28010c8, // mov x8, rt_sigaction
			0xd2800220, // mov x0, SIGCHLD
			0x10000161, // adr x1, action (44 bytes on)
			0xd2800002, // mov x2, 0
			0xd2800103, // mov x3, 8
			0xd4000001, // svc 0
			0xd2800928, // mov x8, ppoll
			0xd2800000, // mov x0, 0
			0xd2800001, // mov x1, 0
			0xd2800002, // mov x2, 0
			0xd2800003, // mov x3, 0
			0xd4000001, // svc 0
			0x17fffffa, // b to mov x8
		} {
			text = binary.LittleEndian.AppendUint32(text, word)
		}
		return 183, text, nil
	}
	return 0, nil, fmt.Errorf("%w: %s", ErrUnsupported, arch)
}

// program is the whole ELF file.
func program(arch string) ([]byte, error) {
	machine, text, err := code(arch)
	if err != nil {
		return nil, err
	}
	text = append(text, 1, 0, 0, 0, 0, 0, 0, 0) // SIG_IGN
	text = append(text, make([]byte, 24)...)
	size := uint64(header + len(text))
	var b bytes.Buffer
	b.Write([]byte{0x7f, 'E', 'L', 'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0})
	for _, v := range []any{
		uint16(2), machine, uint32(1), uint64(base + header), uint64(64), uint64(0), uint32(0),
		uint16(64), uint16(56), uint16(1), uint16(0), uint16(0), uint16(0),
		// The only segment: readable and executable.
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x1000),
	} {
		if err := binary.Write(&b, binary.LittleEndian, v); err != nil {
			return nil, err
		}
	}
	b.Write(text)
	return b.Bytes(), nil
}

// Start runs the process in a new PID namespace. It outlives its parent; end it
// by [Kill].
func Start() (pid int, err error) {
	body, err := program(goruntime.GOARCH)
	if err != nil {
		return 0, err
	}
	// In memory, since the state directory may forbid execution.
	fd, err := unix.MemfdCreate("pause", unix.MFD_CLOEXEC)
	if err != nil {
		return 0, fmt.Errorf("pause: %w", err)
	}
	file := os.NewFile(uintptr(fd), "pause")
	defer file.Close()
	if _, err := file.Write(body); err != nil {
		return 0, fmt.Errorf("pause: %w", err)
	}
	cmd := &exec.Cmd{
		Path: "/proc/self/fd/3", Args: []string{"strake-pause"}, Env: []string{}, Dir: "/",
		ExtraFiles:  []*os.File{file},
		SysProcAttr: &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID, Setsid: true},
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("pause: %w", err)
	}
	return cmd.Process.Pid, nil
}

// Kill ends a process of Start, if pid still is the one whose PID namespace is
// bound at namespace. A parent's reaping is done where we are the parent.
func Kill(pid int, namespace string) error {
	var bound, now unix.Stat_t
	if err := unix.Stat(namespace, &bound); err != nil {
		return nil // never bound, or gone with a reboot
	}
	if err := unix.Stat(fmt.Sprintf("/proc/%d/ns/pid", pid), &now); err != nil || now.Ino != bound.Ino {
		// It is gone, or a zombie of ours. Whoever has the number now is let be.
		return reap(pid, unix.WNOHANG)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("pause: killing %d: %w", pid, err)
	}
	return reap(pid, 0)
}

func reap(pid, options int) error {
	_, err := unix.Wait4(pid, nil, options, nil)
	for errors.Is(err, unix.EINTR) {
		_, err = unix.Wait4(pid, nil, options, nil)
	}
	if err != nil && !errors.Is(err, unix.ECHILD) {
		return fmt.Errorf("pause: waiting for %d: %w", pid, err)
	}
	return nil
}

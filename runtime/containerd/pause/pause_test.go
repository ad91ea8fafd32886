package pause

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func TestProgramIsELF(t *testing.T) {
	for arch, machine := range map[string]elf.Machine{"amd64": elf.EM_X86_64, "arm64": elf.EM_AARCH64} {
		body, err := program(arch)
		if err != nil {
			t.Fatal(err)
		}
		file, err := elf.NewFile(bytes.NewReader(body))
		if err != nil {
			t.Fatalf("%s: %v", arch, err)
		}
		if file.Machine != machine || len(file.Progs) != 1 || file.Entry != base+header || file.Progs[0].Filesz != uint64(len(body)) {
			t.Errorf("%s: %+v", arch, file.FileHeader)
		}
	}
	if _, err := program("mips"); !errors.Is(err, ErrUnsupported) {
		t.Errorf("mips: %v, want ErrUnsupported", err)
	}
}

func TestStartAndKill(t *testing.T) {
	pid, err := Start()
	if errors.Is(err, os.ErrPermission) || errors.Is(err, unix.EPERM) {
		t.Skip("a PID namespace needs root")
	}
	if err != nil {
		t.Fatal(err)
	}
	namespace := fmt.Sprintf("/proc/%d/ns/pid", pid)
	if err := unix.Kill(pid, 0); err != nil {
		t.Fatalf("it does not run: %v", err)
	}
	if err := Kill(pid, namespace); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("after Kill: %v, want it gone and reaped", err)
	}
	if err := Kill(pid, namespace); err != nil {
		t.Errorf("Kill again: %v", err)
	}
}

// Package machine tells a kubelet what its machine has: CPUs, memory, disk and
// the identity that a node's status shows. [Local] reads the machine this
// process is on; a [Facts] value is itself a source, for simulated nodes that
// claim what they like.
package machine

import (
	"bufio"
	"bytes"
	"net"
	"os"
	"runtime"
	"strconv"
	"strings"
	"syscall"
)

// Source of facts. Facts may be asked for at any time and from any goroutine.
type Source interface {
	Facts() Facts
}

// Facts about a machine. The zero value claims nothing.
type Facts struct {
	// CPUs that pods may use together.
	CPUs int
	// Memory and Swap in bytes.
	Memory, Swap int64
	// Disk in bytes and its inodes: where pods write.
	Disk, Inodes int64
	// OS and Arch in Go's words; "linux" and this program's by default.
	OS, Arch string
	// Identity shown in the node's status.
	MachineID, SystemUUID, BootID, Kernel, OSImage string
	// Hostname of the machine.
	Hostname string
	// Addresses of the machine, the preferred first.
	Addresses []string
}

// Facts makes a fixed set of facts a source.
func (f Facts) Facts() Facts { return f }

// Local reads the machine that this process runs on.
type Local struct {
	// Dir is on the file system that pods write to; "/" by default.
	Dir string
}

// Facts reads what can be read; what cannot stays zero.
func (l Local) Facts() Facts {
	dir := l.Dir
	if dir == "" {
		dir = "/"
	}
	f := Facts{CPUs: runtime.NumCPU(), OS: runtime.GOOS, Arch: runtime.GOARCH}
	f.Hostname, _ = os.Hostname()
	f.Memory, f.Swap = parseMeminfo(read("/proc/meminfo"))
	f.MachineID = firstOf("/etc/machine-id", "/var/lib/dbus/machine-id")
	f.SystemUUID = firstOf("/sys/class/dmi/id/product_uuid", "/proc/device-tree/vm,uuid")
	if f.SystemUUID == "" {
		f.SystemUUID = f.MachineID
	}
	f.BootID = firstOf("/proc/sys/kernel/random/boot_id")
	f.Kernel = firstOf("/proc/sys/kernel/osrelease")
	f.OSImage = parseOSRelease(append(read("/etc/os-release"), read("/usr/lib/os-release")...))
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) == nil {
		f.Disk, f.Inodes = int64(st.Blocks)*st.Bsize, int64(st.Files)
	}
	f.Addresses = addresses()
	return f
}

func read(name string) []byte { data, _ := os.ReadFile(name); return data }

func firstOf(names ...string) string {
	for _, n := range names {
		if s := strings.TrimSpace(string(read(n))); s != "" {
			return s
		}
	}
	return ""
}

func parseMeminfo(data []byte) (memory, swap int64) {
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 {
			continue
		}
		kib, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil {
			continue
		}
		switch fields[0] {
		case "MemTotal:":
			memory = kib * 1024
		case "SwapTotal:":
			swap = kib * 1024
		}
	}
	return memory, swap
}

func parseOSRelease(data []byte) string {
	for line := range strings.Lines(string(data)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), "PRETTY_NAME="); ok {
			return strings.Trim(v, `"'`)
		}
	}
	return ""
}

// addresses of interfaces that are up, global ones only, IPv4 first. The one
// that the default route would use leads; a machine without a network has its
// loopback.
func addresses() []string {
	var v4, v6 []string
	list, _ := net.InterfaceAddrs()
	for _, a := range list {
		n, ok := a.(*net.IPNet)
		if !ok || !n.IP.IsGlobalUnicast() {
			continue
		}
		if n.IP.To4() != nil {
			v4 = append(v4, n.IP.String())
		} else {
			v6 = append(v6, n.IP.String())
		}
	}
	if ip := defaultSource(); ip != "" {
		for i, have := range v4 {
			if have == ip {
				v4[0], v4[i] = v4[i], v4[0]
			}
		}
	}
	if out := append(v4, v6...); len(out) > 0 {
		return out
	}
	return []string{"127.0.0.1"}
}

// defaultSource is the address that packets to the outside would carry. Nothing
// is sent: a UDP socket is only routed.
func defaultSource() string {
	c, err := net.Dial("udp4", "192.0.2.1:9")
	if err != nil {
		return ""
	}
	defer c.Close()
	if a, ok := c.LocalAddr().(*net.UDPAddr); ok {
		return a.IP.String()
	}
	return ""
}

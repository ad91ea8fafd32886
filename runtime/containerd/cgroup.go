package containerd

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/containerd/cgroups/v3"
	"github.com/containerd/containerd/v2/pkg/cap"
)

// cgroupRoot is where control groups are mounted, by every convention.
const cgroupRoot = "/sys/fs/cgroup"

// nodeFacts reads what specifications must know of the machine.
func (r *Runtime) nodeFacts() nodeFacts {
	facts := nodeFacts{CgroupV2: cgroups.Mode() == cgroups.Unified, Capability: knownCapabilities()}
	if facts.CgroupV2 {
		// The root has no such file; the first level does.
		found, err := filepath.Glob(cgroupRoot + "/*/memory.swap.max")
		facts.SwapLimit = err == nil && len(found) > 0
		controllers, err := os.ReadFile(cgroupRoot + "/cgroup.controllers")
		facts.HugepageCtl = err == nil && bytes.Contains(controllers, []byte("hugetlb"))
		return facts
	}
	_, err := os.Stat(cgroupRoot + "/memory/memory.memsw.limit_in_bytes")
	facts.SwapLimit = err == nil
	_, err = os.Stat(cgroupRoot + "/hugetlb")
	facts.HugepageCtl = err == nil
	return facts
}

// knownCapabilities are those that this process may give on.
func knownCapabilities() []string {
	caps, err := cap.Current()
	if err != nil {
		return cap.Known()
	}
	return caps
}

// cgroupFile is the path of a file of a control group, in version 1 below its
// controller.
func cgroupFile(controller, group, file string) string {
	if cgroups.Mode() == cgroups.Unified {
		return filepath.Join(cgroupRoot, group, file)
	}
	return filepath.Join(cgroupRoot, controller, group, file)
}

// oomKilled says whether the kernel killed a process of the group for lack of
// memory. The group must still be there.
func oomKilled(group string) bool {
	file := "memory.oom_control"
	if cgroups.Mode() == cgroups.Unified {
		file = "memory.events"
	}
	n, ok := keyed(cgroupFile("memory", group, file), "oom_kill")
	return ok && n > 0
}

// keyed reads one value of a file of "key value" lines.
func keyed(path, key string) (uint64, bool) {
	body, err := os.ReadFile(path)
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(body)) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), " "); ok && k == key {
			n, err := strconv.ParseUint(v, 10, 64)
			return n, err == nil
		}
	}
	return 0, false
}

// single reads a file of one number.
func single(path string) uint64 {
	body, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	n, err := strconv.ParseUint(strings.TrimSpace(string(body)), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

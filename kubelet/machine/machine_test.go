package machine

import "testing"

func TestParse(t *testing.T) {
	memory, swap := parseMeminfo([]byte("MemTotal:       16384 kB\nMemFree: 1 kB\nbroken\nSwapTotal: 2 kB\n"))
	if memory != 16<<20 || swap != 2048 {
		t.Errorf("%d, %d", memory, swap)
	}
	if got := parseOSRelease([]byte("ID=x\nPRETTY_NAME=\"An OS 1.0\"\n")); got != "An OS 1.0" {
		t.Errorf("%q", got)
	}
}

func TestLocalKnowsItsMachine(t *testing.T) {
	f := Local{}.Facts()
	if f.CPUs < 1 || f.Memory <= 0 || f.Disk <= 0 || len(f.Addresses) == 0 || f.Arch == "" {
		t.Errorf("%+v", f)
	}
}

func FuzzParseMeminfo(f *testing.F) {
	f.Add([]byte("MemTotal: 1 kB"))
	f.Fuzz(func(_ *testing.T, data []byte) { parseMeminfo(data) })
}

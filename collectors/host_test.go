// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

func hostIn(fs FS) Collector { return newHost(fs, fs.shared("meminfo")) }

func TestHostFixture(t *testing.T) {
	c := hostIn(NewFS(fixture))
	start(t, c)
	got := collectAs[*Host](t, c, 2*time.Second)
	want := &Host{
		Span: Span{2 * time.Second, 2 * time.Second}, Facts: got.Facts, Sync: got.Sync,
		Uptime: 3219310 * time.Millisecond, Load: [3]float64{1.52, 1.34, 0.75}, Runnable: 1, Threads: 89,
		Mem: Mem{
			Total: 24682416 << 10, Free: 23321660 << 10, Available: 24255660 << 10, Buffers: 20216 << 10,
			Cached: 1048328 << 10, SReclaimable: 174644 << 10, Shmem: 12776 << 10,
		},
		PSI: PSI{
			CPU:    Pressure{SomeTotal: 172460314 * time.Microsecond, Known: true},
			Memory: Pressure{Known: true},
			IO:     Pressure{SomeTotal: 8869224 * time.Microsecond, FullTotal: 7224076 * time.Microsecond, Known: true},
		},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Raw{})); diff != "" {
		t.Errorf("first sample (-want +got):\n%s", diff)
	}
	f := got.Facts
	if f.CPUs != 2 || f.BootID != "5f0f1d2c-2d5f-4b59-9a39-6f0b8c1f0a77" || !f.Boot.Equal(time.Unix(1795387271, 0)) {
		t.Errorf("facts = %+v", f)
	}
	if next := collectAs[*Host](t, c, 3*time.Second); next.Facts != f || next.Span != (Span{2 * time.Second, 3 * time.Second}) {
		t.Errorf("second sample: facts %p, span %v, want the same facts %p and a span from 2 s", next.Facts, next.Span, f)
	}
	for _, p := range c.Probes() {
		if p.State != On || p.Reason != "" || p.Hook == "" {
			t.Errorf("probe %+v, want on", p)
		}
	}
}

// hostTree is a tree with all that the host collector needs but pressure.
func hostTree(t *testing.T) procTree {
	tree := procTree{t, filepath.Join(t.TempDir(), "proc")}
	tree.write("uptime", "1.00 1.00\n")
	tree.write("loadavg", "0.00 0.00 0.00 1/2 3\n")
	tree.write("meminfo", "MemTotal: 8 kB\nMemAvailable: 4 kB\n")
	return tree
}

func TestHostPressure(t *testing.T) {
	tree := hostTree(t)
	write := func(cpu, mem, io int) {
		for name, us := range map[string]int{"cpu": cpu, "memory": mem, "io": io} {
			tree.write("pressure/"+name, fmt.Sprintf("some avg10=0.00 total=%d\nfull avg10=0.00 total=%d\n", 2*us, us))
		}
	}
	write(100, 200, 300)
	c := hostIn(NewFS(tree.root))
	start(t, c)
	collectAs[*Host](t, c, time.Second)
	write(110, 190, 330)
	got := collectAs[*Host](t, c, 2*time.Second).PSI
	us := func(n int) time.Duration { return time.Duration(n) * time.Microsecond }
	want := PSI{
		CPU:    Pressure{SomeTotal: us(220), Some: us(20), Known: true},
		Memory: Pressure{SomeTotal: us(380), FullTotal: us(190), Known: true}, // went back
		IO:     Pressure{SomeTotal: us(660), FullTotal: us(330), Some: us(60), Full: us(30), Known: true},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("PSI (-want +got):\n%s", diff)
	}

	// One file masked: the others stand, and it has no delta when it is back.
	tree.write("pressure/io", "")
	got = collectAs[*Host](t, c, 3*time.Second).PSI
	if got.IO.Known || !got.CPU.Known || got.Err != "PSI is masked in this container: run outside the container" {
		t.Errorf("one masked: %+v", got)
	}
	if p := c.Probes()[2]; p.Name != "psi" || p.State != Degraded || p.Remedy != "run outside the container" {
		t.Errorf("one masked: probe %+v", p)
	}
	write(110, 190, 999)
	if got = collectAs[*Host](t, c, 4*time.Second).PSI; got.IO.Some != 0 || !got.IO.Known || got.Err != "" {
		t.Errorf("unmasked: %+v, want a baseline", got)
	}
}

func TestWhyNoPSI(t *testing.T) {
	const release = "6.1.0-13-cloud-amd64"
	tests := map[string]struct {
		err             error
		cmdline, config string
		need, remedy    string
	}{
		"refused":         {unix.EOPNOTSUPP, "", "", "PSI is off", "boot with psi=1"},
		"switched off":    {unix.ENOENT, "root=/dev/vda1 psi=0 quiet", "", "PSI is off", "boot with psi=1 instead of psi=0"},
		"off by default":  {unix.ENOENT, "quiet", "CONFIG_PSI=y\nCONFIG_PSI_DEFAULT_DISABLED=y\n", "PSI is off", "boot with psi=1"},
		"not built":       {unix.ENOENT, "quiet", "# CONFIG_PSI is not set\n", "this kernel has no PSI", "needs a kernel with CONFIG_PSI"},
		"not known":       {unix.ENOENT, "quiet", "", "PSI is off", "boot with psi=1; needs a kernel with CONFIG_PSI"},
		"closed":          {unix.EACCES, "", "", "PSI may not be read", "run as root, outside a container"},
		"masked":          {errMasked, "", "", "PSI is masked in this container", "run outside the container"},
		"something else":  {unix.EIO, "", "", "PSI cannot be read (reading: input/output error)", ""},
		"another's words": {errors.New("\x1b[2J"), "", "", `PSI cannot be read (reading: \x1b[2J)`, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			tree := hostTree(t)
			tree.write("cmdline", tt.cmdline+"\n")
			tree.write("sys/kernel/osrelease", release+"\n")
			if tt.config != "" {
				tree.write("../boot/config-"+release, tt.config)
			}
			got := whyNoPSI(NewFS(tree.root), fmt.Errorf("reading: %w", tt.err))
			if got.Need != tt.need || got.Remedy != tt.remedy {
				t.Errorf("whyNoPSI = %q, %q, want %q, %q", got.Need, got.Remedy, tt.need, tt.remedy)
			}
		})
	}
}

func TestHostWithoutPSI(t *testing.T) {
	tree := hostTree(t)
	tree.write("cmdline", "psi=0\n")
	c := hostIn(NewFS(tree.root))
	start(t, c)
	got := collectAs[*Host](t, c, time.Second)
	if diff := cmp.Diff(PSI{Err: "PSI is off: boot with psi=1 instead of psi=0"}, got.PSI); diff != "" {
		t.Errorf("PSI (-want +got):\n%s", diff)
	}
	want := Probe{Name: "psi", Hook: "/proc/pressure", State: Off, Reason: "PSI is off", Remedy: "boot with psi=1 instead of psi=0"}
	if p := c.Probes()[2]; p != want {
		t.Errorf("probe = %+v, want %+v", p, want)
	}
}

func TestOffOnCommandLine(t *testing.T) {
	tests := map[string]bool{
		"": false, "psi=0": true, "quiet psi=0 ro": true, "psi=1": false, "psi=0 psi=1": false, "psi=1 psi=0": true,
		"psi=n": true, "psi=N": true, "psi=off": true, "psi=on": false, "psi=y": false, "epsi=0": false, "psi=": false, "psi=false": true, "psi=o": false,
	}
	for line, want := range tests {
		if got := offOnCommandLine(line); got != want {
			t.Errorf("offOnCommandLine(%q) = %v, want %v", line, got, want)
		}
	}
}

func TestHostBroken(t *testing.T) {
	for _, name := range []string{"uptime", "loadavg", "meminfo"} {
		t.Run(name, func(t *testing.T) {
			tree := hostTree(t)
			tree.write(name, "x")
			c := hostIn(NewFS(tree.root))
			start(t, c)
			_, err := c.Collect(context.Background(), 0)
			if !errors.Is(err, errFormat) {
				t.Errorf("Collect = %v, want errFormat", err)
			}
			for _, p := range c.Probes() {
				if p.State != Failed || p.Reason == "" {
					t.Errorf("probe %+v, want failed with a reason", p)
				}
			}
		})
	}
}

func TestInWhat(t *testing.T) {
	const other = "pid:[4026532000]"
	tests := map[string]struct {
		guest, ns  string
		hypervisor bool
		want       string
		inside     bool
	}{
		"bare metal":                   {"", initialPIDNamespace, false, "", false},
		"known hypervisor":             {"kvm", initialPIDNamespace, true, "kvm", false},
		"unknown hypervisor":           {"", initialPIDNamespace, true, "vm", false},
		"container":                    {"docker", other, false, "docker", true},
		"unknown container":            {"", other, false, "container", true},
		"container in a VM":            {"kvm", other, true, "container", true},
		"VM from a container's image":  {"docker", initialPIDNamespace, true, "vm", false},
		"container, namespace unknown": {"lxc", "", false, "lxc", true},
		"namespace unknown":            {"", "", false, "", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got, inside := inWhat(tt.guest, tt.ns, tt.hypervisor)
			if got != tt.want || inside != tt.inside {
				t.Errorf("inWhat(%q, %q, %v) = %q, %v, want %q, %v", tt.guest, tt.ns, tt.hypervisor, got, inside, tt.want, tt.inside)
			}
		})
	}
}

// TestHostHost holds on this host's own files.
func TestHostHost(t *testing.T) {
	c := hostIn(NewFS(""))
	start(t, c)
	h := collectAs[*Host](t, c, 0)
	var u unix.Sysinfo_t
	if err := unix.Sysinfo(&u); err != nil {
		t.Fatal(err)
	}
	if d := h.Uptime - time.Duration(u.Uptime)*time.Second; d < -2*time.Second || d > 2*time.Second {
		t.Errorf("uptime %v, the kernel says %d s", h.Uptime, u.Uptime)
	}
	if unit := uint64(u.Unit); h.Mem.Total/1024 != u.Totalram*unit/1024 {
		t.Errorf("memory %d, the kernel says %d", h.Mem.Total, u.Totalram*unit)
	}
	if f := h.Facts; f.Kernel == "" || f.Arch == "" || f.Hostname.Bytes() == "" || f.CPUs == 0 || len(f.BootID) != 36 {
		t.Errorf("facts = %+v", f)
	}
}

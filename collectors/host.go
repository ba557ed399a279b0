// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/shirou/gopsutil/v3/common"
	"github.com/shirou/gopsutil/v3/host"
	"golang.org/x/sys/unix"
)

// HostID is the collector of the host's name plate and its gauges.
const HostID ID = "host"

// Host is what the header shows: facts that do not change and gauges that need no baseline.
type Host struct {
	Span
	Facts *Facts // shared by all samples of a run

	Uptime   time.Duration // /proc/uptime
	Load     [3]float64    // /proc/loadavg: 1, 5, 15 min; counts D tasks too
	Runnable int           // /proc/loadavg field 4, before the slash: on a CPU or waiting for one, ourselves included
	Threads  int           // /proc/loadavg field 4, after the slash

	Mem Mem
	PSI PSI // Err says why it is absent or in part unknown

	// Sync is shared by the samples until it is read again, once a minute. Nil: the kernel does not tell, as
	// in some containers, or the recording is older.
	Sync *ClockSync
}

// Facts do not change while the host is up. Text in them has been through Clean.
type Facts struct {
	Hostname    Raw
	Kernel      string // uname -r
	Arch        string // uname -m
	CPUs        int    // online at start
	BootID      string
	Boot        time.Time // wall clock, as it stood at the start; zero if unknown
	Virtual     string    // "kvm", "docker", …; "vm" when only a hypervisor shows; "" on bare metal
	InContainer bool      // the host's other processes may be hidden
	Clock       string    // clocksource; "" if unknown
	Isolated    []int     // CPUs that no load is balanced to, or without ticks: isolcpus=, nohz_full=; as at the start
	PageSize    uint64    // bytes: the unit of what the kernel counts in pages; 0 in old recordings

	Crash   Raw       // the line that says why, of the newest record that a kernel left behind (pstore); empty without
	CrashAt time.Time // wall clock, when it was written
}

// Mem is /proc/meminfo in bytes.
type Mem struct {
	Total, Free, Available, Buffers, Cached, SReclaimable, Shmem, SwapTotal, SwapFree uint64
}

// PSI is /proc/pressure: stall time since boot and its increase over the span.
// Full for CPU at system level means nothing and is not read.
type PSI struct {
	CPU, Memory, IO Pressure
	Err             string // why there is none: "PSI is off: boot with psi=1"; empty when read
}

// Pressure is one file of /proc/pressure. Totals are cumulative; deltas are of the span and
// 0 in the first sample, whose span is empty.
type Pressure struct {
	SomeTotal, FullTotal time.Duration
	Some, Full           time.Duration
	Known                bool
}

func (h *Host) put(s *Snapshot) { s.Host = h }

type hostCollector struct {
	fs              FS
	uptime, loadavg *procFile
	meminfo         *sharedFile
	psi             *psiReader

	facts *Facts
	sync  clockSync
	last  time.Duration // end of the last span
	begun bool          // last is set
	err   error         // of the last Collect
}

// newHost returns the collector of Host. It needs no privilege.
func newHost(fs FS, meminfo *sharedFile) Collector {
	return &hostCollector{
		fs:     fs,
		uptime: fs.file("uptime"), loadavg: fs.file("loadavg"), meminfo: meminfo,
		psi: newPSIReader(fs),
	}
}

func (c *hostCollector) Meta() Meta { return Meta{ID: HostID} }

// Start reads the facts. What of them cannot be had stays empty: none is worth the gauges.
func (c *hostCollector) Start(ctx context.Context) error {
	c.begun, c.err = false, nil
	c.sync = clockSync{adjust: unix.Adjtimex}
	c.facts = readFacts(ctx, c.fs)
	return ctx.Err()
}

func (c *hostCollector) Collect(ctx context.Context, now time.Duration) (Sample, error) {
	h, err := c.gauges(ctx, now)
	if c.err = err; err != nil {
		return nil, err
	}
	h.PSI, h.Sync = c.psi.read(ctx), c.sync.read(now)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if !c.begun {
		c.last, c.begun = now, true
	}
	h.Span = Span{c.last, now}
	c.last = now
	return h, nil
}

// gauges reads everything that needs no baseline.
func (c *hostCollector) gauges(ctx context.Context, now time.Duration) (*Host, error) {
	h := &Host{Facts: c.facts}
	b, err := c.uptime.read(ctx)
	if err == nil {
		h.Uptime, err = parseUptime(b)
	}
	if err != nil {
		return nil, fmt.Errorf("reading /proc/uptime: %w", err)
	}
	var l loadAvg
	if b, err = c.loadavg.read(ctx); err == nil {
		l, err = parseLoadavg(b)
	}
	if err != nil {
		return nil, fmt.Errorf("reading /proc/loadavg: %w", err)
	}
	h.Load, h.Runnable, h.Threads = l.Load, l.Runnable, l.Threads
	err = c.meminfo.parse(ctx, now, func(b []byte) (err error) {
		h.Mem, err = parseMeminfo(b)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading /proc/meminfo: %w", err)
	}
	return h, nil
}

func (c *hostCollector) Probes() []Probe {
	uptime := Probe{Name: "uptime", Hook: "/proc/loadavg, uptime"}
	free := Probe{Name: "free", Hook: "/proc/meminfo"}
	psi := Probe{Name: "psi", Hook: "/proc/pressure"}
	for _, p := range []*Probe{&uptime, &free, &psi} {
		p.State, p.Reason = stateOf(c.begun, c.err)
	}
	if need := c.psi.need; need != nil && psi.State == On {
		psi.State, psi.Reason, psi.Remedy = Off, need.Need, need.Remedy
		if p := c.psi.prev; p.CPU.Known || p.Memory.Known || p.IO.Known {
			psi.State = Degraded
		}
	}
	return []Probe{uptime, free, psi}
}

// stateOf is the state of a probe that reads files: whether it has read them, and how that went.
func stateOf(begun bool, err error) (State, string) {
	switch {
	case err != nil:
		return Failed, Clean(RawString(err.Error())).String()
	case !begun:
		return Warming, "not read yet"
	}
	return On, ""
}

func (c *hostCollector) Close() error {
	c.begun = false
	return errors.Join(c.uptime.close(), c.loadavg.close(), c.meminfo.close(), c.psi.close())
}

// readFacts reads what does not change.
func readFacts(ctx context.Context, fs FS) *Facts {
	f := &Facts{PageSize: uint64(os.Getpagesize())}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		f.Hostname = RawString(unix.ByteSliceToString(u.Nodename[:]))
		f.Kernel = clean(unix.ByteSliceToString(u.Release[:]))
		f.Arch = clean(unix.ByteSliceToString(u.Machine[:]))
	}
	if id, err := fs.text("sys/kernel/random/boot_id"); err == nil {
		f.BootID = clean(id)
	}
	if b, err := os.ReadFile(fs.sysPath("devices/system/clocksource/clocksource0/current_clocksource")); err == nil {
		f.Clock = clean(string(bytes.TrimSpace(b)))
	}
	f.Isolated = isolatedCPUs(fs)
	stat := fs.file("stat")
	defer stat.close()
	if b, err := stat.read(ctx); err == nil {
		var s kernelStat
		if parseStat(b, &s) == nil {
			f.CPUs, f.Boot = len(s.CPUs), time.Unix(int64(min(s.BootTime, 1<<40)), 0)
		}
	}
	f.Virtual, f.InContainer = virtual(ctx, fs)
	f.Crash, f.CrashAt = readCrash(fs.sysPath("fs/pstore"))
	return f
}

func clean(s string) string { return Clean(RawString(s)).String() }

// initialPIDNamespace is what the kernel calls the PID namespace it boots with (PROC_PID_INIT_INO).
const initialPIDNamespace = "pid:[4026531836]"

// virtual says what the host runs in. gopsutil knows the common hypervisors and containers.
func virtual(ctx context.Context, fs FS) (name string, container bool) {
	ctx = context.WithValue(ctx, common.EnvKey, common.EnvMap{common.HostProcEnvKey: fs.root})
	var guest string
	if system, role, err := host.VirtualizationWithContext(ctx); err == nil && role == "guest" {
		guest = clean(system)
	}
	ns, err := os.Readlink(fs.path("self/ns/pid"))
	if err != nil {
		ns = ""
	}
	// The flags of the first CPU stand in the first 4 KiB, and reading all of 256 takes long.
	cpu, err := fs.readSome("cpuinfo", 4096)
	return inWhat(guest, ns, err == nil && bytes.Contains(cpu, []byte(" hypervisor")))
}

// inWhat judges three marks: what gopsutil takes the host for, the PID namespace ("" if unknown),
// and the CPU's hypervisor bit. The namespace is the kernel's own word: a root file system that
// was made from a container's image keeps its marks on a machine of its own.
func inWhat(guest, ns string, hypervisor bool) (name string, container bool) {
	switch guest {
	case "docker", "lxc", "rkt", "openvz", "linux-vserver":
		if ns != initialPIDNamespace {
			return guest, true
		}
		guest = ""
	}
	switch {
	case ns != "" && ns != initialPIDNamespace:
		return "container", true
	case guest == "" && hypervisor:
		return "vm", false
	}
	return guest, false
}

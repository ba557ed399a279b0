// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"golang.org/x/sys/unix"
)

// Kernel is what this kernel and these privileges allow, found out once and without loading
// anything. It also holds the kernel's types while programs are being loaded. Its methods may be
// called from any goroutine.
type Kernel struct {
	release    string
	caps       uint64
	capsKnown  bool
	inUserNS   bool   // our capabilities are those of a user namespace
	lockdown   string // none, integrity, confidentiality; "" where the kernel does not say
	tracefs    string // where it is mounted; "" if nowhere
	paranoid   string // kernel.perf_event_paranoid
	unpriv     string // kernel.unprivileged_bpf_disabled
	btfPresent bool
	shown      Hierarchy // whose IDs of cgroups are shown
	refused    string    // by the user, and how to take it back
	pids       pidNames
	pidsOnce   sync.Once // of findSelf

	mu      sync.Mutex
	cache   *btf.Cache
	memlock error
	raised  bool
	lastELF atomic.Pointer[ebpf.CollectionSpec] // see object.elf
	ring    sharedRing
	progs   map[*ebpf.Program]string // loaded, by name
	follow  cgroupFollower
}

// Fact is one line of `bpf60 doctor` about the host.
type Fact struct {
	Name   string `json:"name"`
	Value  string `json:"value"`
	Remedy string `json:"remedy,omitempty"`
}

// firstUsers is what the kernel calls the user namespace it boots with (PROC_USER_INIT_INO).
const firstUsers = "user:[4026531837]"

const btfPath = "/sys/kernel/btf/vmlinux"

// Inspect reads what the kernel says about itself. What cannot be read stays unknown.
func Inspect() *Kernel {
	k := &Kernel{}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		k.release = unix.ByteSliceToString(u.Release[:])
	}
	status := readString("/proc/self/status")
	for line := range strings.Lines(status) {
		if v, ok := strings.CutPrefix(line, "CapEff:"); ok {
			caps, err := strconv.ParseUint(strings.TrimSpace(v), 16, 64)
			k.caps, k.capsKnown = caps, err == nil
		}
	}
	userns, _ := os.Readlink("/proc/self/ns/user") // "" where it is not told; so is the next
	k.inUserNS = userns != "" && userns != firstUsers
	pidns, _ := os.Readlink("/proc/self/ns/pid")
	k.pids = inspectPIDs(pidns, status)
	if _, active, ok := strings.Cut(readString("/sys/kernel/security/lockdown"), "["); ok {
		k.lockdown, _, _ = strings.Cut(active, "]")
	}
	for _, dir := range []string{"/sys/kernel/tracing", "/sys/kernel/debug/tracing"} {
		if _, err := os.Stat(dir + "/events"); err == nil {
			k.tracefs = dir
			break
		}
	}
	k.paranoid = strings.TrimSpace(readString("/proc/sys/kernel/perf_event_paranoid"))
	k.unpriv = strings.TrimSpace(readString("/proc/sys/kernel/unprivileged_bpf_disabled"))
	k.shown = ShownHierarchy(readString("/proc/cgroups"))
	_, err := os.Stat(btfPath)
	k.btfPresent = err == nil
	return k
}

func readString(path string) string {
	b, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	return string(b)
}

// capable says whether we hold a capability; CAP_SYS_ADMIN stands for CAP_BPF and CAP_PERFMON,
// which are younger (5.8). Those of a user namespace are worth nothing to bpf(2).
func (k *Kernel) capable(c uint) bool {
	return k.caps&(1<<c) != 0 && !k.inUserNS
}

func (k *Kernel) mayTrace() bool {
	return !k.capsKnown && !k.inUserNS || k.capable(unix.CAP_SYS_ADMIN) ||
		k.capable(unix.CAP_BPF) && k.capable(unix.CAP_PERFMON)
}

// Refuse makes every load fail with the need for what option switched off. Call it before any load.
func (k *Kernel) Refuse(option string) { k.refused = option }

func (k *Kernel) mayLoad() error {
	if k.refused != "" {
		return &NeedError{Need: "BPF, which " + k.refused + " switched off", Remedy: "start without " + k.refused}
	}
	if k.mayTrace() {
		return nil
	}
	if k.inUserNS {
		return &NeedError{
			Need:   "root of the host, not of a user namespace",
			Remedy: "run sudo bpf60 on the host, or in a container that is not rootless",
		}
	}
	return &NeedError{
		Need:   "root, or CAP_BPF and CAP_PERFMON",
		Remedy: "run sudo bpf60, or once: setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search,cap_syslog=ep bpf60",
	}
}

func (k *Kernel) needBTF() error {
	if k.btfPresent {
		return nil
	}
	return &NeedError{
		Need:   "kernel BTF (" + btfPath + ")",
		Remedy: "boot a kernel built with CONFIG_DEBUG_INFO_BTF=y, as distributions' kernels since 5.10 mostly are",
	}
}

func (k *Kernel) needTracefs() error {
	if k.tracefs != "" {
		return nil
	}
	return &NeedError{
		Need:   "tracefs",
		Remedy: "mount -t tracefs nodev /sys/kernel/tracing",
	}
}

// types returns the cache of kernel types that all loads share: decoding them costs more than
// everything else at start.
func (k *Kernel) types() *btf.Cache {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.cache == nil {
		k.cache = btf.NewCache()
	}
	return k.cache
}

// Release drops the decoded kernel types, some ten megabytes, once nothing is being loaded. A
// later load decodes them again.
func (k *Kernel) Release() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cache = nil
}

// chargesMemlock says that maps count as locked memory: before 5.11, and where the release cannot be read.
func (k *Kernel) chargesMemlock() bool {
	var major, minor int
	n, _ := fmt.Sscanf(k.release, "%d.%d", &major, &minor) // n tells all
	return n < 2 || major < 5 || major == 5 && minor < 11
}

// raiseMemlock lifts RLIMIT_MEMLOCK where maps are charged to it. It is tried once, when a map was refused.
func (k *Kernel) raiseMemlock() error {
	if !k.chargesMemlock() {
		return errors.New("maps are not charged to it")
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.raised {
		return errors.New("already tried")
	}
	k.raised = true
	lim := unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY}
	k.memlock = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &lim)
	return k.memlock
}

// explain turns what the kernel or the library said into what is missing and how to get it.
// The library's own hint for EPERM ("MEMLOCK may be too low") is wrong more often than right and
// is never shown.
func (k *Kernel) explain(doing string, err error) error {
	var need *NeedError
	var verifier *ebpf.VerifierError
	switch {
	case errors.As(err, &need):
		return err
	case k.mayLoad() != nil:
		return k.mayLoad()
	case errors.Is(err, unix.EPERM) && k.raised && k.memlock != nil:
		return &NeedError{
			Need:   "more locked memory (RLIMIT_MEMLOCK)",
			Remedy: "ulimit -l unlimited, as root",
			Err:    fmt.Errorf("%s: %w", doing, unix.EPERM),
		}
	case k.lockdown == "confidentiality" && strings.Contains(err.Error(), "unknown func bpf_probe_read"):
		return k.explain(doing, unix.EPERM)
	case errors.Is(err, unix.EACCES) && errors.As(err, &verifier) && len(verifier.Log) > 0:
		// Not a matter of privileges, whatever the number says: the verifier ran and found fault.
		return fmt.Errorf("%s: this kernel's verifier refuses the program (please report this line and the kernel's release): %w: %w",
			doing, ErrUnsupported, verifier)
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.EACCES):
		if k.lockdown == "confidentiality" {
			return &NeedError{
				Need:   "a kernel that is not locked down for confidentiality",
				Remedy: "boot with lockdown=integrity or none",
				Err:    fmt.Errorf("%s: %w", doing, unix.EPERM),
			}
		}
		return &NeedError{
			Need:   "permission for this kind of program",
			Remedy: "in a container allow bpf(2) and perf_event_open(2) in its seccomp profile; some kernels are built without the hook",
			Err:    fmt.Errorf("%s: %w", doing, unix.EPERM),
		}
	case errors.Is(err, btf.ErrNotFound), strings.Contains(err.Error(), "bad CO-RE relocation"):
		if e := k.needBTF(); e != nil {
			return e
		}
		return fmt.Errorf("%s: a type or field it reads is not in this kernel: %w", doing, ErrUnsupported)
	}
	if e := k.needBTF(); e != nil && strings.Contains(err.Error(), "BTF") {
		return e
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// explainPerf is explain for perf_event_open(2). Debian's and Ubuntu's kernels know a level of
// kernel.perf_event_paranoid above 2, at which CAP_PERFMON does not do.
func (k *Kernel) explainPerf(doing string, err error) error {
	level, unknown := strconv.Atoi(k.paranoid)
	denied := errors.Is(err, unix.EACCES) || errors.Is(err, unix.EPERM)
	if !denied || unknown != nil || level <= 2 || k.mayLoad() != nil || k.lockdown == "confidentiality" || !k.capsKnown || k.capable(unix.CAP_SYS_ADMIN) {
		return k.explain(doing, err)
	}
	return &NeedError{
		Need:   "kernel.perf_event_paranoid <= 2, or CAP_SYS_ADMIN",
		Remedy: "sysctl kernel.perf_event_paranoid=2",
		Err:    fmt.Errorf("%s: %w", doing, err),
	}
}

// explainLoad is explain for the load of a program of a kind. A kernel without direct calls from functions
// answers EPERM to fentry alone, with an empty log: no right that we could be given mends that, and seccomp
// cannot tell one kind of program from another.
func (k *Kernel) explainLoad(kind ebpf.AttachType, doing string, err error) error {
	fentry := kind == ebpf.AttachTraceFEntry || kind == ebpf.AttachTraceFExit
	poor := k.raised && k.memlock != nil
	if !fentry || poor || k.mayLoad() != nil || k.lockdown == "confidentiality" || !errors.Is(err, unix.EPERM) {
		return k.explain(doing, err)
	}
	return &NeedError{
		Need:   "a kernel that takes fentry programs: this one refuses to load them",
		Remedy: "boot a kernel built with CONFIG_DYNAMIC_FTRACE_WITH_DIRECT_CALLS, as distributions' are; no privilege helps",
		Err:    fmt.Errorf("%s: %w", doing, unix.EPERM),
	}
}

// Facts is what doctor says about the host, in the order of importance.
func (k *Kernel) Facts() []Fact {
	tell := func(name, value string, err error) Fact {
		f := Fact{Name: name, Value: value}
		var need *NeedError
		if errors.As(err, &need) {
			f.Remedy = need.Remedy
		}
		return f
	}
	yes := func(ok bool, y, n string) string {
		if ok {
			return y
		}
		return n
	}
	or := func(s, unknown string) string { return yes(s != "", s, unknown) }
	return []Fact{
		tell("kernel", k.release, nil),
		tell("PID namespace", yes(k.pids.other, "a container's: PIDs are the host's with BPF", "the host's"), nil),
		tell("BPF privilege", yes(k.mayTrace(), "yes", "no"), k.mayLoad()),
		tell("kernel BTF", yes(k.btfPresent, btfPath, "absent"), k.needBTF()),
		tell("tracefs", or(k.tracefs, "not mounted (only the fallback without BTF needs it)"), nil),
		tell("lockdown", or(k.lockdown, "not reported"), nil),
		tell("perf_event_paranoid", or(k.paranoid, "unknown"), nil),
		tell("unprivileged_bpf_disabled", or(k.unpriv, "unknown"), nil),
	}
}

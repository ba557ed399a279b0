// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"
)

// TestExplainRefusals tells what privileges would mend from what nothing would.
func TestExplainRefusals(t *testing.T) {
	log := []string{"0: (79) r6 = *(u64 *)(r1 +0)", "R2 !read_ok", "processed 1 insns (limit 1000000) …"}
	tests := map[string]struct {
		err         error
		lockdown    string
		need        string // of a NeedError; empty: none
		says        string
		unsupported bool
	}{
		"not permitted": {err: unix.EPERM, need: "permission for this kind of program", says: "loading x"},
		"access denied": {err: fmt.Errorf("load program: %w", unix.EACCES), need: "permission for this kind of program"},
		"not permitted, an empty log": {
			err: &ebpf.VerifierError{Cause: unix.EPERM}, need: "permission for this kind of program",
		},
		"denied without a log": {
			err: &ebpf.VerifierError{Cause: unix.EACCES}, need: "permission for this kind of program",
		},
		"locked down": {
			err: unix.EPERM, lockdown: "confidentiality", need: "a kernel that is not locked down for confidentiality",
		},
		"the verifier": {
			err: fmt.Errorf("program x: %w", &ebpf.VerifierError{Cause: unix.EACCES, Log: log}), says: "R2 !read_ok", unsupported: true,
		},
		"the verifier, locked down": {
			err: &ebpf.VerifierError{Cause: unix.EACCES, Log: log}, lockdown: "confidentiality", says: "R2 !read_ok", unsupported: true,
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := &Kernel{btfPresent: true, lockdown: tt.lockdown}
			got := k.explain("loading x", tt.err)
			var need *NeedError
			if errors.As(got, &need) != (tt.need != "") || need != nil && (need.Need != tt.need || need.Remedy == "") {
				t.Errorf("explain(%v) = %v, want the need of %q with a remedy", tt.err, got, tt.need)
			}
			if !strings.Contains(got.Error(), tt.says) || errors.Is(got, ErrUnsupported) != tt.unsupported {
				t.Errorf("explain(%v) = %v, want %q in it, unsupported: %v", tt.err, got, tt.says, tt.unsupported)
			}
		})
	}
}

// TestExplainKinds tells a kernel that takes no fentry from a refusal that a privilege mends.
func TestExplainKinds(t *testing.T) {
	const fentry = "a kernel that takes fentry programs: this one refuses to load them"
	const permission = "permission for this kind of program"
	refused := fmt.Errorf("program x: %w", &ebpf.VerifierError{Cause: unix.EPERM})
	tests := map[string]struct {
		kernel *Kernel
		kind   ebpf.AttachType
		err    error
		need   string
	}{
		"fentry":                   {&Kernel{}, ebpf.AttachTraceFEntry, refused, fentry},
		"fexit":                    {&Kernel{}, ebpf.AttachTraceFExit, refused, fentry},
		"a tracepoint":             {&Kernel{}, ebpf.AttachTraceRawTp, refused, permission},
		"fentry, denied otherwise": {&Kernel{}, ebpf.AttachTraceFEntry, unix.EACCES, permission},
		"fentry, locked down": {
			&Kernel{lockdown: "confidentiality"}, ebpf.AttachTraceFEntry, refused, "a kernel that is not locked down for confidentiality",
		},
		"fentry without privilege": {&Kernel{capsKnown: true}, ebpf.AttachTraceFEntry, refused, "root, or CAP_BPF and CAP_PERFMON"},
		"fentry, no memory": {
			&Kernel{raised: true, memlock: unix.EPERM}, ebpf.AttachTraceFEntry, refused, "more locked memory (RLIMIT_MEMLOCK)",
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := tt.kernel.explainLoad(tt.kind, "loading x", tt.err)
			if need, ok := errors.AsType[*NeedError](got); !ok || need.Need != tt.need || need.Remedy == "" {
				t.Errorf("explainLoad(%v, %v) = %v, want the need of %q with a remedy", tt.kind, tt.err, got, tt.need)
			}
		})
	}
}

// TestExplainVerifier asks the kernel's own verifier.
func TestExplainVerifier(t *testing.T) {
	k := need(t)
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.SocketFilter, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Reg(asm.R0, asm.R7), asm.Return()}, // R7 was never written
	})
	if err == nil {
		p.Close()
		t.Fatal("the verifier took a register that was never written")
	}
	if !errors.Is(err, unix.EACCES) {
		t.Fatalf("the verifier's error is %v, want EACCES", err)
	}
	var need *NeedError
	if got := k.explain("loading x", err); errors.As(got, &need) || !errors.Is(got, ErrUnsupported) {
		t.Errorf("explain(%v) = %v, want what the verifier says, and nothing of permissions", err, got)
	}
}

// TestExplainPerf tells the level of kernel.perf_event_paranoid that some kernels add from other refusals.
func TestExplainPerf(t *testing.T) {
	const paranoid, permission = "kernel.perf_event_paranoid <= 2, or CAP_SYS_ADMIN", "permission for this kind of program"
	const files, admin = 1<<unix.CAP_BPF | 1<<unix.CAP_PERFMON, 1 << unix.CAP_SYS_ADMIN
	tests := map[string]struct {
		caps     uint64
		paranoid string
		lockdown string
		err      error
		need     string
	}{
		"Debian's default":      {files, "3", "", unix.EACCES, paranoid},
		"Ubuntu's":              {files, "4", "", unix.EPERM, paranoid},
		"the kernel's":          {files, "2", "", unix.EACCES, permission},
		"not told":              {files, "", "", unix.EACCES, permission},
		"may everything":        {admin, "3", "", unix.EACCES, permission},
		"locked down":           {files, "3", "confidentiality", unix.EPERM, "a kernel that is not locked down for confidentiality"},
		"nothing to do with it": {files, "3", "", unix.EMFILE, ""},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			k := &Kernel{caps: tt.caps, capsKnown: true, paranoid: tt.paranoid, lockdown: tt.lockdown, btfPresent: true}
			got := k.explainPerf("sampling CPU 0", fmt.Errorf("opening the clock of CPU 0: %w", tt.err))
			need, ok := errors.AsType[*NeedError](got)
			if ok != (tt.need != "") || ok && (need.Need != tt.need || need.Remedy == "") || !errors.Is(got, tt.err) && !ok {
				t.Errorf("explainPerf(%v) = %v, want the need of %q with a remedy", tt.err, got, tt.need)
			}
		})
	}
}

// TestMemlock: only kernels before 5.11 charge maps to RLIMIT_MEMLOCK, so that more of it helps nobody else.
func TestMemlock(t *testing.T) {
	for release, want := range map[string]bool{
		"5.10.0-262-amd64": true, "5.4.0": true, "4.19.1": true, "?": true, "": true,
		"5.11.0": false, "5.15.0-rc1": false, "6.1.192": false, "6.18.44-fc": false, "7.3": false, "10.0": false,
	} {
		if got := (&Kernel{release: release}).chargesMemlock(); got != want {
			t.Errorf("%q charges maps: %v, want %v", release, got, want)
		}
	}
}

// TestUserNamespace: root of a user namespace has all capabilities and may load nothing, on any kernel.
func TestUserNamespace(t *testing.T) {
	const env = "BPF60_TEST_USERNS"
	if os.Getenv(env) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), env+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
		}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("in a user namespace: %v\n%s", err, out)
		}
		return
	}
	k := Inspect()
	if os.Geteuid() != 0 || k.caps&(1<<unix.CAP_SYS_ADMIN) == 0 {
		t.Fatalf("user %d with capabilities %x, want root with all of them", os.Geteuid(), k.caps)
	}
	opens := map[string]func() (io.Closer, error){
		"sched":    func() (io.Closer, error) { return OpenSched(k, SchedParts{Switch: true}) },
		"tasks":    func() (io.Closer, error) { return OpenTasks(k) },
		"syscalls": func() (io.Closer, error) { return OpenSyscalls(k) },
	}
	for name, open := range opens {
		_, err := open()
		if need, ok := errors.AsType[*NeedError](err); !ok || need.Need != "root of the host, not of a user namespace" || need.Remedy == "" {
			t.Errorf("%s: %v, want the need of the host's root with a remedy", name, err)
		}
	}
}

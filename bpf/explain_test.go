// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"strings"
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

// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"maps"
	"slices"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// TestVerified: what is attached from the start on is verified at a glance. The kernel allows a million
// instructions, which take seconds.
func TestVerified(t *testing.T) {
	calls := subjectOf("syscall", func(k *Kernel) (*Syscalls, error) { return OpenSyscalls(k) }, func(s *Syscalls) *object { return s.obj })
	for _, s := range append(fromStart(), calls) {
		t.Run(s.name, func(t *testing.T) {
			k := need(t)
			obj, err := s.open(k)
			if err != nil {
				t.Fatal(err)
			}
			closing(t, obj)
			for p, name := range k.progs {
				most := uint32(12_000)
				switch name {
				case "block_ended", // slots in line: some milliseconds once for 100 ns of every request
					"syscall_left": // of all parts, as one more program would cost every call
					most = 25_000
				}
				if !obj.casts { // the verifiers of before 6.2 go more ways
					most *= 3
				}
				if n := verified(t, p); n > most {
					t.Errorf("%s: the verifier went through %d instructions, want at most %d", name, n, most)
				}
			}
		})
	}
}

// TestLoadsTrusting: the same programs load where trust cannot be given up, as before 6.2.
func TestLoadsTrusting(t *testing.T) {
	tried := 0
	for _, s := range fromStart() {
		k := need(t)
		obj, err := s.open(k)
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		closing(t, obj)
		if !obj.casts { // or its programs follow no pointer
			continue
		}
		tried++
		t.Run(s.name, func(t *testing.T) {
			names := slices.Collect(maps.Values(k.progs))
			if err := obj.cast(false); err != nil {
				t.Fatal(err)
			}
			for _, name := range names {
				if _, err := obj.load(name); err != nil {
					t.Error(err)
				}
			}
		})
	}
	if tried == 0 {
		t.Skip("this kernel keeps trust")
	}
}

// TestCastRefused: a kernel whose verifier takes no such cast gets the programs without it, and they count.
func TestCastRefused(t *testing.T) {
	w := watchExec(t)
	if !w.obj.casts {
		t.Skip("this kernel keeps trust")
	}
	if err := w.obj.detach(); err != nil {
		t.Fatal(err)
	}
	err := w.obj.edit(func(spec *ebpf.CollectionSpec) error {
		ins := spec.Programs["exec_begun"].Instructions
		for i := range ins { // to a type that is no structure
			if ins[i].OpCode.IsDWordLoad() && btf.CORERelocationMetadata(&ins[i]) != nil {
				ins[i] = asm.LoadImm(ins[i].Dst, 1, asm.DWord)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.obj.attachTracing("exec_begun"); err != nil {
		t.Fatal(err)
	}
	if w.obj.casts {
		t.Error("the cast was not refused")
	}
	path := tinyIn(t, "bpf60-trusting", 0)
	before := w.counts(t).Totals[1].Execs
	for range 23 {
		reap(t, spawn(t, path, []string{"x"}))
	}
	if n := w.counts(t).Totals[1].Execs - before; n != 23 {
		t.Errorf("%d execs counted, want 23", n)
	}
}

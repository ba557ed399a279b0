// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"runtime"
	"strings"
	"testing"
)

// TestParsedAgain holds that an object which the garbage collector took comes back as it was set.
func TestParsedAgain(t *testing.T) {
	k := &Kernel{}
	o := &object{kernel: k, parse: loadIrqtime}
	for range 2 {
		if err := o.set("own_lines", uint32(77)); err != nil {
			t.Fatal(err)
		}
		if err := o.resize("lines", 78); err != nil {
			t.Fatal(err)
		}
		k.lastELF.Store(nil)
		runtime.GC()
		runtime.GC()
		if o.parsed.Value() != nil {
			t.Fatal("the parsed object is still there: nothing is tested")
		}
		spec := elf(t, o)
		var lines uint32
		if err := spec.Variables["own_lines"].Get(&lines); err != nil || lines != 77 {
			t.Errorf("own_lines = %d, %v, want 77", lines, err)
		}
		if n := spec.Maps["lines"].MaxEntries; n != 78 {
			t.Errorf("lines has %d entries, want 78", n)
		}
	}
	if err := o.set("no_such", 1); err == nil || !strings.Contains(err.Error(), "no_such") {
		t.Errorf("set(no_such) = %v, want an error that names it", err)
	}
	if err := o.resize("no_such", 1); err == nil || !strings.Contains(err.Error(), "no_such") {
		t.Errorf("resize(no_such) = %v, want an error that names it", err)
	}
}

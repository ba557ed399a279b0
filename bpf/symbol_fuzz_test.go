// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"fmt"
	"math"
	"testing"
)

// What the kernel prints of an address lies around it, whatever the text, and is the same when it is printed
// and parsed again.
func FuzzFunction(f *testing.F) {
	f.Add(uint64(0xffffffff81000010), "_stext+0x10/0x20")
	f.Add(uint64(0xffffffffc0000001), "far+0x1/0x30 [nfs]")
	f.Add(uint64(0xffffffffc0000001), "bpf_prog_6deef7357e7b4530_sd+0x1/0x30 [bpf] [x y]")
	f.Add(uint64(1), "early+0x2/0x3")
	f.Add(uint64(math.MaxUint64), "late+0x1/0xffffffffffffffff")
	f.Add(uint64(16), "+0x1/0x2")
	f.Add(uint64(16), "0x10")
	f.Fuzz(func(t *testing.T, addr uint64, text string) {
		got := parseFunction(addr, text)
		if got.Addr != addr || got.From > addr || got.To-1 < addr {
			t.Fatalf("parseFunction(%#x, %q) is from %#x to %#x of %#x", addr, text, got.From, got.To, got.Addr)
		}
		if got.Name == "" {
			if got != (Function{Addr: addr, From: addr, To: addr + 1}) {
				t.Fatalf("parseFunction(%#x, %q) is %+v, without a name", addr, text, got)
			}
			return
		}
		printed := fmt.Sprintf("%s+%#x/%#x", got.Name, addr-got.From, got.To-got.From)
		if got.Module != "" {
			printed += " [" + got.Module + "]"
		}
		if again := parseFunction(addr, printed); again != got {
			t.Errorf("parseFunction(%#x, %q) is %+v, printed and parsed again %+v", addr, text, got, again)
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
	"slices"
	"testing"
)

func FuzzStack(f *testing.F) {
	f.Add([]byte("[<0>] folio_wait_bit_common+0x13d/0x350\n[<0>] 0xffffffffffffffff\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		frames := parseStack(b)
		text := ""
		for _, x := range frames {
			if x == "" {
				t.Errorf("parseStack(%q) holds an empty name", b)
			}
			text += "[<0>] " + x + "+0x1/0x2\n"
		}
		if again := parseStack([]byte(text)); fmt.Sprint(again) != fmt.Sprint(frames) {
			t.Errorf("parseStack(%q) = %q, printed and parsed again: %q", b, frames, again)
		}
	})
}

func FuzzSymbols(f *testing.F) {
	f.Add([]byte("ffffffff81000000 T _stext\nffffffffc0000000 t far\t[nfs]\n"), uint64(0xffffffff81000001))
	f.Add([]byte("0000000000000000 T _stext\n"), uint64(0))
	f.Fuzz(func(t *testing.T, b []byte, addr uint64) {
		s := newSearch(slices.Compact([]uint64{addr, 1<<64 - 1}))
		s.take(b)
		if s.settle() != nil {
			return
		}
		if last := s.want[len(s.want)-1]; len(last.name) == 0 {
			t.Errorf("the highest address has no name in %q", b)
		}
		for _, w := range s.want {
			if (len(w.name) == 0) != (w.from == 0) || w.from > w.addr {
				t.Errorf("%#x of %q lies in %q at %#x", w.addr, b, w.name, w.from)
			}
		}
	})
}

func FuzzSyscallFiles(f *testing.F) {
	f.Add([]byte("1 0x1 0x555a58670000 0x1000 0x7f5827c014f0 0x0 0x0 0x7fffd9b2fa78 0x7f5827ce0350\n"))
	f.Add([]byte("-1 0x7fffd9b2fa78 0x7f5827ce0350\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		fds, n := parseSyscallFiles(b)
		for _, fd := range fds[:n] {
			if int32(fd) < 0 {
				t.Errorf("parseSyscallFiles(%q) = %v", b, fds[:n])
			}
		}
	})
}

func FuzzMountID(f *testing.F) {
	f.Add([]byte("pos:\t0\nflags:\t0100002\nmnt_id:\t29\nino:\t12\n"))
	f.Add([]byte("mnt_id:\n"))
	f.Add([]byte("mnt_id: 18446744073709551616\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		id, ok := parseMountID(b)
		if !ok {
			return
		}
		if again, ok := parseMountID(fmt.Appendf(nil, "pos:\t0\nmnt_id:\t%d\n", id)); !ok || again != id {
			t.Errorf("parseMountID(%q) = %d, printed and parsed again %d %t", b, id, again, ok)
		}
	})
}

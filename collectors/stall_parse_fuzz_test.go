// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"fmt"
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
		s := symbols{read: true}
		s.take(b)
		if s.err = s.build(); s.err != nil {
			return
		}
		if _, ok := s.at(s.base + uint64(s.addrs[0])); !ok {
			t.Errorf("the lowest address of %q has no name", b)
		}
		if name, ok := s.at(addr); ok && (name == "" || addr < s.base) {
			t.Errorf("at(%#x) of %q = %q", addr, b, name)
		}
	})
}

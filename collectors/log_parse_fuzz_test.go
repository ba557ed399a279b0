// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"bytes"
	"fmt"
	"testing"
	"time"
)

// escapeKmsg escapes as the kernel does (kernel/printk/printk.c, msg_add_ext_text).
func escapeKmsg(b []byte) (out []byte) {
	for _, c := range b {
		if c < ' ' || c >= 127 || c == '\\' {
			out = fmt.Appendf(out, `\x%02x`, c)
			continue
		}
		out = append(out, c)
	}
	return out
}

func FuzzKmsg(f *testing.F) {
	f.Add([]byte("6,339,5140900,-;NET: Registered\n SUBSYSTEM=pci\n"))
	f.Add([]byte(`4,1,2,c,caller=T1;\x1b[0m` + "\n"))
	f.Add([]byte(";;;"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := parseKmsg(b)
		if !ok {
			return
		}
		text := fmt.Appendf(nil, "%d,%d,%d,%c;%s\n", r.Prio, r.Seq, r.Time/time.Microsecond, max(r.Flag, ' '), escapeKmsg(r.Text))
		for _, x := range r.Fields {
			text = fmt.Appendf(text, " %s\n", escapeKmsg(x))
		}
		again, ok := parseKmsg(text)
		if !ok || again.Prio != r.Prio || again.Seq != r.Seq || again.Time != r.Time || !bytes.Equal(again.Text, r.Text) || len(again.Fields) != len(r.Fields) {
			t.Errorf("parseKmsg(%q) = %+v, printed as %q and parsed again: %+v", b, r, text, again)
		}
	})
}

func FuzzSyslog(f *testing.F) {
	f.Add([]byte("<6>[    1.000000] one"))
	f.Add([]byte("<4>[    1.000000][    T1] one"))
	f.Add([]byte("<>["))
	f.Fuzz(func(t *testing.T, b []byte) {
		prio, at, text, ok := parseSyslog(b)
		if ok && at >= 0 {
			line := fmt.Appendf(nil, "<%d>[%5d.%06d] %s", prio, at/time.Second, at%time.Second/time.Microsecond, text)
			if p, a, x, ok := parseSyslog(line); !ok || p != prio || a != at || !bytes.Equal(x, text) {
				t.Errorf("parseSyslog(%q) = %d %v %q, printed as %q: %d %v %q", b, prio, at, text, line, p, a, x)
			}
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"os"
	"strings"
	"testing"

	"bpf60/collectors"
)

func TestOSC52(t *testing.T) {
	const plain = "\x1b]52;c;UElEIDEgIENPTU1BTkQgaW5pdA==\a"
	tests := map[string]struct {
		env  map[string]string
		want string
	}{
		"a terminal":             {map[string]string{"TERM": "xterm-256color"}, plain},
		"tmux":                   {map[string]string{"TERM": "screen", "TMUX": "/tmp/x,1,0"}, "\x1bPtmux;\x1b" + plain + "\x1b\\" + plain},
		"tmux under sudo":        {map[string]string{"TERM": "tmux-256color"}, "\x1bPtmux;\x1b" + plain + "\x1b\\" + plain},
		"GNU screen":             {map[string]string{"TERM": "screen.xterm", "STY": "1.x"}, "\x1bP" + plain + "\x1b\\"},
		"one of both under sudo": {map[string]string{"TERM": "screen-256color"}, plain},
	}
	text := collectors.Clean(collectors.RawString("PID 1  COMMAND init"))
	for name, tt := range tests {
		if got := osc52(text, func(k string) string { return tt.env[k] }); got != tt.want {
			t.Errorf("%s: osc52 = %q, want %q", name, got, tt.want)
		}
	}
}

// What is copied goes out between two frames, whole, and does not make the next frame a repaint.
func TestClipboardWrites(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	o := newOutput(w, "xterm")
	give := o.clipboard(func(string) string { return "" })
	frame := "\x1b[H" + strings.Repeat("row\r\n", 2) + "row\x1b[3;H"
	for _, f := range []func() error{
		func() error { _, err := o.WriteString(frame); return err },
		func() error { return give(collectors.Clean(collectors.RawString("x"))) },
		func() error { _, err := o.WriteString("\x1b[Hraw\r\n\n\x1b[3;H"); return err },
	} {
		if err := f(); err != nil {
			t.Fatal(err)
		}
	}
	o.abort()
	if err := give(collectors.Clean(collectors.RawString("y"))); err == nil {
		t.Error("a terminal that was given up takes a text")
	}
	o.close()
	w.Close()
	buf := make([]byte, 4096)
	got := ""
	for {
		n, err := r.Read(buf)
		got += string(buf[:n])
		if err != nil {
			break
		}
	}
	want := frame + "\x1b]52;c;eA==\a" + "\x1b[1;2Ha\x1b[3;H"
	if got != want {
		t.Errorf("the terminal got\n%q, want\n%q", got, want)
	}
}

// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestIncomplete(t *testing.T) {
	for in, want := range map[string]bool{
		"":                 false,
		"j":                false,
		"\x1b":             true,
		"j\x1b":            true,
		"\x1b[":            true,
		"\x1b[A":           false,
		"\x1b[1;5":         true,
		"\x1b[1;5C":        false,
		"\x1b[A\x1b[":      true,
		"\x1bO":            true,
		"\x1bOP":           false,
		"\x1bO2":           true,
		"\x1bO2P":          false,
		"\x1b[[":           true,
		"\x1b[[A":          false,
		"\x1b[M":           true,
		"\x1b[M !":         true,
		"\x1b[M !!":        false,
		"\x1b[<64;10;1":    true,
		"\x1b[<64;10;10M":  false,
		"\x1bj":            false, // alt+j
		"\x1b\xc3":         true,  // alt and half a character
		"\x1b\xc3\xa4":     false,
		"\xc3":             true,
		"\xc3\xa4":         false,
		"\xe2\x82":         true,
		"\xff":             false,
		"\x80\x80\x80\x80": false,
		"\x1b[" + strings.Repeat("1", 2*longestKey): false,
	} {
		if got := incomplete([]byte(in)); got != want {
			t.Errorf("incomplete(%q) = %t, want %t", in, got, want)
		}
	}
}

func TestWithoutPaste(t *testing.T) {
	for in, want := range map[string]string{
		"abc":                      "abc",
		"\x1b[200~abc\x1b[201~d":   "abcd",
		"\x1b[200~":                "",
		"\x1b[200~\x1b[200~\x1b[A": "\x1b[A",
		"\x1b[20~":                 "\x1b[20~",
		"\x1b[200":                 "\x1b[200",
	} {
		b := []byte(in)
		if got := string(b[:withoutPaste(b)]); got != want {
			t.Errorf("withoutPaste(%q) = %q, want %q", in, got, want)
		}
	}
}

// A key in two writes is one read; a lone Esc comes through after the wait.
func TestInputJoinsSplitKeys(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in := &input{File: r}
	buf := make([]byte, 256)
	for name, parts := range map[string][]string{
		"arrow":      {"\x1b", "[A"},
		"arrow at [": {"\x1b[", "B"},
		"mouse":      {"\x1b[<64;1", "0;10M"},
		"character":  {"\xc3", "\xa4"},
	} {
		if _, err := w.WriteString(parts[0]); err != nil {
			t.Fatal(err)
		}
		polled := make(chan error, 1)
		go func() {
			// The rest comes once the first part has been read.
			for {
				n, err := unix.IoctlGetInt(int(w.Fd()), unix.TIOCINQ)
				if err != nil || n == 0 {
					_, err := w.WriteString(parts[1])
					polled <- err
					return
				}
			}
		}()
		n, err := in.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-polled; err != nil {
			t.Fatal(err)
		}
		if got, want := string(buf[:n]), strings.Join(parts, ""); got != want {
			t.Errorf("%s: read %q, want %q", name, got, want)
		}
	}
	if _, err := w.WriteString("\x1b"); err != nil {
		t.Fatal(err)
	}
	if n, err := in.Read(buf); err != nil || string(buf[:n]) != "\x1b" {
		t.Errorf("a lone Esc: read %q, %v", buf[:n], err)
	}
	w.Close()
	if _, err := in.Read(buf); !errors.Is(err, errGone) || errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v, want errGone and not io.EOF", err)
	}
}

func TestSplitArrowOnTerminal(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "idle"})
	p.see("ready")
	p.send("\x1b")
	p.send("[A")
	p.see("keys <up>")
	p.send("jjj") // one read, and one message with three runes: the model's affair
	p.see("<up><jjj>")
	p.send("\x1b")
	p.see("<esc>")
	p.send("\x1b[200~x\x1b[201~")
	p.see("<esc><x>")
	p.send("\x1b[<0;10;10M")
	p.see("mouse 1")
}

func TestNoMouse(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "idle", args: []string{"--no-mouse"}})
	p.see("ready")
	for mode, on := range modes(p.output()) {
		if strings.HasPrefix(mode, "100") && on {
			t.Errorf("mode ?%s is on", mode)
		}
	}
}

// A million random bytes, and a paste that never ends, neither stop it nor fill the memory.
func TestHostileKeys(t *testing.T) {
	limit := 96 << 20
	if raceDetector {
		limit *= 4
	}
	random := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 1<<20)
	for i := range noise {
		noise[i] = byte(random.UintN(256))
		if noise[i] == 0x03 || noise[i] == 0x1a { // ctrl+c and ctrl+z are no noise
			noise[i] = 0x1b
		}
	}
	grammar := new(strings.Builder)
	for grammar.Len() < 1<<18 {
		grammar.WriteString([]string{"\x1b", "[", "O", "<", "200~", "1;", "M", "m", "\xc3", "A", "~", "\x1b[200~", "\x1b[M", "\x1b]11;"}[random.IntN(14)])
	}
	for name, keys := range map[string]string{
		"noise": string(noise), "escapes": grammar.String(), "paste": "\x1b[200~" + strings.Repeat("x", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := start(t, play{scene: "idle stubborn"})
			p.see("ready")
			p.send(keys)
			until(t, "reading it all", func() bool {
				n, err := unix.IoctlGetInt(int(p.tty.Fd()), unix.TIOCINQ)
				return err == nil && n == 0
			})
			if got := maxRSS(t, p); got > limit {
				t.Errorf("it took %d MiB, want at most %d", got>>20, limit>>20)
			}
			p.send(" \x03")
			if got := p.exit(soon); got != exitDone {
				t.Errorf("exit code = %d, want %d", got, exitDone)
			}
			p.restored()
		})
	}
}

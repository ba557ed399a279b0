// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"encoding/base64"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// configured writes a configuration and starts the program with it; what it says first goes to a file.
func configured(t *testing.T, w, h int, text string) (x *window, said func() string) {
	t.Helper()
	dir := t.TempDir()
	config, stderr := filepath.Join(dir, "config.toml"), filepath.Join(dir, "stderr")
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	x = openWindow(t, w, h, binary()+" --config "+config+" 2>"+stderr)
	return x, func() string {
		b, err := os.ReadFile(stderr)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(b), config, "FILE")
	}
}

// A configuration with one good binding, one that conflicts and one that is unknown: the warnings
// name their lines, the start goes on, and the good one works.
func TestConfiguredKeys(t *testing.T) {
	x, said := configured(t, 80, 24, `# mine
panes = ["processes", "cpu", "log"]
[keys]
pause = ["U"]
help = ["q"]
fly = ["f"]
[columns.processes]
show = ["PID", "rss", "VSZ", "COMMAND"]
sort = "rss"
`)
	x.see(`^\[3 Proc\] 2 CPU  Log`, `PID +↓RSS +VSZ`)
	const want = "bpf60: FILE:5: keys: help: \"q\" is both help and quit\n" +
		"bpf60: FILE:6: keys: no key is called \"fly\"; `bpf60 keys` lists them\n"
	if got := said(); !strings.Contains(got, "FILE:5: keys: help: \"q\" is both ") || !strings.HasSuffix(got, want[strings.Index(want, "bpf60: FILE:6"):]) || strings.Count(got, "\n") != 2 {
		t.Errorf("it says\n%s, want\n%s", got, want)
	}
	x.press("U")
	x.see(`PAUSED \d+s ago`)
	x.press("Space")
	x.press("?")
	x.see(`── help: Processes ──`, `^ U +pause, and resume`)
	x.press("Escape")
	x.wait("no help", func(lines []string) bool { return !strings.Contains(strings.Join(lines, "\n"), "── help") })
	x.press("U")
	x.wait("going on", func(lines []string) bool { return !strings.Contains(lines[0], "PAUSED") })
	x.quit()
}

// The mouse sorts by the head that is clicked and opens what is clicked twice, the palette takes
// words, C hides a column, e names the command.
func TestMouseAndWords(t *testing.T) {
	for _, size := range [][2]int{{80, 24}, {200, 60}} {
		x := openWindow(t, size[0], size[1], binary())
		x.see("── 60 seconds ──", `^.{4}pidstat`)
		x.press("3")
		x.see(`↓%CPU`, `^>`)
		x.clickOn("RSS")
		x.see(`↓RSS`)
		x.clickOn("RSS")
		x.see(`↑RSS`)
		x.typed(":sort pid")
		x.see(`^:sort pid▏ sort PID`)
		x.press("Enter")
		x.see(`↓PID`)
		x.press("C")
		x.see(`── columns: Processes ──`, `^>?\[x\] PID`)
		x.press("j", "Enter", "Escape")
		x.wait("the column being gone", func(lines []string) bool { return !strings.Contains(strings.Join(lines, "\n"), "USER") })
		x.press("e")
		x.see(`── the same as: Processes ──`, `^>pidstat -urdw 1`)
		x.press("Escape")
		x.see(`── processes ──`)
		x.clickOn("2 CPU")
		x.see(`\[2 CPU\]`)
		x.quit()
	}
}

// clickOn presses the left button where the screen shows a text first, in the encoding that the
// program asked for.
func (x *window) clickOn(text string) {
	x.t.Helper()
	for y, l := range x.screen() {
		if i := strings.Index(l, text); i >= 0 {
			at := len([]rune(l[:i])) + 2
			x.typed("\x1b[<0;" + strconv.Itoa(at) + ";" + strconv.Itoa(y+1) + "M")
			x.typed("\x1b[<0;" + strconv.Itoa(at) + ";" + strconv.Itoa(y+1) + "m")
			return
		}
	}
	x.t.Fatalf("the screen does not show %q", text)
}

// y sends the selected row to the terminal by exactly one OSC 52, and nothing else ever does.
func TestCopyIsOneSequence(t *testing.T) {
	p := play{}.start(t, binary())
	p.see(wholeScreen)
	for _, step := range [][2]string{
		{"3", "[3 Proc]"},
		{"js", "COMMAND"},
		{"C", "columns: Processes"},
		{"\x1b", "── processes"},
		{"ej", "the same as: "},
		{"\x1b", "── processes"},
		{"?", "help: Processes"},
		{"\x1b", "── processes"},
		{":cpu\t", ":cpu"},
		{"\x1b", "H threads"},
	} {
		p.send(step[0])
		p.see(step[1])
	}
	if n := bytes.Count(p.bytes(), []byte("\x1b]")); n != 0 {
		t.Errorf("%d OSC sequences before y", n)
	}
	p.send("y")
	p.see("sent to the clipboard: PID ")
	_, after, ok := bytes.Cut(p.bytes(), []byte("\x1b]52;c;"))
	if !ok || bytes.Count(p.bytes(), []byte("\x1b]")) != 1 {
		t.Fatalf("%d OSC sequences, want one: OSC 52", bytes.Count(p.bytes(), []byte("\x1b]")))
	}
	body, _, ok := bytes.Cut(after, []byte("\a"))
	text, err := base64.StdEncoding.DecodeString(string(body))
	if !ok || err != nil || !strings.HasPrefix(string(text), "PID ") || !strings.Contains(string(text), " COMMAND ") || bytes.ContainsAny(text, "\n\r\x1b") {
		t.Errorf("copied %q, %v", text, err)
	}
	p.send("q")
	if code := p.exit(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// What a user sees of a histogram and of a heat map that have data.
const (
	count     = `[1-9][\d.]*[kMG]?`
	bucketRow = `^\s*\d+ -> \d+\s+` + count + ` █`
	heatRow   = `s │.*[░▒▓█]`
	splitRow  = `^\s*[\d.]+-[\d.]+[µm]?s\s+` + count
)

// The way of somebody who finds out why tasks wait, and leaves.
func TestFlow(t *testing.T) {
	asRoot(t)
	for _, size := range [][2]int{{80, 24}, {200, 60}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			start := time.Now()
			x := openWindow(t, size[0], size[1], binary())
			x.see("── 60 seconds ──", `^.{4}uptime`, `^.{4}vmstat`, `^.{4}mpstat`, `^.{4}runqlat`)
			x.logFirst(start)
			x.see(`runqlat  p50 [\d.]+-[\d.]+.s .* n \d+`)

			x.press("2")
			x.see(`\[2 CPU\]`, bucketRow, `n +\d+`)
			drawings(x)
			page(x)
			pause(x)
			help(x)
			save(t, x)
			burst(x)
			tour(x)
			sizes(x, size[0], size[1])
			x.quit()
		})
	}
}

// drawings goes through the ways to draw latency, and to split it.
func drawings(x *window) {
	x.t.Helper()
	x.press("v")
	x.see("v heat map", `p50.*p99`)
	x.press("v")
	x.see("v histogram", heatRow)
	x.press("v")
	x.see("v percentiles", bucketRow)
	x.press("i")
	x.see("── by cpu ──", "cpu0", splitRow)
	x.press("i")
	x.see("── by cause ──", "woken +preempted", splitRow)
	x.press("i")
	x.see("── by process ──", splitRow)
	x.press("i")
	x.see("── by cgroup ──")
	x.press("i")
	x.see("── all ──", bucketRow)
}

// page opens the page of a CPU and comes back to the line it was opened from.
func page(x *window) {
	x.t.Helper()
	x.see(`^> all `)
	x.press("j")
	x.see(`^> +0 `)
	x.press("Enter")
	x.see("2 CPU › cpu0 .*Esc back", "── waits for this CPU ──", `[\ds] +`+count+" █")
	x.press("Escape")
	x.see(`\[2 CPU\]`, `^> +0 `)
}

// pause holds the screen, and nothing moves on it but its age.
func pause(x *window) {
	x.t.Helper()
	x.press("Space")
	x.see(`PAUSED \d+s ago`)
	held := body(x.screen())
	older := regexp.MustCompile(`PAUSED [3-9]s ago`)
	later := x.wait("the pause growing older", func(lines []string) bool { return older.MatchString(lines[0]) })
	if got := body(later); got != held {
		x.t.Errorf("paused, and the screen went from\n%s\nto\n%s", held, got)
	}
	x.press("Space")
	x.wait("going on", func(lines []string) bool {
		return !strings.Contains(lines[0], "PAUSED") && body(lines) != held
	})
}

func help(x *window) {
	x.t.Helper()
	x.press("?")
	x.see("── help: CPU ──", `^.space p +pause`, `^.v +draw latency`, "Esc close")
	x.press("Escape")
	x.see(`\[2 CPU\]`, bucketRow)
}

// save writes a snapshot and checks what is in it, and who may read it.
func save(t *testing.T, x *window) {
	t.Helper()
	x.press("S")
	name := x.see(`saved (bpf60-\S+\.txt)`)[1]
	info, err := os.Lstat(filepath.Join(x.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("%s has the mode %v, want a plain file of 0600", name, info.Mode())
	}
	b, err := os.ReadFile(filepath.Join(x.dir, name))
	if err != nil {
		t.Fatal(err)
	}
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		regexp.QuoteMeta(host), `(?m)^run-queue latency: n \d+`, `usecs +: count +distribution`, `\|\*+ *\|`,
		`runqlat +(on|degraded) `,
	} {
		if !regexp.MustCompile(want).Match(b) {
			t.Errorf("the snapshot does not hold %s:\n%s", want, b)
		}
	}
	if i := strings.IndexFunc(string(b), func(r rune) bool { return r < ' ' && r != '\n' || r == utf8.RuneError }); i >= 0 {
		t.Errorf("the snapshot is no plain text at byte %d: %q", i, b[i:min(i+20, len(b))])
	}
}

// burst sends letters that arrive in one read: none is lost, and each counts where the ones
// before it have led.
func burst(x *window) {
	x.t.Helper()
	x.typed("1Gkkkkkkkk") // from the end, as findings come first
	x.see(`\[1 Over\]`, `^> +runqlat `)
	x.typed("kk2iv")
	x.see(`\[2 CPU\]`, "── by cpu ──", "v heat map")
	x.typed("vviiii")
	x.see("── all ──", bucketRow)
	x.press("1")
	x.see(`^> +vmstat `)
	x.press("2")
	x.see(`\[2 CPU\]`)
}

// tour opens every pane, by its digit, by its name and from a row, and a page of what can be had on
// every host.
func tour(x *window) {
	x.t.Helper()
	x.press("3")
	x.see(`\[3 Proc\]`, `^ +PID USER +%usr`, `^> +\d+ `)
	x.press("Enter")
	x.see(`3 Proc › .*Esc back`)
	x.press("Escape")
	x.see(`\[3 Proc\]`) // a key at once would be one with Alt
	x.press("4")
	x.see(`\[4 Mem\]`, `^ Mem: +\d+ +\d+ +\d+`, "── slabtop ──", `^> +\d+ +\d+ +\d+ .*[a-z]`)
	x.press("5")
	x.see(`\[5 Disk\]`, `^ Device +r/s`, "── file systems ──")
	x.press("6")
	x.see(`\[6 Net\]`, `^ IFACE +rxpck/s`)
	x.press("7")
	x.see(`\[7 TCP\]`, `^ TCP +active/s +\d`, `^ ETCP +retrseg/s +\d`)
	x.typed(":log")
	x.see(`^:log▏ log`)
	x.press("Enter")
	x.see(`\[Log\]`, `^ +TIME +LEVEL `)
	x.press("Escape")
	x.see(`\[7 TCP\]`)
	x.typed("2c")
	x.see(`2 CPU › by cgroup .*Esc back`)
	x.press("Escape")
	x.see(`\[2 CPU\]`)
}

// sizes makes the terminal small and large. Each screen is whole: header, tabs, footer at the
// bottom, no line too long.
func sizes(x *window, w, h int) {
	x.t.Helper()
	for _, to := range [][2]int{{70, 20}, {200, 60}, {40, 10}, {30, 5}, {w, h}} {
		x.resize(to[0], to[1])
		x.wait(fmt.Sprintf("a whole screen of %dx%d", to[0], to[1]), func(lines []string) bool {
			return whole(lines, to[0], to[1])
		})
	}
}

func whole(lines []string, w, h int) bool {
	if w < 40 || h < 10 {
		return strings.Contains(lines[0], fmt.Sprintf("needs 40×10, has %d×%d", w, h)) &&
			strings.TrimSpace(strings.Join(lines[1:], "")) == ""
	}
	if len(lines) != h || !strings.Contains(lines[0], "load ") || !strings.Contains(lines[1], "[2 CPU]") ||
		!strings.Contains(lines[h-1], "self ") || !strings.HasPrefix(lines[2], "── cpu ──") {
		return false
	}
	for _, l := range lines {
		if utf8.RuneCountInString(l) > w {
			return false
		}
	}
	return utf8.RuneCountInString(lines[2]) > w-2 // a title that ends with the line has no rule behind it
}

// A process that takes all CPUs is to be seen in the numbers that the classic tools show, and by
// its name as the one that ran while others waited.
func TestHog(t *testing.T) {
	asRoot(t)
	const name = "e2e-hog"
	startLoad(t, name, 4, 20)
	x := openWindow(t, 200, 60, binary())
	x.see(`vmstat +r (\d+)`)
	x.wait("a run queue and a busy CPU", func(lines []string) bool {
		shown := strings.Join(lines, "\n")
		return number(shown, `vmstat +r (\d+)`) >= 2 && number(shown, `mpstat +busiest cpu\d+ (\d+) %`) >= 90
	})
	x.wait("its share", func(lines []string) bool {
		return number(strings.Join(lines, "\n"), `\n.{4}top .*`+name+` (\d+) %`) >= 50 // of its 200, since others run, too
	})
	x.press("2")
	x.see(`ran instead .*` + name + ` \d+ %`)
	x.quit()
}

// number is the first group of the pattern, -1 if there is none.
func number(s, pattern string) int {
	m := regexp.MustCompile(pattern).FindStringSubmatch(s)
	if m == nil {
		return -1
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		return -1
	}
	return n
}

// Without privileges there is all that /proc tells, and what is missing is named with its remedy.
func TestNoPrivilege(t *testing.T) {
	dir, err := os.MkdirTemp(filepath.Dir(binary()), "") // others may enter, not write
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	p := play{nobody: true, dir: dir}.start(t, binary())
	p.see("60 seconds", "vmstat   r ", "mpstat   busiest", "needs root, or CAP_BPF and CAP_PERFMON")
	p.send("2")
	p.see("[2 CPU]", "> all ", "run-queue latency is not measured here", "why     needs root, or CAP_BPF and CAP_PERFMON",
		"remedy  run sudo bpf60")
	p.send("S")
	p.see("writing bpf60-", "user 65534 may not write there")
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("in a directory of somebody else are %v, %v, want nothing", left, err)
	}
	p.send("q")
	if code := p.exit(); code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
}

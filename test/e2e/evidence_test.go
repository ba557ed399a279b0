// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What a snapshot keeps of a recording is what the recording's report tells, text and JSON, own cost and
// probes included: only that it begins with the screen, and does not know the interval.
func TestEvidence(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	t.Setenv(loadWrites, filepath.Join(dir, "written"))
	startLoad(t, "e2e-evidence", 1, 10)
	file := filepath.Join(dir, "host.b60")
	if out, err := exec.Command(binary(), "record", "--for", "6s", "--interval", "500ms", file).CombinedOutput(); err != nil {
		t.Fatalf("record: %v\n%s", err, out)
	}
	report := func(format string) string {
		out, err := exec.Command(binary(), "report", "--from", file, "--format", format).Output()
		if err != nil {
			t.Fatalf("report --from: %v", err)
		}
		return string(out)
	}
	text := strings.Replace(report("text"), " samples at 500ms in ", " samples in ", 1)
	if !strings.Contains(text, "e2e-evidence") || !strings.Contains(text, " · 13 samples in 6.0 s") {
		t.Errorf("the report does not name the load, or is not of 13 samples in 6.0 s:\n%.2000s", text)
	}
	data := decoded(t, []byte(report("json")))
	if data["interval_seconds"] != 0.5 || data["duration_seconds"] != 6.0 {
		t.Errorf("%v s at %v s, want 6 at 0.5", data["duration_seconds"], data["interval_seconds"])
	}
	data["interval_seconds"] = nil
	for _, size := range [][2]int{{80, 24}, {200, 60}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			x := openWindow(t, size[0], size[1], binary()+" replay "+file)
			x.see("── 60 seconds ──", `REPLAY`, `-6s ├.+●┤ end`)
			shown := x.screen()
			x.press("S")
			name := filepath.Join(x.dir, x.see(`saved (bpf60-\S+\.txt)`)[1])
			b, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			screen, told, _ := strings.Cut(string(b), "\n"+strings.Repeat("─", 100)+"\n\n")
			if diff := cmp.Diff(strings.Split(text, "\n"), strings.Split(told, "\n")); diff != "" {
				t.Errorf("the text (-report +snapshot):\n%.3000s", diff)
			}
			if lines := strings.Split(screen, "\n"); len(lines) < 20 || strings.TrimRight(body(lines), " \n") != strings.TrimRight(body(shown), " \n") {
				t.Errorf("the snapshot's screen\n%s\nis not what was shown\n%s", screen, strings.Join(shown, "\n"))
			}
			if b, err = os.ReadFile(strings.TrimSuffix(name, ".txt") + ".json"); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(data, decoded(t, b)); diff != "" {
				t.Errorf("JSON (-report +snapshot):\n%.3000s", diff)
			}
			x.quit()
		})
	}
}

func decoded(t *testing.T, b []byte) (out map[string]any) {
	t.Helper()
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// The classic command that tells the same is named, and copied by y, which tmux then holds.
func TestCopyThroughTmux(t *testing.T) {
	bothSizes(t, func(t *testing.T, x *window) {
		x.must("set-option", "-g", "set-clipboard", "on")
		x.must("set-option", "-g", "allow-passthrough", "on")
		copied := func(of, want string) {
			x.press("y")
			x.see(of)
			got := ""
			until(t, "tmux holding "+want, func() bool {
				got, _ = x.run("show-buffer") // an error: there is none so far
				return strings.Contains(got, want)
			})
			if strings.ContainsAny(got, "\n\x1b") {
				t.Errorf("the buffer is %q, want one line", got)
			}
		}
		x.press("3")
		x.see(`\[3 Proc\]`, `^> +\d+ `)
		copied("sent to the clipboard: PID ", " COMMAND ")
		x.press("e")
		x.see(`── the same as: Processes ──`, `^>pidstat -urdw 1`)
		copied("sent to the clipboard", "pidstat -urdw 1")
		x.press("Escape")
		x.see(`── processes ──`)
	})
}

// A terminal that shrinks and grows again shows whole screens, and paused the same one.
func TestShrinks(t *testing.T) {
	bothSizes(t, func(t *testing.T, x *window) {
		first := x.screen()
		w, h := len([]rune(first[2])), len(first)
		x.press("2")
		x.see(`\[2 CPU\]`)
		through := func() {
			t.Helper()
			for _, to := range [][2]int{{60, 15}, {40, 10}, {w, h}} {
				x.resize(to[0], to[1])
				x.wait(fmt.Sprintf("a whole screen of %dx%d", to[0], to[1]), func(lines []string) bool {
					return whole(lines, to[0], to[1])
				})
			}
		}
		through()
		x.press("Space")
		x.see(`PAUSED \d+s ago`)
		held := body(x.screen())
		through()
		x.wait("the screen as it was", func(lines []string) bool { return body(lines) == held })
		x.press("Space")
		x.wait("going on", func(lines []string) bool { return !strings.Contains(lines[0], "PAUSED") })
	})
}

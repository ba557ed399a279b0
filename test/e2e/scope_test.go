// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// loadWrites makes the test binary a load that writes, to the file it names.
const loadWrites = "BPF60_E2E_WRITES"

// write64 writes 64 KiB to the disk a hundred times a second, as a thread of the process's name: it is
// the thread that asks for I/O.
func write64(path string) {
	runtime.LockOSThread()
	name, err := os.ReadFile("/proc/self/comm")
	if err != nil || os.WriteFile("/proc/thread-self/comm", bytes.TrimSpace(name), 0o644) != nil {
		return
	}
	f, err := os.Create(path)
	if err != nil {
		return
	}
	block := make([]byte, 64<<10)
	for range time.Tick(10 * time.Millisecond) {
		if _, err := f.WriteAt(block, 0); err != nil {
			return
		}
		if err := f.Sync(); err != nil {
			return
		}
	}
}

// Of three processes that write, one is found by a filter, made the scope, and then alone on the screen
// of the disks too; Esc gives the whole host back, with the cursor where it was.
func TestScope(t *testing.T) {
	asRoot(t)
	dir := t.TempDir()
	for _, name := range []string{"e2e-one", "e2e-two", "e2e-three"} {
		t.Setenv(loadWrites, filepath.Join(dir, name))
		startLoad(t, name, 0, 0)
	}
	x := openWindow(t, 120, 30, binary())
	x.see(`── 60 seconds ──`) // what is typed before goes to the shell's line
	x.press("3")
	x.see(`e2e-one`, `e2e-two`, `e2e-three`)

	x.press("/")
	x.typed("cpu>=0 and cmd~^e2e-t")
	x.see(`/cpu>=0 and cmd~\^e2e-t  2 of \d+ rows`)
	lacks(x, "e2e-one")
	x.press("C-u")
	x.typed("e2e-two and")
	x.see(`at 12: something is missing`, `/e2e-two an  0 of`)
	x.press("C-u")
	x.typed("e2e-two")
	x.press("Enter")
	x.see(`/e2e-two  1 of \d+ rows? `)
	lacks(x, "e2e-one", "e2e-three")

	x.press("f")
	pid := x.see(`3 Proc › e2e-two\[(\d+)\]`)[1]
	x.press("5")
	x.see(`5 Disk › e2e-two\[`+pid+`\] .*Esc whole host`, `whole host ─`, `e2e-two\[`+pid+`\]  writes n \d+ p50 `)
	x.press("t", "t", "t") // latency, slowest, processes
	x.see(`in e2e-two\[`+pid+`\]  1 of \d+ rows`, `>? *`+pid+` e2e-two`)
	lacks(x, "e2e-one", "e2e-three")

	x.press("Escape")
	x.see(`\[5 Disk\]`, `e2e-one`, `e2e-two`, `e2e-three`)
	x.press("[")
	x.see(`\[3 Proc\]`, `/e2e-two  1 of \d+ rows`)
	x.press("Escape")
	x.see(`e2e-one`, `(?m)^> +`+pid+` `)
	x.press("]")
	x.see(`\[5 Disk\]`)
	x.quit()
}

// lacks fails if the table on the screen holds any of the words. The first two lines are the host's and
// the way here, the last is the footer.
func lacks(x *window, words ...string) {
	x.t.Helper()
	shown := x.screen()
	table := strings.Join(shown[2:len(shown)-1], "\n")
	for _, w := range words {
		if regexp.MustCompile(regexp.QuoteMeta(w)).MatchString(table) {
			x.t.Errorf("the screen has %s:\n%s", w, strings.Join(shown, "\n"))
		}
	}
}

// --pid makes a process the scope from the start, and one that does not exist is an error of one line.
func TestScopeOfFlags(t *testing.T) {
	asRoot(t)
	startLoad(t, "e2e-flag", 1, 5)
	x := openWindow(t, 120, 30, "until pid=$(pgrep -x e2e-flag); do sleep 0.1; done; "+binary()+" --pid $pid")
	x.see(`1 Over › e2e-flag\[\d+\]`, `whole host ─`)
	x.press("3")
	x.see(`in e2e-flag\[\d+\]  1 of \d+ rows`)
	x.press("Escape")
	x.see(`\[3 Proc\]`)
	x.quit()
	y := openWindow(t, 120, 30, binary()+" --pid 4194305")
	y.see(`--pid: there is no process 4194305`, `EXIT=2`)
}

// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// execsInBurst is how many programs the burst starts, of a name that nothing else has.
const execsInBurst = 23

// What has passed is found again: a burst of execs, a pause when it is over, steps back to the mark.
// And what begins after the baseline is told apart from what was there.
func TestTime(t *testing.T) {
	asRoot(t)
	echo := tool(t, "env")
	for _, size := range [][2]int{{80, 24}, {200, 60}} {
		t.Run(fmt.Sprintf("%dx%d", size[0], size[1]), func(t *testing.T) {
			x := openWindow(t, size[0], size[1], binary())
			x.see("── 60 seconds ──")
			x.press("8")
			x.see(`\[8 Exec\]`, `execs [\d.]+[k]?/s`)
			settle(x)
			x.press("/")
			x.press(strings.Split("BURST", "")...)
			x.press("Enter")
			name := fmt.Sprintf("BURST%d", size[0])
			for i := range execsInBurst {
				if err := exec.Command(echo, fmt.Sprintf("%s=%02d", name, i), "true").Run(); err != nil {
					t.Fatal(err)
				}
			}
			last := fmt.Sprintf("%s=%02d", name, execsInBurst-1)
			x.see(last)
			x.press("2") // look at something else while it passes
			x.see(`\[2 CPU\]`)
			time.Sleep(3 * time.Second)
			x.press("Space")
			x.see(`PAUSED \d+s ago`, `-\d+[sm] ├[^┤]*●[^┤]*┤ now`)
			stepTo(t, x, name)
			x.press("/", "Enter", "End")
			x.wait("the present", func(lines []string) bool { return !strings.Contains(lines[0], "PAUSED") })
			compare(t, x)
			x.quit()
		})
	}
}

// settle waits until there are enough samples to know what is usual.
func settle(x *window) {
	x.t.Helper()
	x.see(`00:(0[8-9]|[1-5]\d)/60s|60s done`)
}

// stepTo steps back to where the burst had not been, and on to where it had: then all of it is there.
// The filter hides what the test itself starts meanwhile.
func stepTo(t *testing.T, x *window, name string) {
	t.Helper()
	x.press("8")
	x.see(`\[8 Exec\]`, name+`=\d\d`)
	one := regexp.MustCompile(name + `=\d\d`)
	there := func() bool { return one.MatchString(strings.Join(x.screen()[2:], "\n")) }
	step := func(key string, want bool) string {
		for range 60 {
			if there() == want {
				return x.see(`^ (\d\d:\d\d:\d\d)  -\d`)[1]
			}
			x.press(key)
			time.Sleep(100 * time.Millisecond)
		}
		t.Fatalf("60 times %s, and the burst is there: %v, want %v:\n%s", key, there(), want, strings.Join(x.screen(), "\n"))
		return ""
	}
	before := step("Left", false)
	after := step("Right", true)
	if after <= before {
		t.Errorf("the burst was not there at %s, and is at %s", before, after)
	}
	seen := map[string]bool{}
	for range 60 { // to its end, then through the list, as far as it is
		for _, s := range one.FindAllString(strings.Join(x.screen()[2:], "\n"), -1) {
			seen[s] = true
		}
		if len(seen) == execsInBurst {
			return
		}
		x.press("NPage")
		time.Sleep(100 * time.Millisecond)
		if len(seen) > 0 && strings.Contains(strings.Join(x.screen(), "\n"), name+"=00") {
			x.press("Right", "Home")
		}
	}
	t.Errorf("stepped to %s one sees %d execs of the burst, want %d:\n%s", after, len(seen), execsInBurst, strings.Join(x.screen(), "\n"))
}

// compare marks a baseline, starts something that runs, and finds it with D.
func compare(t *testing.T, x *window) {
	t.Helper()
	x.press("3")
	x.see(`\[3 Proc\]`, `^> +\d+ `)
	x.press("m")
	x.see(`the baseline is now \d\d:\d\d:\d\d`)
	spin := exec.Command(tool(t, "sh"), "-c", "while :; do :; done")
	if err := spin.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = spin.Process.Kill()
		_ = spin.Wait()
	}()
	x.press("D")
	x.see(`Δ since \d\d:\d\d:\d\d`, fmt.Sprintf(`^[+>] +%d .*\bnew\b.*while :`, spin.Process.Pid), `now ±difference, \d+ new`)
	x.press("2")
	x.see(`\[2 CPU\]`, `^> all .*[+-]\d`, `now +\d\d:\d\d:\d\d`)
	x.press("D")
	x.wait("no comparison", func(lines []string) bool { return !strings.Contains(strings.Join(lines, "\n"), "Δ") })
}

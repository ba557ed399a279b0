// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"bpf60/collectors"
)

// program is the fake program without a terminal.
func program(t *testing.T, scene string, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "TERM=xterm", "LANG=C.UTF-8", "HOME=" + t.TempDir(), sceneVariable + "=" + scene}
	return cmd
}

// blockedIn says whether a thread of a process waits in a function of the kernel that has word in its name.
func blockedIn(t *testing.T, pid int, word string) bool {
	t.Helper()
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/wchan", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range tasks {
		if b, err := os.ReadFile(path); err == nil && strings.Contains(string(b), word) {
			return true
		}
	}
	return false
}

// outcome is what a program that ends by itself did.
type outcome struct {
	Code           int
	Stdout, Stderr string
}

func finish(t *testing.T, cmd *exec.Cmd) outcome {
	t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return outcome{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"--foo":                        "bpf60: unknown flag --foo: use --interval, --no-bpf, --probes, --pid, --cgroup, --config, --theme, --color, --ascii, --no-mouse, --help\n",
		"-z":                           "bpf60: unknown flag -z: use --interval, --no-bpf, --probes, --pid, --cgroup, --config, --theme, --color, --ascii, --no-mouse, --help\n",
		"dance":                        "bpf60: unknown command \"dance\": use completion, config, doctor, keys, profile, record, replay, report, version\n",
		"report disc":                  "bpf60: unknown pane \"disc\": use overview, cpu\n",
		"report --format xml":          "bpf60: unknown format \"xml\": use text, json, html\n",
		"report --for 10ms":            "bpf60: --for 10ms is shorter than the interval of 1s\n",
		"report --bar":                 "bpf60: unknown flag --bar: use --for, --format, --from, --output, --brief, --interval, --no-bpf, --probes, --pid, --cgroup, --config, --ascii, --help\n",
		"version --theme mono":         "bpf60: bpf60 version takes no --theme: use --help\n",
		"--theme mono version":         "bpf60: bpf60 version takes no --theme: use --help\n",
		"doctor --interval 2s":         "bpf60: bpf60 doctor takes no --interval: use --json, --no-bpf, --probes, --config, --help\n",
		"replay --no-bpf x":            "bpf60: bpf60 replay takes no --no-bpf: use --pid, --cgroup, --config, --theme, --color, --ascii, --no-mouse, --help\n",
		"record --color never x":       "bpf60: bpf60 record takes no --color: use --for, --interval, --no-bpf, --probes, --pid, --cgroup, --config, --ascii, --help\n",
		"profile --format text":        "bpf60: unknown format \"text\": use folded, svg, pprof\n",
		"profile --for 10ms":           "bpf60: --for 10ms is shorter than a profile can be: use 1s or more\n",
		"profile cpu":                  "bpf60: bpf60 profile takes no argument, not \"cpu\"\n",
		"profile --no-bpf":             "bpf60: bpf60 profile takes no --no-bpf: use --for, --format, --output, --pid, --cgroup, --config, --ascii, --help\n",
		"keys --pid 1":                 "bpf60: bpf60 keys takes no --pid: use --markdown, --config, --help\n",
		"config --print-default --pid": "bpf60: bpf60 config takes no --pid: use --print-default, --markdown, --help\n",
		"completion bash --ascii":      "bpf60: bpf60 completion takes no --ascii: use --help\n",
		"--interval 1ns":               "bpf60: --interval: \"1ns\" is no interval: use 100ms to 1m0s, such as 1s\n",
		"--theme pink":                 "bpf60: --theme: unknown theme \"pink\": use dark, light, terminal, mono\n",
		"--color some":                 "bpf60: --color: unknown value \"some\": use auto, always, never, 16, 256, true\n",
		"--probes +foo":                "bpf60: --probes: unknown probe \"foo\": use runqlat, cpudist\n",
		"--interval":                   "bpf60: flag needs an argument: --interval\n",
		"version 1":                    "bpf60: bpf60 version takes no argument, not \"1\"\n",
		"completion tcsh":              "bpf60: unknown shell \"tcsh\": use bash, zsh, fish, powershell\n",
		"completion":                   "bpf60: completion needs one shell: bash, zsh, fish, powershell\n",
		"config":                       "bpf60: config needs --print-default\n",
	} {
		t.Run(args, func(t *testing.T) {
			got := finish(t, program(t, "idle", strings.Fields(args)...))
			if d := cmp.Diff(outcome{Code: exitUsage, Stderr: want}, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

// TestCrashesAreTold: however a run ends, the stack of what a bug stopped is printed.
func TestCrashesAreTold(t *testing.T) {
	const says = "bpf60: disk was stopped by a bug: boom"
	for _, args := range []string{"report --for 1s", "record --for 1s " + filepath.Join(t.TempDir(), "x.b60"), "doctor"} {
		t.Run(args, func(t *testing.T) {
			t.Parallel()
			got := finish(t, program(t, "idle crashed", strings.Fields(args)...))
			if got.Code != 0 || strings.Count(got.Stderr, says) != 1 || !strings.Contains(got.Stderr, "goroutine 7 [running]:") || strings.Contains(got.Stderr, "\x1b") {
				t.Errorf("exit %d, stderr %q, want %q once and the stack", got.Code, got.Stderr, says)
			}
		})
	}
	p := start(t, play{scene: "idle crashed"})
	p.see("ready")
	p.send("q")
	p.exit(soon)
	p.restored()
	if got := p.afterScreen(); !strings.Contains(got, says) {
		t.Errorf("after the screen came %q, want %q", got, says)
	}
}

func TestQuietCommands(t *testing.T) {
	for args, want := range map[string]string{
		"version":                       "bpf60 test go",
		"--help":                        "bpf60 shows within 60 seconds",
		"report --help":                 "report measures without a screen",
		"keys":                          "everywhere\n  q ",
		"config --print-default":        "# Configuration of bpf60.",
		"completion bash":               "# bash completion V2 for bpf60",
		"completion zsh":                "#compdef bpf60",
		"completion fish":               "# fish completion for bpf60",
		"completion powershell":         "# powershell completion for bpf60",
		"__complete report c":           "cpu\n",
		"__complete profile --format s": "folded\nsvg\npprof\n",
		"__complete --color a":          "auto\nalways\n",
	} {
		t.Run(args, func(t *testing.T) {
			got := finish(t, program(t, "idle", strings.Fields(args)...))
			if got.Code != exitDone || !strings.HasPrefix(got.Stdout, want) {
				t.Errorf("got %+v, want a beginning of %q", got, want)
			}
		})
	}
}

// Output that cannot be written is one line and an error, of help too.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, args := range []string{
		"--help", "report --help", "record --help", "replay --help", "profile --help", "doctor --help", "config --help", "keys --help",
		"completion --help", "version --help", "version", "keys", "config --print-default", "completion bash", "completion fish", "__complete report c",
	} {
		cmd := program(t, "idle", strings.Fields(args)...)
		var errs strings.Builder
		cmd.Stdout, cmd.Stderr = full, &errs
		_ = cmd.Run() // the code tells
		if got := errs.String(); cmd.ProcessState.ExitCode() != exitError || !strings.HasSuffix(got, "no space left on device\n") || strings.Count(got, "bpf60: ") != 1 {
			t.Errorf("%s: exit %d, %q", args, cmd.ProcessState.ExitCode(), got)
		}
		if !strings.HasPrefix(args, "__") && strings.Count(errs.String(), "\n") != 1 {
			t.Errorf("%s: %q, want one line", args, errs.String())
		}
	}
}

// Help lists the flags that a command takes, and no others.
func TestHelpFlags(t *testing.T) {
	every := []string{"--interval", "--no-bpf", "--probes", "--pid", "--cgroup", "--config", "--theme", "--color", "--ascii", "--no-mouse"}
	for command, want := range map[string][]string{
		"":           every,
		"report":     measuring(),
		"record":     measuring(),
		"replay":     {"--pid", "--cgroup", "--config", "--theme", "--color", "--ascii", "--no-mouse"},
		"profile":    {"--pid", "--cgroup", "--config", "--ascii"},
		"doctor":     {"--no-bpf", "--probes", "--config"},
		"keys":       {"--config"},
		"config":     nil,
		"completion": nil,
		"version":    nil,
	} {
		t.Run(command, func(t *testing.T) {
			got := finish(t, program(t, "idle", append(strings.Fields(command), "--help")...))
			_, flags, ok := strings.Cut(got.Stdout, "\nflags:\n")
			if got.Code != exitDone || !ok {
				t.Fatalf("got %+v, want a list of flags", got)
			}
			for _, name := range every {
				listed := strings.Contains(flags, " "+name+" ")
				if meant := slices.Contains(want, name) || slices.Contains(want, name[2:]); listed != meant {
					t.Errorf("%s is listed: %v, want %v", name, listed, meant)
				}
			}
		})
	}
}

func TestReport(t *testing.T) {
	base := []string{"report", "--for", "200ms", "--interval", "100ms"}
	for args, want := range map[string]string{
		"--format json --brief cpu": "report format=json brief=true panes=[cpu] some=true holds=[cpu]\n",
		"overview":                  "report format=text brief=false panes=[overview] some=true holds=[overview]\n",
		"--brief":                   "report format=text brief=true panes=[] some=true holds=[]\n",
		"":                          "report format=text brief=false panes=[] some=true holds=[overview cpu]\n",
	} {
		t.Run("stdout "+args, func(t *testing.T) {
			got := finish(t, program(t, "idle", append(slices.Clone(base), strings.Fields(args)...)...))
			if d := cmp.Diff(outcome{Stdout: want}, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	t.Run("file", func(t *testing.T) {
		cmd := program(t, "idle", append(base, "--output", "out.txt")...)
		got := finish(t, cmd)
		if d := cmp.Diff(outcome{}, got); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if got := content(filepath.Join(cmd.Dir, "out.txt")); !strings.HasPrefix(got, "report format=text") {
			t.Errorf("the file holds %q", got)
		}
	})
	t.Run("file that exists", func(t *testing.T) {
		// It must be refused before the measurement, which the loud scene would announce.
		cmd := program(t, "loud", append(base, "--output", "out.txt")...)
		put(t, cmd.Dir, "out.txt")
		got := finish(t, cmd)
		if got.Code != exitError || !strings.HasPrefix(got.Stderr, "bpf60: writing out.txt: it exists") || content(filepath.Join(cmd.Dir, "out.txt")) != "old" {
			t.Errorf("got %+v", got)
		}
	})
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := program(t, "loud", "report")
			stdout, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			listens(t, stderr)
			if err := cmd.Process.Signal(sig); err != nil {
				t.Fatal(err)
			}
			text, err := io.ReadAll(stdout)
			if err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // the code is looked at
			if got, want := cmd.ProcessState.ExitCode(), 128+int(sig); got != want {
				t.Errorf("exit code = %d, want %d", got, want)
			}
			if !strings.HasPrefix(string(text), "report ") {
				t.Errorf("stdout = %q, want the report of the time it had", text)
			}
		})
	}
}

// listens waits until a program is measuring: its signals are its own from then on. The scene says
// so on stderr.
func listens(t *testing.T, stderr io.Reader) {
	t.Helper()
	if _, err := io.ReadAtLeast(stderr, make([]byte, len(measuringLine)), len(measuringLine)); err != nil {
		t.Fatal(err)
	}
}

func TestReportProgress(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "idle", args: []string{"report", "--for", "600ms", "--interval", "100ms"}})
	p.see("measuring")
	if got := p.exit(soon); got != exitDone {
		t.Errorf("exit code = %d, want %d", got, exitDone)
	}
	p.drain()
	if got := p.text(); !strings.HasPrefix(got, "report ") {
		t.Errorf("the screen begins with %q, want the report in place of the bar", got[:40])
	}
	p.restored()
}

// The bar of a recording is on the terminal while it measures, and gone when it ends.
func TestRecordProgress(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "host.b60")
	p := start(t, play{scene: "idle", args: []string{"record", "--for", "10m", file}})
	p.see(" left, ctrl+c ends it")
	p.see("recording ")
	p.send("\x03")
	if got := p.exit(soon); got != exitSignal+int(syscall.SIGINT) {
		t.Errorf("exit code = %d, want %d", got, exitSignal+int(syscall.SIGINT))
	}
	p.drain()
	if got := strings.TrimSpace(p.text()); got != "" && got != "^C" {
		t.Errorf("the screen has %q, want nothing in place of the bar", got)
	}
	p.restored()
}

func TestLines(t *testing.T) {
	t.Run("until a signal", func(t *testing.T) {
		cmd := program(t, "idle")
		stdout, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAtLeast(stdout, make([]byte, 14), 14); err != nil { // two lines
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if rest, err := io.ReadAll(stdout); err != nil || strings.Contains(string(rest), "\x1b") {
			t.Errorf("rest = %q, %v", rest, err)
		}
		_ = cmd.Wait() // the code is looked at
		if got := cmd.ProcessState.ExitCode(); got != 143 {
			t.Errorf("exit code = %d, want 143", got)
		}
	})
	t.Run("until the reader leaves", func(t *testing.T) {
		cmd := program(t, "idle")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var errs strings.Builder
		cmd.Stdout, cmd.Stderr = w, &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		if _, err := io.ReadAtLeast(r, make([]byte, 7), 7); err != nil {
			t.Fatal(err)
		}
		r.Close()
		if err := cmd.Wait(); err != nil || errs.String() != "" {
			t.Errorf("it ended with %v, stderr %q, want quietly", err, errs.String())
		}
	})
	t.Run("whoever reads has stopped", func(t *testing.T) {
		cmd := program(t, "idle")
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		size, err := unix.FcntlInt(w.Fd(), unix.F_SETPIPE_SZ, os.Getpagesize())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(make([]byte, size-7)); err != nil { // room for one line
			t.Fatal(err)
		}
		cmd.Stdout = w
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		w.Close()
		for n := 0; n < size; time.Sleep(time.Millisecond) { // until that line is written
			if n, err = unix.IoctlGetInt(int(r.Fd()), unix.TIOCINQ); err != nil {
				t.Fatal(err)
			}
		}
		// Until the next one waits, where the kernel tells; ending is right in any case.
		for range 1000 {
			if blockedIn(t, cmd.Process.Pid, "pipe") {
				break
			}
			time.Sleep(time.Millisecond)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // the code is looked at
		if got := cmd.ProcessState.ExitCode(); got != 143 {
			t.Errorf("exit code = %d, want 143", got)
		}
	})
	for _, name := range []string{"dumb", ""} {
		t.Run("TERM="+name, func(t *testing.T) {
			t.Parallel()
			p := start(t, play{scene: "idle", env: []string{"TERM=" + name}})
			p.see("tick 2")
			p.signal(syscall.SIGINT)
			if got := p.exit(soon); got != 130 {
				t.Errorf("exit code = %d, want 130", got)
			}
			p.drain()
			if got := strings.TrimSuffix(p.output(), "\x1b]end\x07"); strings.Contains(got, "\x1b") {
				t.Errorf("escape sequences in %q", got)
			}
			p.restored()
		})
	}
}

func TestDoctor(t *testing.T) {
	got := finish(t, program(t, "idle", "doctor"))
	want := outcome{Stdout: `PROBE    STATE     EVENTS/S  NS/EVENT   CPU%  LOST  HOOK
runqlat  on               -         -      -     0  tp_btf sched_switch
cpudist  off              -         -      -     0  -
    needs CAP_BPF\x1b[31m
    remedy: run as root

HOST        VALUE
kernel BTF  absent
    remedy: boot a kernel with CONFIG_DEBUG_INFO_BTF
`}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("doctor (-want +got):\n%s", d)
	}

	got = finish(t, program(t, "idle", "doctor", "--json"))
	var d struct {
		Schema string
		Probes []struct{ Name, State, Hook, Reason, Remedy string }
		Facts  []Fact
	}
	if err := json.Unmarshal([]byte(got.Stdout), &d); err != nil {
		t.Fatalf("%v in %s", err, got.Stdout)
	}
	if d.Schema != "bpf60.doctor/1" || len(d.Probes) != 2 || d.Probes[0].State != "on" || d.Probes[1].Remedy != "run as root" || len(d.Facts) != 1 {
		t.Errorf("doctor --json = %+v", d)
	}
}

func TestCounted(t *testing.T) {
	row := func(events uint64) []collectors.Probe {
		return []collectors.Probe{{Name: "runqlat", State: collectors.On, Events: events, Lost: 3, NsPerEvent: 150}}
	}
	tests := map[string]struct {
		first, last []collectors.Probe
		span        time.Duration
		rate, cpu   float64
	}{
		"half a second":    {row(100), row(100_100), 500 * time.Millisecond, 200_000, 3},
		"attached anew":    {row(100), row(40), time.Second, 0, 0},
		"came in between":  {nil, row(40), time.Second, 40, 0.0006},
		"only one reading": {row(100), row(100), 0, 0, 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			got := counted(tt.first, tt.last, tt.span)
			if len(got) != 1 || got[0].EventsPerSecond != tt.rate || math.Abs(got[0].CPUPercent-tt.cpu) > 1e-9 || got[0].Lost != 3 {
				t.Errorf("counted = %+v, want %v events/s, %v %% of a CPU, 3 lost", got, tt.rate, tt.cpu)
			}
		})
	}
}

func TestSnapshotKey(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := start(t, play{scene: "idle", dir: dir})
	p.see("ready")
	p.send("S")
	p.see("saved bpf60-")
	p.send("q")
	p.exit(soon)
	p.restored()
	files, err := filepath.Glob(filepath.Join(dir, "bpf60-*.txt"))
	if err != nil || len(files) != 1 || content(files[0]) != "snapshot\n" {
		t.Errorf("the directory holds %s", listing(t, dir))
	}
}

// What could not be written is said again once the screen is gone.
func TestSnapshotThatFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	p := start(t, play{scene: "idle", dir: dir})
	p.see("ready")
	p.send("S")
	p.see("anybody may write")
	p.send("q")
	p.exit(soon)
	p.restored()
	if got := p.afterScreen(); !strings.Contains(got, "anybody may write") {
		t.Errorf("after the screen came %q, want the error once more", got)
	}
}

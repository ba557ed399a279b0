// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
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
		"--foo":               "bpf60: unknown flag --foo: use --interval, --no-bpf, --probes, --config, --theme, --color, --ascii, --no-mouse, --help\n",
		"-z":                  "bpf60: unknown flag -z: use --interval, --no-bpf, --probes, --config, --theme, --color, --ascii, --no-mouse, --help\n",
		"dance":               "bpf60: unknown command \"dance\": use completion, config, doctor, keys, report, version\n",
		"report disc":         "bpf60: unknown pane \"disc\": use overview, cpu\n",
		"report --format xml": "bpf60: unknown format \"xml\": use text, json\n",
		"report --for 10ms":   "bpf60: --for 10ms is shorter than the interval of 1s\n",
		"report --bar":        "bpf60: unknown flag --bar: use --for, --format, --output, --brief, --interval, --no-bpf, --probes, --config, --theme, --color, --ascii, --no-mouse, --help\n",
		"--interval 1ns":      "bpf60: --interval: \"1ns\" is no interval: use 100ms to 1m0s, such as 1s\n",
		"--theme pink":        "bpf60: --theme: unknown theme \"pink\": use dark, light, terminal, mono\n",
		"--color some":        "bpf60: --color: unknown value \"some\": use auto, always, never, 16, 256, true\n",
		"--probes +foo":       "bpf60: --probes: unknown probe \"foo\": use runqlat, cpudist\n",
		"--interval":          "bpf60: flag needs an argument: --interval\n",
		"version 1":           "bpf60: bpf60 version takes no argument, not \"1\"\n",
		"completion tcsh":     "bpf60: unknown shell \"tcsh\": use bash, zsh, fish, powershell\n",
		"completion":          "bpf60: completion needs one shell: bash, zsh, fish, powershell\n",
		"config":              "bpf60: config needs --print-default\n",
	} {
		t.Run(args, func(t *testing.T) {
			got := finish(t, program(t, "idle", strings.Fields(args)...))
			if d := cmp.Diff(outcome{Code: exitUsage, Stderr: want}, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestQuietCommands(t *testing.T) {
	for args, want := range map[string]string{
		"version":                "bpf60 test go",
		"--help":                 "bpf60 shows within 60 seconds",
		"report --help":          "report measures without a screen",
		"keys":                   "q quit\n",
		"config --print-default": "# Configuration of bpf60.",
		"completion bash":        "# bash completion V2 for bpf60",
		"completion zsh":         "#compdef bpf60",
		"completion fish":        "# fish completion for bpf60",
		"completion powershell":  "# powershell completion for bpf60",
		"__complete report c":    "cpu\n",
		"__complete --color a":   "auto\nalways\n",
	} {
		t.Run(args, func(t *testing.T) {
			got := finish(t, program(t, "idle", strings.Fields(args)...))
			if got.Code != exitDone || !strings.HasPrefix(got.Stdout, want) {
				t.Errorf("got %+v, want a beginning of %q", got, want)
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
	want := outcome{Stdout: `PROBE    STATE     HOOK
runqlat  on        tp_btf sched_switch
cpudist  off
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

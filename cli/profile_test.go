// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"bpf60/bpf"
	"bpf60/collectors"
)

// fakeProfiler gives one stack for each tenth of a second.
type fakeProfiler struct{ scene []string }

func newFakeProfiler(o *options, scene []string) (profiler, error) {
	if o.PID == 1 {
		return nil, usagef("--pid: there is no process 1")
	}
	return fakeProfiler{scene}, nil
}

func (f fakeProfiler) Run(ctx context.Context, span time.Duration) (*collectors.Profile, error) {
	if slices.Contains(f.scene, "forbidden") {
		return nil, fmt.Errorf("sampling: %w", &bpf.NeedError{Need: "root", Remedy: "run sudo bpf60"})
	}
	if slices.Contains(f.scene, "loud") {
		fmt.Fprint(os.Stderr, measuringLine)
	}
	began := time.Now()
	select {
	case <-ctx.Done():
	case <-time.After(span):
	}
	p := &collectors.Profile{
		Started: began, Took: time.Second, Hz: 99, CPUs: 2, Samples: 12, Named: 12, Processes: 1,
		Frames: []collectors.ProfileFrame{{Name: collectors.Clean(collectors.RawString("main")), Known: true}},
		Stacks: []collectors.ProfileStack{{Process: collectors.Process{TGID: 7}, Comm: collectors.Clean(collectors.RawString("sh")), Frames: []int32{0}, Count: 12}},
	}
	if slices.Contains(f.scene, "nameless") {
		p.NoKernelNames = &collectors.NeedError{Need: "addresses", Remedy: "run as root"}
		p.Refused = &bpf.NeedError{Need: "permission", Remedy: "ask for it"}
		p.TooMany = bpf.ErrSlots
	}
	return p, nil
}

const fakeSummary = "bpf60: 12 samples in 1.0 s at 99 Hz on 2 CPUs, 0 lost; 1 process; 0% of frames unknown; own cost 0.0% of a CPU and 0 samples, sampling ~0.00%\n"

func TestProfileCommand(t *testing.T) {
	dir := t.TempDir()
	taken := filepath.Join(dir, "taken")
	if err := os.WriteFile(taken, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	fresh := filepath.Join(dir, "fresh.svg")
	for name, tt := range map[string]struct {
		scene, args string
		want        outcome
	}{
		"folded":     {"idle", "profile --for 1s", outcome{0, "sh;main 12\n", fakeSummary}},
		"no right":   {"forbidden", "profile --for 1s", outcome{1, "", "bpf60: sampling: needs root: run sudo bpf60\n"}},
		"no process": {"idle", "profile --pid 1", outcome{2, "", "bpf60: --pid: there is no process 1\n"}},
		"two scopes": {"idle", "profile --pid 2 --cgroup /a", outcome{2, "", "bpf60: --pid and --cgroup: use one of them, every pane is about one thing\n"}},
		"no names": {"nameless", "profile --for 1s", outcome{0, "sh;main 12\n", "bpf60: not all CPUs were sampled: needs permission: ask for it\n" +
			"bpf60: not all cgroups were sampled: more targets than are counted apart at a time\n" +
			"bpf60: no names of kernel functions: needs addresses: run as root\n" + strings.Replace(fakeSummary, "1 process", "1 process, some cgroups left out", 1)}},
		"a file that is there": {"idle", "profile --output " + taken, outcome{1, "", "bpf60: writing " + taken + ": it exists and is left as it is: use another name (file exists)\n"}},
		"a new file":           {"idle", "profile --for 1s --format svg --output " + fresh, outcome{0, "", fakeSummary}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := finish(t, program(t, tt.scene, strings.Fields(tt.args)...))
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if name != "a new file" {
				return
			}
			st, err := os.Stat(fresh)
			if err != nil || st.Mode().Perm() != 0o600 {
				t.Errorf("the file: %v, %v, want mode 0600", st, err)
			}
			if b, err := os.ReadFile(fresh); err != nil || !strings.HasPrefix(string(b), "<svg ") {
				t.Errorf("the file begins with %.20q, %v", b, err)
			}
		})
	}
	if b, err := os.ReadFile(taken); err != nil || string(b) != "mine" {
		t.Errorf("the file that was there holds %q, %v", b, err)
	}
}

// TestProfileSignal: a signal writes what there is.
func TestProfileSignal(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		t.Run(sig.String(), func(t *testing.T) {
			cmd := program(t, "loud", "profile", "--for", "1h")
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
			said, err := io.ReadAll(stderr)
			if err != nil {
				t.Fatal(err)
			}
			_ = cmd.Wait() // the code is looked at
			if got, want := cmd.ProcessState.ExitCode(), 128+int(sig); got != want || string(text) != "sh;main 12\n" || string(said) != fakeSummary {
				t.Errorf("exit code %d, want %d; stdout %q, stderr %q", got, want, text, said)
			}
		})
	}
}

func TestProfileProgress(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "idle", args: []string{"profile", "--for", "1s"}})
	p.see("sampling")
	if got := p.exit(soon); got != exitDone {
		t.Errorf("exit code = %d, want %d", got, exitDone)
	}
	p.drain()
	if got := p.text(); !strings.HasPrefix(got, "sh;main 12") {
		t.Errorf("the screen begins with %.40q, want the profile in place of the bar", got)
	}
	p.restored()
}

// TestProfileBinary: what is no text does not go to a terminal.
func TestProfileBinary(t *testing.T) {
	t.Parallel()
	p := start(t, play{scene: "idle", args: []string{"profile", "--format", "pprof"}})
	if got := p.exit(soon); got != exitUsage {
		t.Errorf("exit code = %d, want %d", got, exitUsage)
	}
	p.drain()
	if got := strings.Join(strings.Fields(p.text()), " "); !strings.HasPrefix(got, "bpf60: --format pprof is no text, and stdout is a terminal: add --output FILE") {
		t.Errorf("the screen says %.120q", got)
	}
}

// TestProfileOfThisHost profiles the test itself, with the real parts.
func TestProfileOfThisHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	ended := make(chan struct{})
	spun := make(chan uint64)
	go func() {
		x := uint64(0)
		for {
			select {
			case <-ended:
				spun <- x
				return
			default:
				x = profiledSpin(x)
			}
		}
	}()
	out, errs, code := realRun(t, "profile", "--for", "2s", "--pid", fmt.Sprint(os.Getpid()))
	close(ended)
	<-spun
	if code != exitDone || !strings.Contains(out, "bpf60/cli.profiledSpin") || !strings.Contains(errs, "; 1 process; ") {
		t.Errorf("exit code %d, stderr %s, stdout\n%.2000s", code, errs, out)
	}
	if _, errs, code := realRun(t, "profile", "--pid", "4194304"); code != exitUsage || !strings.Contains(errs, "there is no process") {
		t.Errorf("of no process: exit code %d, stderr %s", code, errs)
	}
}

//go:noinline
func profiledSpin(x uint64) uint64 {
	for i := range uint64(1_000_000) {
		x = x*3 + i
	}
	return x
}

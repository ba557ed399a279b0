// SPDX-License-Identifier: Apache-2.0

// Package e2e runs the shipped program as a user does: in tmux, on a bare pseudo terminal and
// through a real sshd, over real load, and looks at the screen, at the bytes and at the kernel.
package e2e

import (
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// patience is how long a test waits for what must happen. Only failing tests wait that long.
const patience = time.Minute

// binaryVariable names the program under test, built once.
const binaryVariable = "BPF60_E2E_BINARY"

func TestMain(m *testing.M) {
	if name, ok := os.LookupEnv(loadName); ok {
		fmt.Fprintln(os.Stderr, load(name))
		os.Exit(1)
	}
	code, err := withBinary(m.Run)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(code)
}

// withBinary builds the program as it is shipped, in a directory that every user may enter.
func withBinary(run func() int) (int, error) {
	dir, err := os.MkdirTemp("", "bpf60-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	bin := filepath.Join(dir, "bpf60")
	build := exec.Command("go", "build", "-o", bin, "bpf60")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building bpf60: %w\n%s", err, out)
	}
	if err := os.Setenv(binaryVariable, bin); err != nil {
		return 0, err
	}
	return run(), nil
}

func binary() string { return os.Getenv(binaryVariable) }

// lacking skips, and fails in CI, where every machine can have everything.
func lacking(t *testing.T, what string) {
	t.Helper()
	if os.Getenv("CI") != "" {
		t.Fatalf("%s; CI must have it", what)
	}
	t.Skip(what)
}

// tool returns the path of a program that a test needs.
func tool(t *testing.T, name string) string {
	t.Helper()
	for _, name := range []string{name, "/usr/sbin/" + name} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	lacking(t, name+" is not installed: make test-deps")
	return ""
}

// asRoot is for tests that look at BPF numbers, or become somebody else.
func asRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		lacking(t, "this test runs as root")
	}
}

// until polls for what cannot announce itself, and says how long it took: to the log as well if it
// was long enough to be wondered at.
func until(t *testing.T, what string, f func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for !f() {
		if time.Since(start) > patience {
			t.Fatalf("%s did not happen within %v", what, patience)
		}
		<-tick.C
	}
	took := time.Since(start)
	if took > 5*time.Second {
		t.Logf("%s took %v", what, took.Round(time.Millisecond))
	}
	return took
}

// leash starts a shell script that is told of the end of the test by the end of its standard input:
// then also if the test is killed, so that nothing stays behind. What the script says is returned
// once it has ended.
func leash(t *testing.T, script string, args ...string) (said *strings.Builder) {
	t.Helper()
	said = new(strings.Builder)
	cmd := exec.Command("/bin/sh", append([]string{"-c", script, "sh"}, args...)...)
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // a ^C is for the test
	end, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		end.Close()
		_ = cmd.Wait() // its exit code says only that it was ended
	})
	return said
}

// Variables that make the test binary a load: its name in hex, how many threads run, and for how
// many of every 20 ms.
const (
	loadName    = "BPF60_E2E_LOAD"
	loadThreads = "BPF60_E2E_THREADS"
	loadMillis  = "BPF60_E2E_MILLIS"
)

// startLoad starts a process of that name. It ends with the test.
func startLoad(t *testing.T, name string, threads, millis int) (pid int) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), loadName+"="+hex.EncodeToString([]byte(name)),
		fmt.Sprintf("%s=%d", loadThreads, threads), fmt.Sprintf("%s=%d", loadMillis, millis))
	cmd.Stderr = os.Stderr
	if os.Getenv(loadDeaf) != "" {
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	}
	leash, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		leash.Close()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the load %q: %v", name, err)
		}
	})
	return cmd.Process.Pid
}

// load is the life of that process. It ends when its standard input does, so that it cannot stay
// behind even if the test is killed.
func load(nameHex string) error {
	name, err := hex.DecodeString(nameHex)
	if err != nil {
		return err
	}
	threads, err := strconv.Atoi(os.Getenv(loadThreads))
	if err != nil {
		return err
	}
	millis, err := strconv.Atoi(os.Getenv(loadMillis))
	if err != nil {
		return err
	}
	if err := os.WriteFile("/proc/self/comm", name, 0o644); err != nil {
		return err
	}
	runtime.GOMAXPROCS(threads + 1) // one is left for the leash
	for range threads {
		go spin(time.Duration(millis) * time.Millisecond)
	}
	if path := os.Getenv(loadWrites); path != "" {
		go write64(path)
	}
	if err := wear(); err != nil {
		return err
	}
	if err := trouble(); err != nil {
		return err
	}
	if addr := os.Getenv(loadDeaf); addr != "" {
		go func() { fmt.Fprintln(os.Stderr, "sending:", sendAgain(addr)) }()
	}
	if _, err := io.Copy(io.Discard, os.Stdin); err != nil {
		return err
	}
	os.Exit(0)
	return nil
}

// spin burns that much of every period, or all of it.
func spin(busy time.Duration) {
	const period = 20 * time.Millisecond
	tick := time.NewTicker(period)
	for {
		for start := time.Now(); busy >= period || time.Since(start) < busy; {
		}
		<-tick.C
	}
}

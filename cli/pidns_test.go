// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// TestInPIDNamespace measures as the first process of a PID namespace with a /proc of its own, as in a
// privileged container: what is known of processes is their own, and the report says whose numbers they have.
func TestInPIDNamespace(t *testing.T) {
	const env = "BPF60_TEST_PIDNS"
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if os.Getenv(env) == "" {
		cmd := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$", "-test.v")
		cmd.Env = append(os.Environ(), env+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS}
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS: "+t.Name()) {
			t.Errorf("in a PID namespace: %v\n%s", err, out)
		}
		return
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("proc", "/proc", "proc", 0, ""); err != nil {
		t.Fatal(err)
	}
	child := exec.Command("sh", "-c", "while :; do :; done")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = child.Process.Kill(); _ = child.Wait() }()
	out, errs, code := realRun(t, "report", "--for", "4s", "overview", "processes", "syscalls", "probes")
	if code != exitDone || !strings.Contains(out, "sh -c while :") || !strings.Contains(out, "PIDs are the host's") || strings.Contains(out, "does not run") {
		t.Errorf("exit code %d, stderr %s, stdout\n%s", code, errs, out)
	}
	out, errs, code = realRun(t, "report", "--for", "2s", "--pid", fmt.Sprint(child.Process.Pid), "processes")
	if code != exitDone || !strings.Contains(out, "sh -c while :") {
		t.Errorf("of %d: exit code %d, stderr %s, stdout\n%s", child.Process.Pid, code, errs, out)
	}
	if _, errs, code := realRun(t, "report", "--pid", "4194304"); code != exitUsage || !strings.Contains(errs, "there is no process") {
		t.Errorf("of no process: exit code %d, stderr %s", code, errs)
	}
}

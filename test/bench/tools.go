// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

func sorted(list []string) []string { return slices.Sorted(slices.Values(list)) }

// find looks for a tool also where only root's shell does.
func find(name string) (string, error) {
	if path, err := exec.LookPath(name); err == nil {
		return path, nil
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if path, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no %s: make test-deps installs it", name)
}

// build makes the program as it is shipped.
func build(dir string) (string, error) {
	path := filepath.Join(dir, "bpf60")
	cmd := exec.Command("go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w -buildid=", "-o", path, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("building bpf60: %w", err)
	}
	return path, nil
}

// mortal makes children end with us, however we end.
func mortal() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
}

// stop ends a child of ours.
func stop(cmd *exec.Cmd) {
	_ = cmd.Process.Signal(syscall.SIGINT)
	gone := make(chan struct{})
	go func() { defer close(gone); _ = cmd.Wait() }()
	select {
	case <-gone:
	case <-time.After(3 * time.Second):
		_ = cmd.Process.Kill()
		<-gone
	}
}

// startRunqlat starts libbpf-tools' runqlat and returns when its programs are attached.
func startRunqlat() (*exec.Cmd, error) {
	path, err := find("runqlat")
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, "3600")
	cmd.SysProcAttr = mortal()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting runqlat: %w", err)
	}
	const links = 3 // sched_wakeup, sched_wakeup_new, sched_switch
	for end := time.Now().Add(10 * time.Second); attached(cmd.Process.Pid) < links; {
		if time.Now().After(end) {
			stop(cmd)
			return nil, fmt.Errorf("starting runqlat: %s did not attach", path)
		}
		time.Sleep(20 * time.Millisecond)
	}
	return cmd, nil
}

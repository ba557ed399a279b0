// SPDX-License-Identifier: Apache-2.0

//go:build linux && amd64

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"bpf60/test/kernels/wire"
)

const (
	sampleEvery = 200 * time.Millisecond
	// leftWithin is how long the kernel may take to free what a dead process held: programs and
	// maps go after an RCU grace period and by a work queue, and a guest is slow.
	leftWithin = 10 * time.Second
)

// ledger is what is in the kernel and known: there before the steps, or told of an earlier one.
type ledger struct {
	objects set
	perf    []string // perf events
	events  []string // of tracefs
}

// do runs one step and compares the kernel with what it held before.
func do(s wire.Step, kept *ledger) wire.Result {
	r := wire.Result{Name: s.Name, Code: -1}
	undo, err := arrange(s)
	if err == nil {
		err = settle(s, kept.objects, &r)
	}
	if e := undo(); err == nil {
		err = e
	}
	if err != nil {
		r.Error = err.Error()
	}
	r.Left = kept.left()
	return r
}

// settle does a step until its probes have answered, and its failed tests twice.
func settle(s wire.Step, before set, r *wire.Result) error {
	const tries = 4
	for r.Tries = 1; ; r.Tries++ {
		if err := execute(s, before, r); err != nil {
			return err
		}
		if r.Tries == tries || !slices.ContainsFunc(s.Unsettled, func(w string) bool { return bytes.Contains(r.Stdout, []byte(w)) }) {
			break
		}
		if s.Longer > 0 {
			d, err := time.ParseDuration(s.Args[s.Longer])
			if err != nil {
				return fmt.Errorf("reading the plan: %w", err)
			}
			s.Args = slices.Clone(s.Args)
			s.Args[s.Longer] = (2 * d).String()
		}
	}
	failed := failedTests(r.Stdout)
	if !s.Tests || r.Code != 1 || len(failed) == 0 {
		return nil
	}
	first := r.Stdout
	s.Args = append(slices.Clone(s.Args), "-test.run=^("+strings.Join(failed, "|")+")$")
	r.Tries++
	err := execute(s, before, r)
	r.Stdout = slices.Concat(first, []byte("\nonce more:\n"), r.Stdout)
	return err
}

// failed matches the verdict on a test, not on a part of one.
var failed = regexp.MustCompile(`(?m)^--- FAIL: (Test\w*) \(`)

func failedTests(out []byte) []string {
	var names []string
	for _, m := range failed.FindAllSubmatch(out, -1) {
		names = append(names, string(m[1]))
	}
	return names
}

// arrange makes the guest look as the step wants it, and returns what puts it back.
func arrange(s wire.Step) (undo func() error, err error) {
	var mounted []string
	undo = func() error {
		var errs []error
		for _, dir := range mounted {
			if err := syscall.Unmount(dir, 0); err != nil {
				errs = append(errs, fmt.Errorf("unmounting %s: %w", dir, err))
			}
		}
		return errors.Join(errs...)
	}
	mount := func(kind, dir string) error {
		if err := syscall.Mount(kind, dir, kind, 0, ""); err != nil {
			return fmt.Errorf("mounting %s on %s: %w", kind, dir, err)
		}
		mounted = append(mounted, dir)
		return nil
	}
	if s.HideBTF {
		if err := mount("tmpfs", "/sys/kernel/btf"); err != nil {
			return undo, err
		}
	}
	if s.Tracefs {
		if err := mount("tracefs", "/sys/kernel/tracing"); err != nil {
			return undo, err
		}
	}
	return undo, lockDown(s.Lockdown)
}

// lockDown raises the lockdown of the kernel, which stays raised.
func lockDown(level string) error {
	const file = "/sys/kernel/security/lockdown" // "none integrity [confidentiality]"
	if level == "" {
		return nil
	}
	now, err := os.ReadFile(file)
	if err == nil && !strings.Contains(string(now), "["+level+"]") {
		err = os.WriteFile(file, []byte(level), 0)
	}
	if err != nil {
		return fmt.Errorf("locking the kernel down: %w", err)
	}
	return nil
}

func execute(s wire.Step, before set, r *wire.Result) error {
	cmd := exec.Command(s.Args[0], s.Args[1:]...)
	cmd.Dir = s.Dir
	cmd.Env = append([]string{"PATH=/bin", "HOME=/tmp", "TERM=dumb", "CI=true"}, s.Env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if s.UID != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: s.UID, Gid: s.UID}
		for _, c := range s.Caps {
			cmd.SysProcAttr.AmbientCaps = append(cmd.SysProcAttr.AmbientCaps, uintptr(c))
		}
	}
	// A child of the step that outlives it would keep the pipes open for ever.
	cmd.WaitDelay = 5 * time.Second
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs

	start := time.Now()
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", s.Args[0], err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	err := watch(s, cmd.Process.Pid, before, r, ended)

	r.Seconds = time.Since(start).Seconds()
	r.Stdout, r.Stderr = out.Bytes(), errs.Bytes()
	if st := cmd.ProcessState; st != nil {
		r.Code = st.ExitCode()
		if ws, ok := st.Sys().(syscall.WaitStatus); ok && ws.Signaled() {
			r.Signal = ws.Signal().String()
		}
	}
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return nil // told by Code and Signal
	}
	return err
}

// watch samples what the step holds in the kernel until it ends, and ends it when its time is up.
func watch(s wire.Step, pid int, before set, r *wire.Result, ended <-chan error) error {
	sample := time.NewTicker(sampleEvery)
	defer sample.Stop()
	limit := time.After(s.Limit)
	var onPurpose, forced <-chan time.Time
	for {
		select {
		case err := <-ended:
			return err
		case <-sample.C:
			if now, err := objects(); err == nil {
				r.Peak = most(r.Peak, now.beyond(before).count())
			}
			if s.KillAfter == 0 || onPurpose != nil || r.Peak.Programs == 0 || r.Peak.Links == 0 {
				continue
			}
			if r.Peak.Events = len(perfEvents(strconv.Itoa(pid))); r.Peak.Events > 0 {
				onPurpose = time.After(s.KillAfter)
			}
		case <-onPurpose:
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		case <-limit:
			r.TimedOut = true
			_ = syscall.Kill(-pid, syscall.SIGQUIT) // Go prints its stacks
			forced = time.After(5 * time.Second)
		case <-forced:
			_ = syscall.Kill(-pid, syscall.SIGKILL)
		}
	}
}

func most(a, b wire.Objects) wire.Objects {
	return wire.Objects{
		Programs: max(a.Programs, b.Programs),
		Maps:     max(a.Maps, b.Maps),
		Links:    max(a.Links, b.Links),
		Events:   max(a.Events, b.Events),
	}
}

// left lists what is in the kernel and not in the ledger, and enters it there.
func (k *ledger) left() []string {
	var lines []string
	for end := time.Now().Add(leftWithin); ; time.Sleep(50 * time.Millisecond) {
		now, err := objects()
		if err != nil {
			return []string{err.Error()}
		}
		more, perf := now.beyond(k.objects), perfEvents(anyProcess)
		unknown := slices.DeleteFunc(slices.Clone(perf), func(e string) bool { return slices.Contains(k.perf, e) })
		if more.count() == (wire.Objects{}) && len(unknown) == 0 || time.Now().After(end) {
			lines = append(more.describe(), unknown...)
			k.objects, k.perf = now, perf
			break
		}
	}
	events := dynamicEvents()
	for _, e := range events {
		if !slices.Contains(k.events, e) {
			lines = append(lines, e)
		}
	}
	k.events = events
	return lines
}

// dynamicEvents lists the kprobes and uprobes that somebody made through tracefs. They outlive
// their maker.
func dynamicEvents() []string {
	if err := syscall.Mount("tracefs", ownTracefs, "tracefs", syscall.MS_RDONLY, ""); err != nil {
		return []string{"mounting tracefs to look for kprobes: " + err.Error()}
	}
	var all []string
	for _, name := range []string{"kprobe_events", "uprobe_events"} {
		b, err := os.ReadFile(ownTracefs + "/" + name)
		if err != nil {
			continue // refused under lockdown, where none can be made either
		}
		for line := range strings.Lines(string(b)) {
			all = append(all, name+": "+strings.TrimSpace(line))
		}
	}
	if err := syscall.Unmount(ownTracefs, 0); err != nil {
		all = append(all, "unmounting tracefs: "+err.Error())
	}
	return all
}

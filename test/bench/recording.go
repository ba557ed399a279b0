// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"bpf60/collectors"
)

// The host of the budget for recordings: so many processes, and one in so many does something.
const (
	recordedProcesses = 600
	recordedActive    = recordedProcesses / 10
	recordedHour      = 20 // MB
)

// recordingRows records a minute of a host with 600 processes, of which a tenth is active, and says
// what an hour of that takes. A minute is a chapter of the recording, so an hour is sixty of them: the
// list of all processes, and what a new chapter repeats, is in each.
func recordingRows(o options) ([]row, error) {
	const span = time.Minute
	endIdle, err := sleepers(max(recordedProcesses-recordedActive-processes(), 0))
	if err != nil {
		return nil, err
	}
	defer endIdle()
	endActive, err := actives(recordedActive)
	if err != nil {
		return nil, err
	}
	defer endActive()
	dir, err := os.MkdirTemp("", "bpf60-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "host.b60")
	quiet := pressureNow()
	cmd := exec.Command(o.path, "record", "--for", span.String(), file)
	cmd.SysProcAttr = mortal()
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	moved, seconds, size, err := readBack(file)
	if err != nil {
		return nil, err
	}
	hour := float64(size) * 3600 / seconds / 1e6
	cpu := (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Seconds()
	return []row{row{
		what: "an hour of recording", ours: fmt.Sprintf("%.1f MB", hour),
		note: fmt.Sprintf("from %.0f s: %d processes, %.0f of them active a second; %.2f %% of one CPU", seconds, processes(), moved, 100*cpu/seconds),
	}.below(hour, recordedHour, strconv.Itoa(recordedHour)+" MB").busySince(quiet)}, nil
}

// readBack says how many processes moved in a second of a recording, how long it is, and its bytes.
func readBack(path string) (moved, seconds float64, size int64, err error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, 0, 0, err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return 0, 0, 0, err
	}
	r, err := collectors.OpenReplay(f, st.Size())
	if err != nil {
		return 0, 0, 0, err
	}
	defer r.Close()
	scans := 0
	err = r.Run(context.Background(), func(s *collectors.Snapshot) {
		if s.Tasks != nil && s.Tasks.Seconds() > 0 {
			scans++
			moved += float64(len(s.Tasks.Rows))
		}
	})
	if err == nil {
		err = r.Cut()
	}
	span, ok := r.Span()
	if err == nil && (!ok || scans == 0) {
		err = fmt.Errorf("nothing is in %s", path)
	}
	return moved / float64(max(scans, 1)), (span.To - span.From).Seconds(), st.Size(), err
}

// activeArg makes this program a process that does a little of everything, ten times a second.
const activeArg = "-active"

// actives starts n of them.
func actives(n int) (end func(), err error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	var all []*exec.Cmd
	end = func() {
		for _, c := range all {
			_ = c.Process.Kill()
		}
		for _, c := range all {
			_ = c.Wait()
		}
	}
	for i := range n {
		c := exec.Command(self, activeArg, strconv.Itoa(i))
		c.Env = append(os.Environ(), "GOMAXPROCS=1")
		c.SysProcAttr = mortal()
		if err := c.Start(); err != nil {
			end()
			return nil, fmt.Errorf("starting a process: %w", err)
		}
		all = append(all, c)
	}
	return end, nil
}

// activeMain computes, reads a file and takes memory, each as much as its number says.
func activeMain(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil {
		return err
	}
	memory := make([]byte, 64<<10*(1+n%16))
	for round := 0; ; round++ {
		for begun := time.Now(); time.Since(begun) < time.Duration(50+10*n)*time.Microsecond; {
			memory[(round*4096)%len(memory)]++
		}
		if n%3 == 0 {
			if _, err := os.ReadFile("/proc/loadavg"); err != nil {
				return err
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
}

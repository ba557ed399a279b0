// SPDX-License-Identifier: Apache-2.0

//go:build linux && amd64

package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

// anyProcess matches the folders of all processes in /proc.
const anyProcess = "[1-9]*"

// perfEvents names the descriptors of perf events that these processes hold. They have no ids, and cannot be
// listed otherwise; BPF links hold those that have no descriptor any more.
func perfEvents(of string) (held []string) {
	fds, err := filepath.Glob("/proc/" + of + "/fd/*")
	if err != nil {
		return []string{"looking for perf events: " + err.Error()}
	}
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err != nil || to != "anon_inode:[perf_event]" {
			continue // or closed since
		}
		process := filepath.Dir(filepath.Dir(fd))
		name, _ := os.ReadFile(process + "/comm") // it may have ended since
		held = append(held, fmt.Sprintf("perf event %s of process %s %s", filepath.Base(fd), filepath.Base(process), bytes.TrimSpace(name)))
	}
	return held
}

// SPDX-License-Identifier: Apache-2.0

// Package wire is what the kernel matrix and the init of its guests say to each other: a plan of
// steps goes in with the initramfs, records come out over a serial port that carries nothing else.
package wire

import (
	"encoding/json"
	"fmt"
	"hash/crc32"
	"io"
	"strings"
	"time"
)

// PlanPath is where the plan lies in the guest.
const PlanPath = "/plan.json"

// Modules returns the kernel's modules that the tests need; a guest loads those that lie at their
// ModulePath before its first step.
func Modules() []string { return []string{"loop", "overlay"} }

// ModulePath is where a module lies in the guest.
func ModulePath(name string) string { return "/" + name + ".ko" }

// Port is the guest's device for records. The kernel's console is another port, so that a kernel
// message never lands in the middle of a record.
const Port = "/dev/ttyS1"

// Plan is what a guest does between boot and power off.
type Plan struct {
	Steps []Step
}

// Step is one program to run, and what it shall find. The guest puts everything back after it.
type Step struct {
	Name string   // names the result; unique in a plan
	Args []string // Args[0] is the path of the program
	Dir  string   // working directory; "" is /
	Env  []string // besides PATH, HOME, TERM and CI

	UID  uint32 // 0 is root
	Caps []int  // capabilities that an unprivileged program keeps, by number

	HideBTF  bool   // an empty file system over /sys/kernel/btf
	Tracefs  bool   // tracefs on /sys/kernel/tracing
	Lockdown string // the kernel is locked down to this level, for the rest of the boot

	Limit     time.Duration // then SIGQUIT, and SIGKILL 5 s later
	KillAfter time.Duration // SIGKILL on purpose, so long after it first held a program, a link and a perf event; 0 is never

	// Time runs unevenly in an emulated machine, and what is given up after seconds there is not broken.
	Unsettled []string // what it says of a probe that is on its way: then it is done again, a few times
	Longer    int      // the argument that is a duration, and doubled at each further try; 0 is none
	Tests     bool     // it is a Go test: tests that fail are done once more, by themselves
}

// Record is one line from the guest. Exactly one field is set.
type Record struct {
	Boot   *Boot    `json:",omitempty"` // init runs
	Begin  string   `json:",omitempty"` // a step begins
	Result *Result  `json:",omitempty"` // a step has ended
	Log    []string `json:",omitempty"` // the kernel's log, oldest first
	Error  string   `json:",omitempty"` // the guest itself could not go on
	Done   bool     `json:",omitempty"` // the plan is through
}

// Boot is what the guest is.
type Boot struct {
	Release string // uname -r
	Command string // /proc/cmdline
}

// Result is what a step did.
type Result struct {
	Name     string
	Code     int     // exit code; -1 after a signal
	Signal   string  `json:",omitempty"`
	Seconds  float64 // from start to exit
	TimedOut bool    `json:",omitempty"`
	Stdout   []byte  `json:",omitempty"`
	Stderr   []byte  `json:",omitempty"`
	Error    string  `json:",omitempty"` // why it did not run at all
	Tries    int     // how often it ran

	Peak Objects  // most that it held at a time, sampled
	Left []string `json:",omitempty"` // what it left in the kernel, a line each
}

// Objects counts BPF objects in the kernel, and the descriptors of perf events.
type Objects struct{ Programs, Maps, Links, Events int }

// marker begins every record, so that stray bytes before it do no harm.
const marker = "bpf60:"

// Encode writes r as one line with a checksum.
func Encode(w io.Writer, r Record) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding a record: %w", err)
	}
	_, err = fmt.Fprintf(w, "%s%08x:%s\n", marker, crc32.ChecksumIEEE(b), b)
	return err
}

// Decode reads one line. It reports false for a line that holds no record, and an error for a
// record that was damaged on its way.
func Decode(line string) (Record, bool, error) {
	i := strings.Index(line, marker)
	if i < 0 {
		return Record{}, false, nil
	}
	sum, body, ok := strings.Cut(strings.TrimRight(line[i+len(marker):], "\r\n"), ":")
	if !ok || sum != fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(body))) {
		return Record{}, false, fmt.Errorf("reading a record: the checksum does not match in %.60q", line[i:])
	}
	var r Record
	if err := json.Unmarshal([]byte(body), &r); err != nil {
		return Record{}, false, fmt.Errorf("reading a record: %w", err)
	}
	return r, true, nil
}

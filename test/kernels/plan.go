// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"path"
	"time"

	"bpf60/test/kernels/wire"
)

// kernel is one column of the matrix.
type kernel struct {
	name   string // in the table
	series string // version up to a dot; the newest one is taken
	suites []string
}

// matrix is every kernel that must run. A backport of the newest series follows Debian by itself.
func matrix() []kernel {
	return []kernel{
		{"5.10", "5.10", []string{"bullseye", "bullseye-security"}},
		{"6.1", "6.1", []string{"bookworm", "bookworm-security"}},
		{"6.12", "6.12", []string{"trixie", "trixie-security"}},
		{"7.x", "7", []string{"trixie-backports"}},
	}
}

// variant is a way a host can be poorer than the best one.
type variant struct {
	name   string
	says   string
	step   wire.Step     // what the guest arranges
	report time.Duration // how long its report is; 0: shortReport
}

// How long reports are: until all probes have started, or it takes another try of twice the length. What
// takes 100 ms on a host takes 3 s here, and those that load every program need more; most needs the
// first one of a boot in which no test has loaded any.
const (
	shortReport = 12 * time.Second
	longReport  = 24 * time.Second
	firstReport = 36 * time.Second
)

const nobody = 65534

// Linux capability numbers (include/uapi/linux/capability.h).
const (
	capPerfmon = 38
	capBPF     = 39
)

// boot is one start of a kernel: what cannot be changed while it runs.
type boot struct {
	name     string
	command  string // added to the kernel's command line
	suites   bool   // the tests run here
	kill     bool   // so does the test of SIGKILL
	variants []variant
}

// boots are done for every kernel, so the matrix is kernels × variants.
func boots() []boot {
	return []boot{
		{
			name: "main", command: "psi=1", suites: true, kill: true,
			variants: []variant{
				{name: "default", says: "root, BTF, no tracefs", report: longReport},
				{name: "no-btf", says: "tracefs instead of BTF", step: wire.Step{HideBTF: true, Tracefs: true}},
				{name: "bare", says: "neither BTF nor tracefs", step: wire.Step{HideBTF: true}},
				{name: "caps", says: "CAP_BPF and CAP_PERFMON only", step: wire.Step{UID: nobody, Caps: []int{capPerfmon, capBPF}}, report: longReport},
				{name: "user", says: "no privilege", step: wire.Step{UID: nobody, Tracefs: true}},
			},
		},
		{
			name: "poor", command: "psi=0",
			variants: []variant{
				{name: "psi=0", says: "PSI off", report: firstReport},
				// Last: it lasts until the end of the boot.
				{name: "lockdown", says: "PSI off, lockdown=confidentiality", step: wire.Step{Tracefs: true, Lockdown: "confidentiality"}, report: longReport},
			},
		},
	}
}

func variants() []variant {
	var all []variant
	for _, b := range boots() {
		all = append(all, b.variants...)
	}
	return all
}

// Names of steps: "test bpf", "report default", "doctor default", "kill".
const (
	testStep   = "test "
	reportStep = "report "
	doctorStep = "doctor "
	killStep   = "kill"
)

// elsewhere are the tests that one kernel is enough for, which make test sees to: storms, which an
// emulated machine has no strength for; comparisons with tools that a guest does not have; and what is told
// by time, which runs unevenly there. TestTasksTurns wants sleep(1).
const elsewhere = "Storm|Against|Beside|AgreeWith|AgreesWith|ProfileShares|TasksTurns"

// plan lists the steps of one boot.
func plan(b boot, suites []suite) wire.Plan {
	var p wire.Plan
	if b.suites {
		for _, s := range suites {
			p.Steps = append(p.Steps, wire.Step{
				Name: testStep + s.pkg,
				Args: []string{"/" + s.binary(), "-test.v", "-test.run=" + s.pattern, "-test.skip=" + elsewhere, "-test.timeout=900s"},
				Dir:  path.Join("/src", s.pkg),
				// What only a full system has may be missing here. Each test reads the kernel's types anew, and
				// a collector of garbage that waits until the heap has doubled takes all the memory.
				Env:     []string{"BPF60_TEST_GUEST=1", "GOMEMLIMIT=1GiB"},
				Tracefs: true,
				Limit:   910 * time.Second,
				Tests:   true,
			})
		}
	}
	for _, v := range b.variants {
		report, doctor := v.step, v.step
		length := cmp.Or(v.report, shortReport)
		report.Name, report.Limit = reportStep+v.name, 2*time.Minute+8*length // the fourth try is eight times as long
		report.Args = []string{"/bin/bpf60", "report", "--for", length.String(), "--format", "json"}
		report.Longer = 3
		doctor.Name, doctor.Limit = doctorStep+v.name, 2*time.Minute
		doctor.Args = []string{"/bin/bpf60", "doctor", "--json"}
		report.Unsettled, doctor.Unsettled = unsettled(), unsettled()
		p.Steps = append(p.Steps, report, doctor)
	}
	if b.kill {
		p.Steps = append(p.Steps, wire.Step{
			Name:      killStep,
			Args:      []string{"/bin/bpf60", "report", "--for", "5m"},
			Limit:     2 * time.Minute,
			KillAfter: time.Second,
		})
	}
	return p
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
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
	name string
	says string
	step wire.Step // what the guest arranges
}

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
				{name: "default", says: "root, BTF, no tracefs"},
				{name: "no-btf", says: "tracefs instead of BTF", step: wire.Step{HideBTF: true, Tracefs: true}},
				{name: "bare", says: "neither BTF nor tracefs", step: wire.Step{HideBTF: true}},
				{name: "caps", says: "CAP_BPF and CAP_PERFMON only", step: wire.Step{UID: nobody, Caps: []int{capPerfmon, capBPF}}},
				{name: "user", says: "no privilege", step: wire.Step{UID: nobody, Tracefs: true}},
			},
		},
		{
			name: "poor", command: "psi=0",
			variants: []variant{
				{name: "psi=0", says: "PSI off"},
				// Last: it lasts until the end of the boot.
				{name: "lockdown", says: "PSI off, lockdown=confidentiality", step: wire.Step{Tracefs: true, Lockdown: "confidentiality"}},
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

// plan lists the steps of one boot.
func plan(b boot, suites []suite) wire.Plan {
	var p wire.Plan
	if b.suites {
		for _, s := range suites {
			p.Steps = append(p.Steps, wire.Step{
				Name:    testStep + s.pkg,
				Args:    []string{"/" + s.binary(), "-test.v", "-test.run=" + s.pattern, "-test.timeout=200s"},
				Dir:     path.Join("/src", s.pkg),
				Env:     []string{"BPF60_TEST_GUEST=1"}, // what only a full system has may be missing here
				Tracefs: true,
				Limit:   215 * time.Second,
			})
		}
	}
	for _, v := range b.variants {
		report, doctor := v.step, v.step
		// Long enough for all probes to start: what takes 100 ms on a host takes 3 s here.
		const length = "12s"
		report.Name, report.Limit = reportStep+v.name, time.Minute
		report.Args = []string{"/bin/bpf60", "report", "--for", length, "--format", "json"}
		doctor.Name, doctor.Limit = doctorStep+v.name, time.Minute
		doctor.Args = []string{"/bin/bpf60", "doctor", "--json"}
		p.Steps = append(p.Steps, report, doctor)
	}
	if b.kill {
		p.Steps = append(p.Steps, wire.Step{
			Name:      killStep,
			Args:      []string{"/bin/bpf60", "report", "--for", "60s"},
			Limit:     time.Minute,
			KillAfter: 3 * time.Second,
		})
	}
	return p
}

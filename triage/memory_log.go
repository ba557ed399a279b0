// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"bpf60/collectors"
)

// loggedKill is a kill as the kernel's log tells it in several records, the victim's last.
type loggedKill struct {
	rec    *collectors.LogRecord
	comm   string
	pid    int32
	memcg  bool   // a cgroup was at its limit
	cgroup string // which; empty: the log does not say
	limit  uint64 // of it, bytes; 0: the log does not say
	nodes  bool   // only the nodes of memory that the victim may use had run out
}

// Wordings of mm/oom_kill.c and of mem_cgroup_print_oom_meminfo.
const (
	oomConstraint = "oom-kill:constraint="
	oomAsked      = " invoked oom-killer: "
	oomUsage      = "memory: usage "
)

// victimOf reads "… Killed process 771 (worker) total-vm:…", before 5.1 "Kill process".
func victimOf(text string) (comm string, pid int32, ok bool) {
	_, rest, ok := strings.Cut(text, "Killed process ")
	if !ok {
		if _, rest, ok = strings.Cut(text, "Kill process "); !ok {
			return "", 0, false
		}
	}
	number, rest, _ := strings.Cut(rest, " (")
	n, err := strconv.ParseInt(number, 10, 32)
	if end := strings.LastIndexByte(rest, ')'); err == nil && end > 0 {
		return rest[:end], int32(n), true // the name may hold brackets; nothing after it does
	}
	return "", 0, false
}

// loggedKills are the kills that the kernel's log tells of, the newest first. Who asked for memory and the
// reaper are records of their own and no kills.
func (r *recent) loggedKills() (kills []loggedKill, age func(*collectors.LogRecord) time.Duration) {
	records, age := r.kernelLog()
	for i, rec := range slices.Backward(records) {
		if rec.Trouble != collectors.TroubleOOM || rec.Since < 0 {
			continue
		}
		comm, pid, ok := victimOf(rec.Text.Bytes())
		if !ok {
			continue
		}
		k := loggedKill{rec: rec, comm: comm, pid: pid, memcg: strings.HasPrefix(rec.Text.Bytes(), "Memory cgroup")}
		k.look(records[:i])
		kills = append(kills, k)
	}
	return kills, age
}

// look finds what the kernel said of a kill before it: why, and what the limit was. A cgroup may be killed
// whole (memory.oom.group): then other kills stand between.
func (k *loggedKill) look(before []*collectors.LogRecord) {
	said := false
	for _, x := range slices.Backward(before) {
		text := x.Text.Bytes()
		switch {
		case strings.Contains(text, oomAsked) && x.Trouble == collectors.TroubleOOM:
			return // it begins with that
		case strings.HasPrefix(text, oomConstraint) && !said:
			said = true
			why, rest, _ := strings.Cut(text[len(oomConstraint):], ",")
			k.memcg = k.memcg || why == "CONSTRAINT_MEMCG"
			k.nodes = why == "CONSTRAINT_CPUSET" || why == "CONSTRAINT_MEMORY_POLICY"
			if _, path, ok := strings.Cut(rest, "oom_memcg="); ok {
				k.cgroup, _, _ = strings.Cut(path, ",task_memcg=")
			}
		case strings.HasPrefix(text, oomUsage) && k.limit == 0: // memory: usage 32768kB, limit 32768kB, failcnt 42
			_, rest, _ := strings.Cut(text, ", limit ")
			kib, _, _ := strings.Cut(rest, "kB")
			if n, err := strconv.ParseUint(kib, 10, 53); err == nil {
				k.limit = n << 10
			}
		}
	}
}

// killedBefore looks for kills in the kernel's log, which also has those from before the run and those
// that no probe saw.
func (r *recent) killedBefore(within func(time.Duration) bool, fresh float64) Finding {
	kills, ageOf := r.loggedKills()
	if len(kills) == 0 || !within(ageOf(kills[0].rec)) {
		return Finding{}
	}
	k, age, n := kills[0], ageOf(kills[0].rec), 0
	for _, x := range kills {
		if ageOf(x.rec).Seconds() <= fresh {
			n++
		}
	}
	victim := named(collectors.RawString(k.comm), k.pid)
	f := Finding{
		ID: "mem.oom_kill", Severity: Critical, Resource: "memory", Line: "dmesg", Value: age.Seconds(), Threshold: fresh, Unit: "s ago", N: uint64(n), Window: time.Duration(fresh * float64(time.Second)),
		Evidence: []string{collectors.Clean(k.rec.Text).String()}, Victims: []Culprit{{Kind: "process", Name: victim}},
		Pane: "log", Row: fmt.Sprint(k.rec.Seq), Command: "dmesg -T | grep -i 'killed process'",
	}
	where := "the host's memory ran out"
	switch {
	case k.memcg:
		f.Severity, where = Warning, "a cgroup was at its limit"
		if k.cgroup != "" {
			c := r.cgroupAt(k.cgroup)
			f.Culprits = []Culprit{c}
			where = "cgroup " + c.Name.String() + " was at its limit"
		}
		if k.limit > 0 {
			where += " of " + bytesText(k.limit)
		}
	case k.nodes:
		where = "the nodes of memory that it may use ran out"
	}
	f.Title = fmt.Sprintf("%s killed: %s", victim, where)
	if age.Seconds() > fresh {
		f.Severity = Info
	}
	f.Title += ", " + ago(age)
	if n > 1 {
		f.Evidence = append(f.Evidence, fmt.Sprintf("%d kills in %g s", n, fresh))
	}
	return f
}

// cgroupAt is a cgroup as culprit, by its path.
func (r *recent) cgroupAt(path string) Culprit {
	if c := r.newestCgroup(func(x *collectors.CgroupInfo) bool { return x.Path.Bytes() == path }); c != nil {
		return cgroupCulprit(c, 0)
	}
	return Culprit{Kind: "cgroup", Name: collectors.Clean(collectors.RawString(path)), Target: collectors.Target{Kind: collectors.CgroupTarget, Name: path}}
}

// newestCgroup is what the newest row of a cgroup says of it; nil without.
func (r *recent) newestCgroup(is func(*collectors.CgroupInfo) bool) *collectors.CgroupInfo {
	for _, m := range slices.Backward(r.h.Since(-1)) {
		if m.Cgroups == nil {
			continue
		}
		for i := range m.Cgroups.Rows {
			if x := m.Cgroups.Rows[i].CgroupInfo; x != nil && is(x) {
				return x
			}
		}
	}
	return nil
}

// killsCounted are kills of which neither a probe nor the log tells: only that the kernel counts them, in
// /proc/vmstat and for the cgroup of the victim.
func (r *recent) killsCounted(fresh float64) Finding {
	window := time.Duration(fresh * float64(time.Second))
	var of *collectors.CgroupRow               // whose process it was; those above it may count it as well
	full := map[string]*collectors.CgroupRow{} // that were at their limit
	own := map[string]uint64{}                 // kills by cgroup
	host, at := uint64(0), time.Duration(-1)
	for _, m := range r.h.Since(r.now - window) {
		if m.Memory != nil {
			if n, ok := m.Memory.VM.Get(collectors.VMOOMKill); ok && n > 0 {
				host, at = host+n, m.At
			}
		}
		if m.Cgroups == nil {
			continue
		}
		for i := range m.Cgroups.Rows {
			c := &m.Cgroups.Rows[i]
			if c.CgroupInfo == nil || c.Depth == 0 || c.Has&collectors.HasEvents == 0 {
				continue
			}
			if c.Own.Max > 0 && c.Own.Max != collectors.NoLimit && c.Events.OOM+c.Events.Max > 0 {
				full[c.Path.Bytes()] = c
			}
			if c.Events.OOMKill > 0 {
				own[c.Path.Bytes()] += c.Events.OOMKill
				at = max(at, m.At)
				if of == nil || c.Depth >= of.Depth {
					of = c
				}
			}
		}
	}
	if at < 0 {
		return Finding{}
	}
	f := Finding{
		ID: "mem.oom_kill", Severity: Warning, Resource: "memory", Line: "free", Value: (r.now - at).Seconds(), Threshold: fresh, Unit: "s ago", N: host, Window: window, Since: at,
		Evidence: []string{"counted in /proc/vmstat; neither a probe nor the log tells of it"}, Pane: "memory", Command: "grep oom_kill /proc/vmstat",
	}
	where := "whose memory ran out is not known"
	if of != nil {
		path := of.Path.Bytes()
		f.N = max(host, own[path])
		var short *collectors.CgroupRow
		for above, c := range full {
			if below(above, path) && (short == nil || c.Depth > short.Depth) {
				short = c
			}
		}
		f.Victims = []Culprit{cgroupCulprit(of.CgroupInfo, 0)}
		switch {
		case short != nil:
			f.Culprits = []Culprit{cgroupCulprit(short.CgroupInfo, 0)}
			where = "cgroup " + f.Culprits[0].Name.String() + " was at its limit of " + bytesText(short.Own.Max)
			if short.Path == of.Path {
				f.Victims = nil
			}
		case of.Tight.Max == collectors.NoLimit: // no cgroup could run out
			f.Severity, where = Critical, "the host's memory ran out"
		}
		f.Evidence = []string{"counted in memory.events of " + collectors.Clean(of.Path).String() + "; neither a probe nor the log tells of it"}
		f.Line, f.Pane, f.Row = "cgroup", "cgroups", path
		f.Command = "cat /sys/fs/cgroup" + collectors.Clean(of.Path).String() + "/memory.events"
	}
	what := "a process"
	if f.N > 1 {
		what = fmt.Sprintf("%d processes", f.N)
	}
	f.Title = fmt.Sprintf("%s killed %s: %s", what, ago(r.now-at), where)
	return f
}

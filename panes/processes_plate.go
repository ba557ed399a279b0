// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// plate says what the process is.
func (p *processPage) plate(f Frame, c Canvas, x *process, ended string) []string {
	parts := []string{t60(p.Info().Title), userOf(x.ProcInfo)}
	if h := newest(f, hostOf); h != nil && h.Uptime > time.Duration(x.Start) {
		parts = append(parts, "up "+widget.Age(h.Uptime-time.Duration(x.Start)))
	}
	parts = append(parts, fmt.Sprintf("%d thread%s", x.threads, plural(int(x.threads))))
	if ended == "" {
		parts = append(parts, stateWord(x.state))
	}
	lines := []string{widget.Title(c.Theme, c.Width, parts...)}
	if ended != "" {
		l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Warn, "ended").Plain(" "+ended).Put(c.Theme.Dim, "; below is what was seen last, at "+f.At.Format(time.TimeOnly))
		lines = append(lines, l.String())
	}
	most := 3
	if c.Height < wideHeight {
		most = 1
	}
	args := wrap(c, "command  ", argsOf(x.ProcInfo))
	if len(args) > most {
		args = args[:most]
		args[most-1] = widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "command  ").Plain(argsOf(x.ProcInfo)).String()
		args = args[most-1:]
	}
	lines = append(lines, args...)
	if c.Height < smallHeight {
		return lines
	}
	if path := clean(x.CgroupPath); path != "" {
		lines = append(lines, p.cgroupLine(f, c, x, path))
	}
	parent := strconv.Itoa(int(x.PPID))
	if set := processesOver(f); set != nil {
		if i := slices.IndexFunc(set.list, func(y process) bool { return y.PID == x.PPID }); i >= 0 {
			parent = fmt.Sprintf("%s[%d]", clean(set.list[i].Comm), x.PPID)
		}
	}
	l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "parent   ").Plain(parent)
	l.Skip(2).Put(c.Theme.Dim, "policy ").Plain(policyWord(x.Policy)).Skip(2).Put(c.Theme.Dim, "nice ").Plain(strconv.Itoa(int(x.Nice)))
	ran := "-"
	if x.timed {
		ran = widget.CPUTime(x.time)
	}
	l.Skip(2).Put(c.Theme.Dim, "cpu time ").Plain(ran)
	if netns := strconv.FormatUint(uint64(x.NetNS), 10); x.NetNS != 0 && l.Left() > len("  netns "+netns) {
		l.Skip(2).Put(c.Theme.Dim, "netns ").Plain(netns)
	}
	const since = "Jan 02 15:04:05"
	if h := newest(f, hostOf); h != nil && h.Uptime > time.Duration(x.Start) && l.Left() > len("  since "+since) {
		l.Skip(2).Put(c.Theme.Dim, "since ").Plain(f.At.Add(time.Duration(x.Start) - h.Uptime).Format(since))
	}
	return append(lines, l.String())
}

// cgroupLine is where the process belongs, and what that has left.
func (p *processPage) cgroupLine(f Frame, c Canvas, x *process, path string) string {
	l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "cgroup   ")
	rows, _ := cgroupsOver(f)
	one := cgroupAt(rows, x.CgroupPath.Bytes())
	if one == nil {
		return l.Plain(path).String()
	}
	cells := make(map[string]string)
	for _, col := range cgroupColumns() {
		v := col.cell(&Cgroups{}, f, one)
		cells[col.ID] = "-"
		if v.Known() {
			cells[col.ID] = v.fit(col.Column)
		}
	}
	var parts []string
	say := func(word, id, unit string) {
		if v := cells[id]; v != "-" && v != "" {
			parts = append(parts, word+v+unit)
		}
	}
	say("cpu ", "%CPU", " %")
	say("quota ", "quota", "")
	say("throttled ", "%thr", " %")
	say("mem ", "MEM", "")
	say("high ", "high", "")
	say("max ", "max", "")
	say("psi c", "psi_cpu", "")
	say("m", "psi_mem", "")
	say("i", "psi_io", "")
	text := strings.Join(parts, "  ")
	room := l.Left() - widget.Width(text) - 2
	if room < 12 {
		return l.Plain(path).String()
	}
	return l.Plain(middle(path, room)).Skip(2).Plain(text).String()
}

func t60(s string) string { return widget.Clip(s, 60) }

// argsOf is the command line, or why there is none.
func argsOf(p *collectors.ProcInfo) string {
	switch {
	case p.Kernel:
		return "[" + clean(p.Comm) + "], a kernel thread"
	case clean(p.Args) != "":
		return clean(p.Args)
	}
	switch p.ArgsRead {
	case collectors.ArgsUnread:
		return clean(p.Comm) + " (arguments not read yet)"
	case collectors.ArgsGone:
		return clean(p.Comm) + " (arguments cannot be read)"
	case collectors.ArgsStuck:
		return clean(p.Comm) + " (reading its arguments blocks)"
	case collectors.ArgsElsewhere:
		return clean(p.Comm) + " (arguments unknown: in another PID namespace than bpf60)"
	case collectors.ArgsRead:
	}
	return clean(p.Comm) + " (has no arguments)"
}

// stateWord says what a state letter means.
func stateWord(s byte) string {
	switch s {
	case 'R':
		return "R running"
	case 'S':
		return "S sleeping"
	case 'D':
		return "D waits, uninterruptible"
	case 'T':
		return "T stopped"
	case 't':
		return "t traced"
	case 'Z':
		return "Z zombie"
	case 'X':
		return "X dead"
	case 'I':
		return "I idle"
	}
	return string(rune(s))
}

// policyWord names a scheduling policy (include/uapi/linux/sched.h).
func policyWord(p uint8) string {
	switch p {
	case 0:
		return "other"
	case 1:
		return "FIFO"
	case 2:
		return "RR"
	case 3:
		return "batch"
	case 5:
		return "idle"
	case 6:
		return "deadline"
	case 7:
		return "ext"
	}
	return strconv.Itoa(int(p))
}

// nowLines say what the threads do now, and where the time of the last interval went.
func (p *processPage) nowLines(f Frame, c Canvas, x *process) []string {
	l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "now      ")
	last := newest(f, tasksOf)
	states := make(map[string]int)
	if last != nil {
		for i := range last.Busy {
			if last.Busy[i].Process == x.Process {
				states[string(rune(last.Busy[i].State))]++
			}
		}
	}
	if len(states) == 0 {
		l.Plain(string(rune(x.state)))
	}
	for _, s := range sortedKeys(states) {
		l.Plain(fmt.Sprintf("%s %d  ", s, states[s]))
	}
	if s := newest(f, stallsOf); s != nil {
		in := make(map[string]int)
		for _, r := range s.Rows {
			if r.Task == x.Process {
				in[strings.TrimSpace(r.Class+" "+clean2(r.Function)+" "+clean(r.Device.Name))]++
			}
		}
		for _, where := range sortedKeys(in) {
			l.Put(c.Theme.Warn, fmt.Sprintf("D in %s %d  ", where, in[where]))
		}
	}
	if one, _ := latencyOf(f, p.target()); one != nil {
		l.Put(c.Theme.Dim, "of its time ")
		for _, part := range timeParts(one) {
			text := fmt.Sprintf("%s %.0f %%", part.name, 100*part.share)
			if l.Left() < widget.Width(text)+2 {
				break
			}
			l.Plain(text).Skip(2)
		}
	}
	return []string{strings.TrimRight(l.String(), " ")}
}

// sleepWords say what a thread that sleeps waits for.
func sleepWords(class string) string {
	switch class {
	case "sleep":
		return "sleeps on a timer"
	case "other":
		return "sleeps, for what is not known"
	case collectors.WaitUnnamed:
		return "sleeps, where is not looked up yet"
	}
	return "sleeps for " + class
}

// timeParts is where the time of a target's threads went that ended in the interval: on a CPU, waiting
// for one, and asleep by what they waited for, where that is known. Largest first.
func timeParts(x *collectors.Targeted[collectors.LatencyCounts]) []named {
	c := &x.Sample.OffCounts
	by := map[string]time.Duration{"runs": time.Duration(c.OnCPU.Sum), "waits for a cpu": time.Duration(c.Wait.Sum)}
	slept := int64(0)
	for _, why := range []collectors.OffWhy{collectors.OffSlept, collectors.OffBlocked} {
		slept += int64(c.Off[why].Sum) - int64(c.Queued[why])
	}
	for i := range x.Sample.Stacks {
		if r := &x.Sample.Stacks[i]; r.Stack != nil && r.Ns > 0 {
			by[sleepWords(r.Class)] += time.Duration(r.Ns)
			slept -= int64(r.Ns)
		}
	}
	by["short sleeps"] = time.Duration(max(slept, 0))
	all := time.Duration(0)
	for _, d := range by {
		all += d
	}
	var out []named
	for name, d := range by {
		if s, ok := share(d, all); ok && s >= 0.005 {
			out = append(out, named{safe(name), s, d})
		}
	}
	sortBy(out, func(a, b named) int {
		return cmp.Or(cmp.Compare(b.time, a.time), cmp.Compare(a.name.String(), b.name.String()))
	})
	return out
}

// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"strconv"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// processPage is everything about one process.
type processPage struct {
	info  *collectors.ProcInfo // as it was when the page was opened
	parts sections
	draw  pageDraw
}

func newProcessPage(info *collectors.ProcInfo) *processPage {
	t := collectors.Target{Kind: collectors.ProcessTarget, Process: info.Process}
	return &processPage{info: info, parts: newSections(t, processSections())}
}

// processSections are the tables of a process, in the order that t goes through.
func processSections() []section {
	return []section{
		{
			id: "threads", title: "threads", wants: []collectors.ID{collectors.TasksID}, table: targetThreadTable,
			why: "a thread has no page of its own: all that is counted of it is in its row", none: "waiting for threads …",
		},
		{
			id: "sleeps", title: "sleeps", wants: []collectors.ID{collectors.LatencyID}, table: targetSleepTable,
			open: openSleep, opens: "stack", none: "it has not slept for 1 ms since the page was opened",
		},
		{
			id: "io", title: "block I/O", wants: []collectors.ID{collectors.BlockID}, table: targetBlockTable,
			why: "an operation has no page: the disks of the process are in the next table", none: noRequests,
		},
		{
			id: "disks", title: "disks", table: targetDiskTable,
			open: openDiskOf, opens: "disk", none: "it has asked no disk for anything in the last interval",
		},
		{
			id: "slow", title: "slowest I/O", table: targetSlowTable,
			open: openSlowDisk, opens: "disk", none: "none of its requests is among the slowest of the last minute",
		},
		{
			id: "opens", title: "opens", wants: []collectors.ID{collectors.OpensID}, table: targetOpenTable,
			why: "a path has no page", none: "it has opened nothing in the last seconds",
		},
		{
			id: "files", title: "slow calls", wants: []collectors.ID{collectors.SlowFilesID}, table: targetSlowFileTable,
			why: "all that is known of a call is in its row", none: "none of its calls on files took 10 ms",
		},
		{
			id: "sockets", title: "sockets", wants: []collectors.ID{collectors.SocketsID, collectors.FlowID}, table: targetSocketTable,
			open: openSocket, opens: "connection", none: "it holds no TCP socket",
		},
		flameSection(),
		{
			id: "calls", title: "calls", wants: []collectors.ID{collectors.SyscallsID, collectors.SyscallTimesID}, table: targetCallTable,
			open: openCall, opens: "who else", none: "no system call returned in the last interval",
		},
		{
			id: "memory", title: "slab", wants: []collectors.ID{collectors.KmemID, collectors.ReclaimID}, table: targetMemoryTable,
			open: openCache, opens: "cache", none: "it has taken nothing from the kernel's caches in the last interval",
		},
		{
			id: "limits", title: "limits", wants: []collectors.ID{collectors.LimitsID}, table: targetLimitTable,
			why: "a limit has no page", none: "no limits", look: humanLimits,
		},
	}
}

// Info implements Pane.
func (p *processPage) Info() Info {
	name := fmt.Sprintf("%s[%d]", widget.Clip(clean(p.info.Comm), 15), p.info.PID)
	return Info{ID: ID("process " + strconv.Itoa(int(p.info.PID))), Title: name, Short: name, Help: "process"}
}

// target is the process, for collectors that look at it alone.
func (p *processPage) target() collectors.Target { return p.parts.target }

// Wants implements Pane: everything about this process, each counted apart in the kernel, and the numbers
// of its cgroup.
func (p *processPage) Wants(Scope) []collectors.Want {
	wants := p.parts.wants()
	if p.info.Cgroup != 0 {
		wants = append(wants, wantCgroup(p.info.Cgroup))
	}
	return wants
}

// Keys implements Pane.
func (p *processPage) Keys() []keymap.Key { return p.parts.keysWith(p.draw.keys()) }

// Update implements Pane. Select takes a section, or a section and a row: "calls/openat".
func (p *processPage) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.parts.choose(msg.Row)
	case Press:
		msg.Frame, _ = p.seen(msg.Frame)
		if p.draw.press(msg.ID, len(p.distributions(msg.Frame))) {
			return nil
		}
		return p.parts.press(msg)
	}
	return nil
}

// distributions are those that the page draws; the last is of the call with the cursor.
func (p *processPage) distributions(f Frame) []distribution {
	return targetDistributions(f, p.target(), p.parts.selected(f, "calls"))
}

// Describe implements Describer.
func (p *processPage) Describe(f Frame) string {
	f, _ = p.seen(f)
	return p.parts.describe(f)
}

// find returns the process as it is in the frame, nil if it is not there.
func (p *processPage) find(f Frame) (*processes, *process) {
	set := processesOver(f)
	if set == nil {
		return nil, nil
	}
	i := set.find(p.info.Process)
	if i < 0 {
		return set, nil
	}
	return set, &set.list[i]
}

// Table implements Pane: the numbers of the process as facts, its sections as tables.
func (p *processPage) Table(f Frame) Table {
	t := Table{Title: p.Info().Title}
	f, ended := p.seen(f)
	set, x := p.find(f)
	if x == nil {
		t.Columns = threadColumns()
		t.Notes = append(t.Notes, p.absent(f, set))
		return t
	}
	if ended != "" {
		t.Facts = append(t.Facts, Fact{ID: "ended", Title: "ended", Cell: Say(ended)})
	}
	for _, c := range processColumns(hostMemory(f)) {
		if c.Left && c.ID != "S" {
			continue
		}
		cell := c.cell(x, set.Span)
		t.Facts = append(t.Facts, Fact{ID: c.ID, Title: c.Title, Unit: c.Unit, Cell: cell, Decimals: c.Decimals})
	}
	t.Histograms = latencyHistograms(f, p.target())
	p.parts.into(f, &t)
	return t
}

// seen is the frame in which the process was last there, and when it ended and how, if it has: what was
// seen of it stays.
func (p *processPage) seen(f Frame) (Frame, string) {
	for i := len(f.Past) - 1; i >= 0; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Tasks == nil {
			continue
		}
		for _, id := range s.Tasks.Gone {
			if id != p.info.Process {
				continue
			}
			text := "at " + f.Past[i].Taken.Format(time.TimeOnly)
			if e := p.exit(f); e != nil {
				text = "at " + clock(f, e.At)[:8] + " with " + endText(e) + ", " + widget.Age(e.Age) + " old"
			}
			if i > 0 { // in the moment itself it has no state any more
				i--
			}
			f.Past = f.Past[:i+1]
			f.Now, f.At = f.Past[i], f.Past[i].Taken
			return f, text
		}
	}
	return f, ""
}

// exit is how the process ended, as far as that was listed.
func (p *processPage) exit(f Frame) *collectors.ExitRow {
	for i := len(f.Past) - 1; i >= 0; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Exec == nil {
			continue
		}
		for k := range s.Exec.Exits {
			if e := &s.Exec.Exits[k]; e.Process.TGID == p.info.TGID && e.Process.Start/tick == p.info.Start/tick {
				return e
			}
		}
	}
	return nil
}

// absent says why the process is not there.
func (p *processPage) absent(f Frame, set *processes) string {
	if set == nil {
		why, remedy := whyNot(f, collectors.TasksID, "pidstat")
		return note("pidstat", why, remedy)
	}
	title := p.Info().Title
	if e := p.exit(f); e != nil {
		return fmt.Sprintf("%s ended at %s with %s, %s old, after %s of CPU time; no scan has seen it", title,
			clock(f, e.At), endText(e), e.Age.Round(time.Microsecond), e.CPU.Round(time.Microsecond))
	}
	for _, x := range set.list {
		if x.PID == p.info.PID {
			return fmt.Sprintf("%s has ended; %d is another process now: %s", title, x.PID, clean(x.Comm))
		}
	}
	if h := newest(f, hostOf); h != nil && h.Uptime < time.Duration(p.info.Start) {
		return title + " had not begun"
	}
	return title + " has ended, or had not begun"
}

// View implements Pane.
func (p *processPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	f, ended := p.seen(f)
	set, x := p.find(f)
	if x == nil {
		lines := []string{widget.Title(c.Theme, c.Width, p.Info().Title)}
		return fit(append(lines, wrap(c, "", p.absent(f, set))...), c.Height)
	}
	lines := p.plate(f, c, x, ended)
	if c.Height >= smallHeight {
		lines = append(lines, p.nowLines(f, c, x)...)
	}
	if c.Height >= wideHeight {
		lines = append(lines, p.numbers(f, c, set, x)...)
	} else {
		lines = append(lines, p.numberLine(c, set, x))
	}
	rest := c.Height - len(lines)
	lines = append(lines, p.draw.draw(c, p.distributions(f), latencyCanvas(c, rest).Height)...)
	return fit(append(lines, p.parts.draw(f, c, c.Height-len(lines))...), c.Height)
}

// latencyCanvas is the room for distributions on a page that has so many lines left for it and for its
// tables.
func latencyCanvas(c Canvas, rest int) Canvas {
	const leastTable = 5 // the names of the tables, a title, the heads, two rows
	c.Height = max(min(rest-leastTable, max(rest/2, 7), 14), 0)
	return c
}

// targetThreadTable is a process's threads in the last interval, the idle ones too.
func targetThreadTable(f Frame, target collectors.Target) Table {
	t := Table{Columns: threadColumns()}
	last := newest(f, tasksOf)
	if last == nil {
		return t
	}
	for i := range last.Busy {
		if last.Busy[i].Process == target.Process {
			t.Rows = append(t.Rows, threadRow(&last.Busy[i], last.Span))
		}
	}
	if len(t.Rows) == 0 && last.Source != "iter/task" {
		t.Notes = append(t.Notes, "threads: /proc is read by processes here: needs the task iterator")
	}
	t.without("TGID", "USER", "COMMAND")
	return t
}

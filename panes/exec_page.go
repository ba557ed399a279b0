// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// commandPage is one command: the event it was opened from, whole, and what processes of its name have
// done lately.
type commandPage struct {
	comm   collectors.Raw
	who    collectors.Process // of the row it was opened from; none for a row of many
	event  [][2]string        // of the row it was opened from, by name; none for a row of counts
	scroll int
	last   int // where scroll ends: the last line was in sight there when it was last drawn
}

// openExec opens the page of what was started.
func openExec(f Frame, r Row) Answer {
	for _, e := range eventsOf(f, execOf, func(x *collectors.Exec) []collectors.ExecRow { return x.Execs }) {
		if whoRow(e.Process, int64(e.At)) == r.ID {
			return OpenMsg{newExecPage(f, &e)}
		}
	}
	return nil
}

// newExecPage is the page of an exec, also one that failed.
func newExecPage(f Frame, e *collectors.ExecRow) *commandPage {
	p := &commandPage{comm: e.Comm, who: e.Process}
	p.say("started", clock(f, e.At))
	if e.Errno != 0 {
		p.say("failed", fmt.Sprintf("errno %d", e.Errno))
	}
	p.say("process", from(e.Comm, e.Process))
	if e.Thread != 0 {
		p.say("thread", fmt.Sprintf("%d called exec, and not the first one", e.Thread))
	}
	p.say("parent", from(e.ParentComm, e.Parent))
	p.say("user", userName(e.User, e.UID))
	p.say("cgroup", cgroupText(f, e.Cgroup))
	p.say("file", clean(e.File))
	args := clean(e.Args)
	if e.ArgsWhole > e.ArgsKept {
		args += fmt.Sprintf(" … %d of %d bytes", e.ArgsKept, e.ArgsWhole)
	}
	p.say("arguments", args)
	return p
}

// openExit opens the page of what ended.
func openExit(f Frame, r Row) Answer {
	for _, e := range eventsOf(f, execOf, func(x *collectors.Exec) []collectors.ExitRow { return x.Exits }) {
		if whoRow(e.Process, int64(e.At)) != r.ID {
			continue
		}
		p := &commandPage{comm: e.Comm, who: e.Process}
		p.say("ended", clock(f, e.At))
		p.say("with", endWords(&e))
		p.say("process", from(e.Comm, e.Process))
		p.say("parent", from(e.ParentComm, e.Parent))
		p.say("user", uidName(f, e.UID))
		p.say("cgroup", cgroupText(f, e.Cgroup))
		p.say("age", e.Age.Round(time.Microsecond).String())
		cpu := e.CPU.Round(time.Microsecond).String()
		if !e.Reaped {
			cpu += "~ nobody has waited for it yet: its last time slice is missing"
		} else {
			cpu += fmt.Sprintf(", %s of it in the kernel", e.Sys.Duration())
			p.say("read", widget.Bytes(e.Read)+" from storage, "+widget.Bytes(e.Write)+" to be written there")
		}
		p.say("CPU", cpu)
		return OpenMsg{p}
	}
	return nil
}

// endWords say how a process ended.
func endWords(e *collectors.ExitRow) string {
	switch {
	case e.Signal == 0:
		return fmt.Sprintf("exit code %d", e.Code)
	case e.Core:
		return fmt.Sprintf("SIG%s (%d), and a core dump", signalName(e.Signal), e.Signal)
	}
	return fmt.Sprintf("SIG%s (%d)", signalName(e.Signal), e.Signal)
}

// uidName names a user as the newest scan of the tasks does, else by its number.
func uidName(f Frame, uid uint32) string {
	var name collectors.Raw
	if t := newest(f, tasksOf); t != nil {
		for i := range t.Rows {
			if x := t.Rows[i].ProcInfo; x != nil && x.UID == uid {
				name = x.User
				break
			}
		}
	}
	return userName(name, uid)
}

// openShort opens the page of a command that lives shortly, openProgram of one that starts others.
func openShort(f Frame, r Row) Answer {
	for _, x := range countsOf(f).short {
		if whoRow(x.Parent, clean(x.Comm)) == r.ID {
			return OpenMsg{&commandPage{comm: x.Comm}}
		}
	}
	return nil
}

func openProgram(f Frame, r Row) Answer {
	for _, x := range countsOf(f).files {
		if clean(x.ParentComm)+" "+clean(x.File) == r.ID {
			return OpenMsg{&commandPage{comm: x.ParentComm}}
		}
	}
	return nil
}

func openForker(f Frame, r Row) Answer {
	for _, x := range countsOf(f).forkers {
		if whoRow(x.Process, clean(x.Comm)) == r.ID {
			return OpenMsg{&commandPage{comm: x.Comm, who: x.Process}}
		}
	}
	return nil
}

// countsOf is what the tables of counts show, nothing without samples.
func countsOf(f Frame) *execSum {
	if s := sumExec(recently(f, execOf, shortSpan)); s != nil {
		return s
	}
	return &execSum{}
}

// openSignal opens the page of the target's command.
func openSignal(f Frame, r Row) Answer {
	for _, e := range eventsOf(f, signalsOf, func(x *collectors.Signals) []collectors.SignalRow { return x.Rows }) {
		if whoRow(e.Target, int64(e.At), e.Number) != r.ID {
			continue
		}
		p := &commandPage{comm: e.TargetComm, who: e.Target}
		p.say("signalled", clock(f, e.At))
		p.say("signal", fmt.Sprintf("SIG%s (%d)", signalName(e.Number), e.Number))
		sender := "the kernel"
		if e.Sender.TGID != 0 {
			sender = fmt.Sprintf("%s, user %d", from(e.SenderComm, e.Sender), e.UID)
		}
		p.say("from", sender)
		to := from(e.TargetComm, e.Target)
		if e.Thread != 0 {
			to += fmt.Sprintf(", thread %d", e.Thread)
		}
		p.say("to", to)
		p.say("cgroup", cgroupText(f, e.Cgroup))
		p.say("effect", effect(&e))
		p.say("why", fmt.Sprintf("%s (si_code %d)", signalCause(&e), e.Code))
		return OpenMsg{p}
	}
	return nil
}

func (p *commandPage) say(name, value string) { p.event = append(p.event, [2]string{name, value}) }

// cgroupText names a cgroup by the path of a process that is in it, or its own, or by its number.
func cgroupText(f Frame, id uint64) string {
	if t := newest(f, tasksOf); t != nil && id != 0 {
		for i := range t.Rows {
			if x := t.Rows[i].ProcInfo; x != nil && x.NamedCgroup() == id && x.CgroupPath.Bytes() != "" {
				return clean(x.CgroupPath)
			}
		}
	}
	if id == 0 {
		return "-"
	}
	rows, _ := cgroupsOver(f)
	if i := slices.IndexFunc(rows, func(c cgroupSum) bool { return c.ID == id }); i >= 0 {
		return clean(rows[i].Path)
	}
	return fmt.Sprintf("id %d", id)
}

// Info implements Pane.
func (p *commandPage) Info() Info {
	name := clean(p.comm)
	return Info{ID: ID("command " + name), Title: "command " + name, Short: name, Help: "exec"}
}

// Wants implements Pane: execs and exits are counted all the time.
func (p *commandPage) Wants(Scope) []collectors.Want { return nil }

// Keys implements Pane.
func (p *commandPage) Keys() []keymap.Key {
	open := keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process")
	if p.who.TGID == 0 {
		open = open.Off("this is the whole command: many processes had its name")
	}
	return []keymap.Key{keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"), open}
}

// Update implements Pane.
func (p *commandPage) Update(msg tea.Msg) Answer {
	press, ok := msg.(Press)
	if !ok {
		return nil
	}
	if press.ID == keymap.Open {
		return openProcess(press.Frame, p.who, p.comm)
	}
	p.scroll = moveTo(press.ID, min(p.scroll, p.last), p.last+1)
	return nil
}

// pageSpan is how much of the past the page sums.
const pageSpan = time.Minute

// Table implements Pane: where processes of the name came from, and more what they started.
func (p *commandPage) Table(f Frame) Table {
	t := Table{Title: p.Info().Title, Columns: []Column{
		countColumn("ended", "", 7, 0, 0), countColumn("%CPU", "%", 6, 1, 0), countColumn("AGE(ms)", "ms", 9, 1, 1), countColumn("CPU(ms)", "ms", 9, 1, 1),
		countColumn("unseen", "", 7, 0, 2), countColumn("failed", "", 7, 0, 3), countColumn("killed", "", 7, 0, 3), wordColumn("FROM", 20, 0),
	}}
	for i, x := range p.event {
		t.Facts = append(t.Facts, Fact{ID: strings.ToLower(x[0]), Title: x[0] + " " + fmt.Sprint(i), Cell: Say(x[1])})
	}
	s := sumExec(recently(f, execOf, pageSpan))
	if s == nil {
		why, remedy := whyNot(f, collectors.ExecID, "exitsnoop")
		t.Notes = append(t.Notes, note("exitsnoop", why, remedy))
		return t
	}
	for i := range s.short {
		r := &s.short[i]
		if r.Comm != p.comm {
			continue
		}
		t.Rows = append(t.Rows, Row{ID: whoRow(r.Parent), Target: aboutProcess(r.Parent, r.ParentComm), Cells: []Cell{
			Number(float64(r.Exits)), Number(s.percent(r.CPU)), meanMs(r.Age, r.Exits), meanMs(r.CPU, r.Exits),
			Number(float64(r.Unseen)), Number(float64(r.Failed)), Number(float64(r.Killed)), Say(from(r.ParentComm, r.Parent)),
		}})
	}
	started := Table{Title: "started by " + clean(p.comm), Columns: []Column{countColumn("execs", "", 7, 0, 0), wordColumn("FILE", 30, 0)}}
	for i := range s.files {
		if r := &s.files[i]; r.ParentComm == p.comm {
			started.Rows = append(started.Rows, Row{ID: clean(r.File), Cells: []Cell{Number(float64(r.Execs)), Name(collectors.Clean(r.File))}})
		}
	}
	t.More = []Table{started}
	return t
}

// View implements Pane.
func (p *commandPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.Table(f)
	title := []string{widget.Title(c.Theme, c.Width, p.Info().Title)}
	var lines []string
	for _, x := range p.event {
		lines = append(lines, wrapWide(c, fmt.Sprintf("%-11s", x[0]), x[1])...)
	}
	if len(t.Rows) > 0 {
		lines = append(lines, widget.Title(c.Theme, c.Width, "processes of this name that ended", p.spanText(f)))
		lines = append(lines, still(c, t, len(t.Rows)+1)...)
	}
	lines = append(lines, p.history(f, c)...)
	for _, more := range t.More {
		if len(more.Rows) > 0 {
			lines = append(lines, widget.Title(c.Theme, c.Width, "programs that processes of this name started", p.spanText(f)))
			lines = append(lines, still(c, more, len(more.Rows)+1)...)
		}
	}
	if len(lines) == 0 {
		lines = nothing(c, t, "no process of this name has ended or started anything lately")
	}
	p.last = max(0, len(lines)-(c.Height-1))
	return fit(append(title, lines[min(p.scroll, p.last):]...), c.Height)
}

func (p *commandPage) spanText(f Frame) string {
	if s := sumExec(recently(f, execOf, pageSpan)); s != nil {
		return fmt.Sprintf("%.0f s", s.Seconds())
	}
	return "-"
}

// history draws how many ended and what they used, one column a sample.
func (p *commandPage) history(f Frame, c Canvas) []string {
	const label = 18
	width := min(c.Width-label-1, mostSpark)
	if width < leastSpark {
		return nil
	}
	of := func(value func(*collectors.ShortLived) float64) []float64 {
		kept := func(s *collectors.Snapshot) *collectors.Exec {
			if s.Exec != nil && s.Thin() {
				return &collectors.Exec{} // of no time: what ended then was given up
			}
			return s.Exec
		}
		return series(f, width, kept, func(x *collectors.Exec) float64 {
			if x.Seconds() == 0 {
				return math.NaN()
			}
			sum := 0.0
			for i := range x.Short {
				if x.Short[i].Comm == p.comm {
					sum += value(&x.Short[i]) / x.Seconds()
				}
			}
			return sum
		})
	}
	var out []string
	for _, row := range []struct {
		name   string
		values []float64
	}{
		{"ended/s", of(func(r *collectors.ShortLived) float64 { return float64(r.Exits) })},
		{"%CPU", of(func(r *collectors.ShortLived) float64 { return 100 * r.CPU.Seconds() })},
	} {
		top := most(row.values)
		if top <= 0 {
			continue
		}
		l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, row.name).To(9).Plain("≤ " + widget.Short(top)).To(label)
		out = append(out, l.Put(c.Theme.Accent, widget.Spark(row.values, width, 0, top)).String())
	}
	return out
}

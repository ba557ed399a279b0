// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
)

// processPage is everything about one process.
type processPage struct {
	info    *collectors.ProcInfo // as it was when the page was opened
	threads list
}

func newProcessPage(info *collectors.ProcInfo) *processPage {
	return &processPage{info: info, threads: newList("%CPU")}
}

// Info implements Pane.
func (p *processPage) Info() Info {
	name := fmt.Sprintf("%s[%d]", widget.Clip(clean(p.info.Comm), 15), p.info.PID)
	return Info{ID: ID("process " + strconv.Itoa(int(p.info.PID))), Title: name, Short: name, Help: "processes"}
}

// Wants implements Pane: the threads of this process, the idle ones too.
func (p *processPage) Wants(Scope) []collectors.Want {
	return []collectors.Want{{ID: collectors.TasksID, Target: collectors.Target{Kind: collectors.ProcessTarget, Process: p.info.Process}}}
}

// Keys implements Pane.
func (p *processPage) Keys() []keymap.Key {
	return append([]keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", "open", "enter").Off("there is nothing below a thread yet"),
	}, p.threads.keys()...)
}

// Update implements Pane.
func (p *processPage) Update(msg tea.Msg) tea.Cmd {
	switch msg := msg.(type) {
	case Select:
		p.threads.choose(msg.Row)
	case Press:
		p.threads.press(msg.ID, p.Table(msg.Frame))
	}
	return nil
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

// Table implements Pane: the numbers of the process as facts, its threads as rows.
func (p *processPage) Table(f Frame) Table {
	t := Table{Title: p.Info().Title, Columns: threadColumns()}
	set, x := p.find(f)
	if x == nil {
		t.Notes = append(t.Notes, p.absent(f, set))
		return t
	}
	for _, c := range processColumns() {
		if c.Left && c.ID != "S" {
			continue
		}
		cell := c.cell(x, set.Span)
		t.Facts = append(t.Facts, Fact{ID: c.ID, Title: c.Title, Unit: c.Unit, Cell: cell, Decimals: c.Decimals})
	}
	last := newest(f, tasksOf)
	if last == nil {
		return t
	}
	for i := range last.Busy {
		if last.Busy[i].Process == x.Process {
			t.Rows = append(t.Rows, threadRow(&last.Busy[i], last.Span))
		}
	}
	p.threads.order(&t)
	if len(t.Rows) == 0 && last.Source != "iter/task" {
		t.Notes = append(t.Notes, "threads: /proc is read by processes here: needs the task iterator")
	}
	return t
}

// absent says why the process is not there.
func (p *processPage) absent(f Frame, set *processes) string {
	if set == nil {
		why, remedy := whyNot(f, collectors.TasksID, "pidstat")
		return note("pidstat", why, remedy)
	}
	for _, x := range set.list {
		if x.PID == p.info.PID {
			return fmt.Sprintf("%s has ended; %d is another process now: %s", p.Info().Title, x.PID, clean(x.Comm))
		}
	}
	if h := newest(f, hostOf); h != nil && h.Uptime < time.Duration(p.info.Start) {
		return p.Info().Title + " had not begun"
	}
	return p.Info().Title + " has ended, or had not begun"
}

// View implements Pane.
func (p *processPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	t := p.Table(f)
	set, x := p.find(f)
	if x == nil {
		lines := []string{widget.Title(c.Theme, c.Width, t.Title)}
		for _, n := range t.Notes {
			lines = append(lines, wrap(c, "", n)...)
		}
		return fit(lines, c.Height)
	}
	lines := p.plate(f, c, x)
	lines = append(lines, p.numbers(f, c, set, x)...)
	if rest := c.Height - len(lines); rest > 2 {
		lines = append(lines, widget.Title(c.Theme, c.Width, "threads", fmt.Sprint(x.threads), "last interval"))
		switch {
		case len(t.Rows) > 0:
			widen(&t, c.Width)
			lines = append(lines, p.threads.draw(c, t, rest-1, listOptions{})...)
		case len(t.Notes) > 0:
			lines = append(lines, wrap(c, "", t.Notes[0])...)
		default:
			lines = append(lines, wrap(c, "", "waiting for threads …")...)
		}
	}
	return fit(lines, c.Height)
}

// plate says what the process is.
func (p *processPage) plate(f Frame, c Canvas, x *process) []string {
	parts := []string{t60(p.Info().Title), userOf(x.ProcInfo)}
	if h := newest(f, hostOf); h != nil && h.Uptime > time.Duration(x.Start) {
		parts = append(parts, "up "+widget.Age(h.Uptime-time.Duration(x.Start)))
	}
	parts = append(parts, fmt.Sprintf("%d thread%s", x.threads, plural(int(x.threads))), stateWord(x.state))
	lines := []string{widget.Title(c.Theme, c.Width, parts...)}
	most := 3
	if c.Height < smallHeight {
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
		lines = append(lines, widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "cgroup   ").Plain(path).String())
	}
	parent := strconv.Itoa(int(x.PPID))
	if set := processesOver(f); set != nil {
		if i := slices.IndexFunc(set.list, func(y process) bool { return y.PID == x.PPID }); i >= 0 {
			parent = fmt.Sprintf("%s[%d]", clean(set.list[i].Comm), x.PPID)
		}
	}
	l := widget.NewLine(c.Width).Skip(1).Put(c.Theme.Dim, "parent   ").Plain(parent)
	l.Skip(2).Put(c.Theme.Dim, "policy ").Plain(policyWord(x.Policy)).Skip(2).Put(c.Theme.Dim, "nice ").Plain(strconv.Itoa(int(x.Nice)))
	l.Skip(2).Put(c.Theme.Dim, "cpu time ").Plain(widget.CPUTime(x.time))
	if x.NetNS != 0 {
		l.Skip(2).Put(c.Theme.Dim, "netns ").Plain(strconv.FormatUint(uint64(x.NetNS), 10))
	}
	return append(lines, l.String())
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

// number is one line of the page: a column of the table over time.
type pageNumber struct {
	id   string
	rank int                                                      // on a low screen those of higher rank leave first
	of   func(r *collectors.TaskRow, seconds float64) (v float64) // of a sample; nil: not drawn over time
	hold bool                                                     // a gauge: it stays where there is no row
}

func pageNumbers() []pageNumber {
	type R = collectors.TaskRow
	kb := func(n uint64, s float64) float64 { return float64(n) / 1024 / s }
	more := func(r *R) collectors.TaskMore {
		if r.More == nil {
			return collectors.TaskMore{}
		}
		return *r.More
	}
	return []pageNumber{
		{"%CPU", 0, func(r *R, s float64) float64 { return 100 * r.Run.Seconds() / s }, false},
		{"%usr", 3, func(r *R, s float64) float64 { return 100 * (r.Run - min(r.Sys.Duration(), r.Run)).Seconds() / s }, false},
		{"%sys", 3, func(r *R, s float64) float64 { return 100 * r.Sys.Duration().Seconds() / s }, false},
		{"%wait", 1, func(r *R, s float64) float64 { return 100 * r.LeadWait.Duration().Seconds() / s }, false},
		{"%waitall", 4, func(r *R, s float64) float64 { return 100 * r.Wait.Seconds() / s }, false},
		{"RSS", 0, func(r *R, _ float64) float64 { return float64(r.RSS) * pageSize / 1024 }, true},
		{"swap", 6, nil, true},
		{"VSZ", 7, nil, true},
		{"minflt/s", 5, func(r *R, s float64) float64 { return float64(r.MinFlt) / s }, false},
		{"majflt/s", 2, func(r *R, s float64) float64 { return float64(more(r).MajFlt) / s }, false},
		{"kB_rd/s", 1, func(r *R, s float64) float64 { return kb(more(r).Read, s) }, false},
		{"kB_wr/s", 1, func(r *R, s float64) float64 { return kb(more(r).Write, s) }, false},
		{"cswch/s", 2, func(r *R, s float64) float64 { vol, _ := leaderSwitches(r); return float64(vol) / s }, false},
		{"nvcswch/s", 2, func(r *R, s float64) float64 { _, invol := leaderSwitches(r); return float64(invol) / s }, false},
		{"iodelay", 6, nil, false},
	}
}

// numbers draws the numbers with their history, two a line.
func (p *processPage) numbers(f Frame, c Canvas, set *processes, x *process) []string {
	list := pageNumbers()
	columns := 2
	if c.Width < 60 {
		columns = 1
	}
	room := max((c.Height-6)/2, 2) * columns
	for rank := 9; rank > 0 && len(list) > room; rank-- {
		for i := len(list) - 1; i >= 0 && len(list) > room; i-- {
			if list[i].rank == rank {
				list = slices.Delete(list, i, i+1)
			}
		}
	}
	cols := processColumns()
	rows := p.rows(f)
	width := (c.Width - 2*(columns-1)) / columns
	var blocks []string
	for _, n := range list {
		i := slices.IndexFunc(cols, func(c processColumn) bool { return c.ID == n.id })
		if i < 0 {
			continue
		}
		l := widget.NewLine(width).Skip(1).Put(c.Theme.Dim, n.id)
		l.Right(c.Theme.Title, cols[i].cell(x, set.Span).fit(cols[i].Column), 20)
		if n.of != nil && width > 32 {
			values := rowSeries(rows, n)
			top := most(values)
			if cols[i].Unit == "%" {
				top = max(top, 100)
			}
			l.To(22).Put(c.Theme.Accent, widget.Spark(values, width-23, 0, top))
		}
		blocks = append(blocks, l.String())
	}
	half := (len(blocks) + columns - 1) / columns
	if columns == 1 || half == 0 {
		return blocks
	}
	return widget.Join(blocks[:half], width, blocks[half:], 2)
}

// sampleRow is the process in one sample; row is nil where it did nothing.
type sampleRow struct {
	seconds float64
	row     *collectors.TaskRow
}

// rows are the samples of the last minutes, oldest first, none from before the process began.
func (p *processPage) rows(f Frame) []sampleRow {
	const most = 120
	var out []sampleRow
	began := time.Duration(-1 << 62)
	if h := newest(f, hostOf); h != nil {
		began = f.Now.At - max(h.Uptime-time.Duration(p.info.Start), 0)
	}
	for i := len(f.Past) - 1; i >= 0 && len(out) < most; i-- {
		s := f.Past[i].Snapshot
		if s == nil || s.Tasks == nil || s.Tasks.Seconds() == 0 {
			continue
		}
		if s.Tasks.To < began {
			break
		}
		r := sampleRow{seconds: s.Tasks.Seconds()}
		for k := range s.Tasks.Rows {
			if x := &s.Tasks.Rows[k]; x.ProcInfo != nil && x.Process == p.info.Process {
				r.row = x
				break
			}
		}
		out = append(out, r)
	}
	slices.Reverse(out)
	return out
}

// rowSeries is one number over the samples.
func rowSeries(rows []sampleRow, n pageNumber) []float64 {
	out := make([]float64, len(rows))
	held := 0.0
	for i, r := range rows {
		switch {
		case r.row != nil:
			held = n.of(r.row, r.seconds)
			out[i] = held
		case n.hold:
			out[i] = held
		}
	}
	return out
}

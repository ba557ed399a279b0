// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
)

// ProfilePane is the id of the pane of what the CPUs run.
const ProfilePane ID = "profile"

// Profile is the pane of what the CPUs run, or of where tasks sleep: a flame graph, and its functions in a
// table. The CPUs are sampled while it is open. With a target it is a page of that one.
type Profile struct {
	page collectors.Target // of a page; zero: the pane is about the scope
	name string            // of the page

	time   flameTime
	window int        // in profileWindows
	lists  [2]list    // by flameTime
	listed bool       // the cursor is in the table, not in the graph
	path   []flameKey // of the selected frame
	top    []flameKey // of the frame that is zoomed into

	of  profileKey
	sum *profileSum // of it: what is drawn for a key need not be summed up for the next one
}

// profileKey is what a sum is of.
type profileKey struct {
	last   *collectors.Snapshot
	past   int
	span   time.Duration
	window int
	time   flameTime
	target collectors.Target
}

// summed is the sum of a frame's samples, which nobody writes.
func (p *Profile) summed(f Frame, target collectors.Target) *profileSum {
	key := profileKey{f.Now.Snapshot, len(f.Past), f.Span, p.window, p.time, target}
	if key.last == nil || key != p.of {
		p.of, p.sum = key, p.time.over(profiled(f, profileWindows()[p.window]), target)
	}
	return p.sum
}

// NewProfile returns the pane: what ran in the last minute, the cursor in the graph.
func NewProfile() *Profile {
	return &Profile{lists: [2]list{newList("self%"), newList("self%")}}
}

// newProfilePage is the same about one process or cgroup.
func newProfilePage(t collectors.Target, name string) *Profile {
	p := NewProfile()
	p.page, p.name = t, name
	return p
}

// profileWindows are the times that a profile can be of, the default first; the last is all that is kept.
func profileWindows() []time.Duration {
	return []time.Duration{profileWindow, 10 * time.Second, keepFor}
}

// Info implements Pane.
func (p *Profile) Info() Info {
	if p.name != "" {
		return Info{ID: ID("profile " + p.name), Title: "profile of " + p.name, Short: "profile", Help: "profile"}
	}
	return Info{ID: ProfilePane, Title: "Profile", Short: "Prof", Digit: "9", Help: "profile", Command: "profile", Dear: true}
}

// about is what the pane is about: the page's target, or the scope.
func (p *Profile) about(s Scope) collectors.Target {
	return p.time.target(cmp.Or(p.page, s.Target))
}

// Wants implements Pane.
func (p *Profile) Wants(s Scope) []collectors.Want {
	return []collectors.Want{p.time.wants(cmp.Or(p.page, s.Target))}
}

const (
	keyProfileTime   = "profile.off-cpu"
	keyProfileWindow = "profile.window"
	keyProfileTable  = "profile.table"
	keyProfileLeft   = "profile.left"
	keyProfileRight  = "profile.right"
)

// Keys implements Pane.
func (p *Profile) Keys() []keymap.Key {
	to, table := "off-CPU", "table"
	if p.time == offTime {
		to = "on-CPU"
	}
	open := keymap.New(keymap.Open, "Enter", "zoom in", "enter").In("zoom into the frame; in the table, to the widest frame of the function")
	if p.listed {
		table = "graph"
		open = keymap.New(keymap.Open, "Enter", "find", "enter").In(open.Long)
	}
	keys := []keymap.Key{
		open,
		keymap.New(keyProfileTime, "o", to, "o").In("what CPUs run, or where tasks sleep"),
		keymap.New(keyProfileTable, "t", table, "t").In("move the cursor between graph and table"),
		keymap.New(keyProfileWindow, "w", "window", "w").In("what the last minute, the last 10 s or the last 10 minutes hold"),
	}
	switch {
	case len(p.top) > 0:
		keys = append(keys, keymap.New(keymap.Back, "Esc", "zoom out", "esc", "backspace"))
	case p.name != "":
		keys = append(keys, keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"))
	}
	if p.listed {
		return append(keys, p.list().keys()...)
	}
	return append(keys,
		keymap.New(keymap.Up, "k", "caller", "k", "up"),
		keymap.New(keymap.Down, "j", "called", "j", "down").In("row down; in a flame graph the widest frame that this one calls"),
		keymap.New(keymap.Earlier, "←", "frame left", "left", "h").In("column to the left; paused: one sample back"),
		keymap.New(keymap.Later, "→", "frame right", "right", "l").In("column to the right; paused: one sample on"),
		keymap.New(keyProfileLeft, "<", "frame left", "<").In("in a flame graph the frame to the left, also when paused"),
		keymap.New(keyProfileRight, ">", "frame right", ">").In("in a flame graph the frame to the right, also when paused"),
	)
}

func (p *Profile) list() *list { return &p.lists[p.time] }

// Update implements Pane. Select takes a row of the table.
func (p *Profile) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.listed = true
		p.list().choose(msg.Row)
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *Profile) press(msg Press) Answer {
	switch msg.ID {
	case keyProfileTime:
		next := (p.time + 1) % 2
		if p.page != (collectors.Target{}) && next.target(p.page) == (collectors.Target{}) {
			return SayMsg{"sleeps are told apart for a process only"}
		}
		p.time = next
		p.path, p.top = nil, nil
		return WantMsg{}
	case keyProfileTable:
		p.listed = !p.listed
		return nil
	case keyProfileWindow:
		p.window = (p.window + 1) % len(profileWindows())
		return nil
	}
	x := p.shown(msg.Frame)
	if p.listed {
		if msg.ID != keymap.Open {
			p.list().press(msg.ID, x.table)
			return nil
		}
		return p.seek(x)
	}
	if msg.ID == keymap.Open {
		if x.selected.count == 0 {
			return SayMsg{"there is no frame to zoom into"}
		}
		if x.selected == x.top {
			return SayMsg{"the graph begins with this frame: go down to another"}
		}
		p.top = x.selected.path()
		return SayMsg{"zoomed into " + x.selected.name + "; Esc zooms out"}
	}
	p.move(msg.ID, x)
	return nil
}

// seek selects the widest frame of the row's function.
func (p *Profile) seek(x *profileShown) Answer {
	r, ok := p.list().row(x.table)
	if !ok {
		return SayMsg{"there is no row to open"}
	}
	if !p.find(x, r.ID) {
		return SayMsg{"no frame of this function is left"}
	}
	return SayMsg{"the widest frame of the function; Esc zooms out, t goes back to the table"}
}

// choose is seek of a row by its ID.
func (p *Profile) choose(f Frame, row string) { p.find(p.shown(f), row) }

func (p *Profile) find(x *profileShown, row string) bool {
	at := slices.IndexFunc(x.functions, func(s functionSum) bool { return functionRow(s.function) == row })
	if at < 0 {
		return false
	}
	f := x.root.hottest(x.functions[at].function)
	if f == nil {
		return false
	}
	p.path, p.top, p.listed = f.path(), nil, false
	if f.above != nil && f.above.above != nil {
		p.top = f.above.path() // else it may be narrower than a cell
	}
	return true
}

// widestLine is the width that the cursor moves in: more than a screen, so that no frame that is drawn is
// passed over.
const widestLine = 1000

// move moves the cursor to a frame beside the selected one.
func (p *Profile) move(key string, x *profileShown) {
	g := layOut(x.top, widestLine, maxFlameDepth+2)
	row, i, ok := g.find(x.selected) // not where it is narrower than any cell
	to := x.selected
	switch key {
	case keymap.Up:
		if to != x.top {
			to = to.above
		}
	case keymap.Down:
		to = to.widest()
	case keymap.Top:
		to = x.top
	case keymap.Bottom:
		for next := to.widest(); next != to; next = to.widest() {
			to = next
		}
	case keymap.Earlier, keyProfileLeft:
		if ok {
			to = g.rows[row][max(i-1, 0)].flame
		}
	case keymap.Later, keyProfileRight:
		if ok {
			to = g.rows[row][min(i+1, len(g.rows[row])-1)].flame
		}
	}
	p.path = to.path()
}

// widest is the widest frame that one calls, the first of equal ones; itself if it calls none.
func (f *flame) widest() *flame {
	best := f
	for _, next := range f.below {
		if best == f || next.count > best.count {
			best = next
		}
	}
	return best
}

// zoomOut is what Esc does while there is a zoom: it goes to the frame before; false without one.
func (p *Profile) zoomOut() bool {
	if len(p.top) == 0 {
		return false
	}
	p.path, p.top = p.top, nil
	return true
}

// profileShown is what the pane shows of a frame.
type profileShown struct {
	sum       *profileSum // nil: nothing was sampled
	root, top *flame
	selected  *flame
	table     Table
	functions []functionSum
	marked    map[function]bool // of the filter; nil: there is none
	found     uint64            // of the sum: stacks with one that is marked
}

// shown sums up what the frame has.
func (p *Profile) shown(f Frame) *profileShown {
	target := p.about(f.Scope)
	x := &profileShown{sum: p.summed(f, target)}
	x.table, x.functions = p.time.table(x.sum)
	x.table.scoped = target != (collectors.Target{})
	x.table.Facts = p.time.facts(x.sum)
	if x.sum == nil {
		x.table.Notes = append(x.table.Notes, p.unsampled(f, target))
		x.root = newFlame()
	} else {
		x.root = flamesOf(x.sum.stacks)
		x.mark(f.Filter)
	}
	x.top = x.root.find(p.top)
	if x.selected = x.root.find(p.path); !x.selected.within(x.top) {
		x.selected = x.top
	}
	id, probe := p.time.probe(target)
	missedNote(profiled(f, profileWindows()[p.window]), &x.table, id, probe)
	p.list().arrange(f, &x.table)
	if !p.listed && f.sight != nil { // the cursor is in the graph
		f.sight.row, f.sight.found = Row{}, ""
	}
	return x
}

// mark finds the functions that a filter keeps in the table, and what part of the sum goes through them.
func (x *profileShown) mark(filter *Filter) {
	test, _, err := filter.bind(x.table.Columns)
	if test == nil || err != nil {
		return
	}
	x.marked = make(map[function]bool)
	for i := range x.functions {
		if test(x.table.Rows[i].Cells) {
			x.marked[x.functions[i].function] = true
		}
	}
	for i := range x.sum.stacks {
		s := &x.sum.stacks[i]
		if slices.ContainsFunc(s.frames, func(f collectors.CallFrame) bool { return x.marked[functionOf(&f)] }) {
			x.found += s.n
		}
	}
}

// unsampled says why nothing was sampled, and in a report how to get it.
func (p *Profile) unsampled(f Frame, t collectors.Target) string {
	id, probe := p.time.probe(t)
	if x, ok := probeNamed(f, id, probe); ok && x.State == collectors.Idle {
		return note("not sampled", "stacks are sampled only where somebody looks", "in a report: bpf60 report profile")
	}
	if t != (collectors.Target{}) {
		return "not sampled: " + unrecorded(f, id, probe, t)
	}
	why, remedy := whyNot(f, id, probe)
	return note("not sampled", why, remedy)
}

// Table implements Pane: the functions of what ran and, where they are known or shown, of where tasks slept.
func (p *Profile) Table(f Frame) Table {
	t := p.shown(f).table
	other := *p
	other.time = (p.time + 1) % 2
	if x := other.shown(f); x.sum != nil && other.about(f.Scope) == p.about(f.Scope) {
		x.table.Title = fmt.Sprintf("functions, %v", other.time)
		t.More = append(t.More, x.table)
	}
	return t
}

// Describe implements Describer.
func (p *Profile) Describe(f Frame) string {
	if !p.listed {
		return ""
	}
	return p.list().why(p.shown(f).table)
}

// String names it as its key does.
func (k flameTime) String() string {
	if k == offTime {
		return "off-CPU"
	}
	return "on-CPU"
}

// functionRow is the ID of a function's row.
func functionRow(f function) string { return f.module + "`" + f.fn }

// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/theme"
	"bpf60/triage"
)

// Config is what the screen is given. Only Panes and History are needed.
type Config struct {
	Panes   []Pane
	History *triage.History

	// Want replaces what a holder wants of the on-demand collectors; nil in a replay.
	Want func(holder string, wants []collectors.Want)
	// Save notes that a snapshot is on its way, and returns what writes it. Nil: there is no S.
	Save func() Writer
	// Clock is the time since the run began; only who starts the program knows a clock.
	// Nil: the time of the newest moment.
	Clock func() time.Duration

	// Recorded is the host of a recording that is shown instead of this one; empty: it is live. Then
	// the screen is always paused, and space plays.
	Recorded string

	Scope Scope // what all panes are about from the start; zero: the whole host
	// Copy is where y puts a text; nil: nowhere.
	Copy Copier
	// Uptime is real time, also in a replay, for double clicks. Nil: the clock.
	Uptime func() time.Duration

	// Themes makes a theme by its name, for :theme; nil: it cannot be changed.
	Themes func(name string) theme.Theme
	// Interval changes the time between two measurements; nil: it cannot be changed.
	Interval func(text string) error

	Tabs    []string           // IDs of the panes that have a tab, in the order of Panes; nil: those with a digit
	Columns map[string]Columns // of tables, by the names of Tables

	Theme   theme.Theme
	Glyphs  theme.Glyphs
	Keys    keymap.Map
	Version string

	TriageFor time.Duration // how long the first triage takes; 0: 60 s
	Rules     int           // how many rules judge
}

// screenHolder is the name under which the screen wants collectors.
const screenHolder = "screen"

// keepFor is how far back the screen can step.
const keepFor = 10 * time.Minute

// Root is the only tea.Model: tabs, a stack of drill-downs on each, the time cursor. It routes
// messages; it knows no pane by name.
type Root struct {
	cfg    Config
	size   tea.WindowSizeMsg
	tab    int
	nav             // the way here, and what was filtered on it
	stacks [][]Pane // of each tab: the pane, then its drill-downs
	frame  Frame    // what is shown
	live   time.Duration
	tape   tape // whether time stands still
	status status
	over   overlay
	hand   hand
	drawn  string // the screen as last drawn; empty: draw again
}

// status is what the footer says instead of the keys until the next key.
type status struct {
	text  string
	alert bool
	asked bool // the text describes the selected row, and stays true as the data changes
}

// New returns the screen.
func New(cfg Config) *Root {
	if cfg.TriageFor == 0 {
		cfg.TriageFor = time.Minute
	}
	r := &Root{cfg: cfg}
	for _, p := range cfg.Panes {
		r.stacks = append(r.stacks, []Pane{p})
	}
	choose(cfg.Panes, cfg.Columns)
	r.hand.global = GlobalKeys(cfg.Panes)
	r.frame.Rules, r.frame.Scope = cfg.Rules, cfg.Scope
	r.tape.paused = cfg.Recorded != ""
	r.frame.Still = r.tape.paused
	if len(r.stacks) > 0 {
		r.arrived()
	}
	return r
}

// Init implements tea.Model.
func (r *Root) Init() tea.Cmd {
	r.want()
	return nil
}

// top is the pane that is shown.
func (r *Root) top() Pane {
	s := r.stacks[r.tab]
	return s[len(s)-1]
}

// Update implements tea.Model.
func (r *Root) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	r.drawn = ""
	defer func() { r.hand.stale = true }()
	if _, ok := msg.(NewMsg); !ok {
		r.changes()
	}
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		r.size = tea.WindowSizeMsg{Width: max(msg.Width, 0), Height: max(msg.Height, 0)}
	case NewMsg:
		r.refresh()
		r.carryOn()
	case tea.KeyMsg:
		return r, r.keys(msg)
	case tea.MouseMsg:
		return r, r.mouse(msg)
	case Answer:
		r.answer(msg)
	case playMsg:
		return r, r.play(msg)
	case restedMsg:
		return r, r.rested()
	case saveStep:
		return r, r.saveOn(msg.saving)
	case copiedMsg:
		r.copied(msg)
	case SavedMsg:
		return r, r.saved(msg)
	default:
		r.answer(r.top().Update(msg))
	}
	return r, nil
}

// answer does what a pane wants.
func (r *Root) answer(a Answer) {
	switch a := a.(type) {
	case OpenMsg:
		r.stacks[r.tab] = append(r.stacks[r.tab], a.Pane)
		r.want()
	case BackMsg:
		r.back()
	case GoMsg:
		from := r.tab
		if r.goTo(a); r.tab != from {
			r.trail = append(r.trail, from)
		}
	case SayMsg:
		r.status = status{text: a.Text}
	case MarkMsg:
		r.mark()
	case WantMsg:
		r.want()
	}
}

// changes says that the pane may change, and with it what it shows of the baseline and what is under its cursor.
func (r *Root) changes() {
	r.drawn, r.left, r.tape.base.drawn = "", leftPane{}, nil
}

// refresh moves the window on the history to the newest moment, or leaves it where the user
// paused.
func (r *Root) refresh() {
	last, ok := r.cfg.History.Last()
	if !ok {
		return
	}
	r.live = last.At
	r.frame.Live = r.cfg.History.Window(last.At-staleAfter*time.Second, last.At)
	if !r.tape.paused || r.frame.Now.Snapshot == nil || r.loading() {
		r.show(last.At)
	}
	if r.frame.Verdict == nil && last.At >= r.cfg.TriageFor {
		m := last
		if w := r.cfg.History.Window(r.cfg.TriageFor-1, last.At); len(w) > 0 {
			m = w[0]
		}
		r.frame.Verdict = &Verdict{After: r.cfg.TriageFor, Findings: m.Findings}
	}
	r.describe()
}

// show moves the time cursor to the moment at t, or the last before it.
func (r *Root) show(t time.Duration) {
	past := r.cfg.History.Window(t-keepFor, t)
	if len(past) == 0 {
		return
	}
	r.frame.Past, r.frame.Kept = past, r.cfg.History.Window(-1, t)
	r.frame.Now = past[len(past)-1]
	r.frame.At = r.frame.Now.Taken
	r.dated()
}

// now is the time since the run began.
func (r *Root) now() time.Duration {
	if r.cfg.Clock == nil {
		return r.live
	}
	return r.cfg.Clock()
}

// describe says on the status line what the selected row has to say, if that was asked for.
func (r *Root) describe() {
	if d, ok := r.top().(Describer); ok && r.status.asked {
		r.status.text = d.Describe(r.frame)
	}
}

func (r *Root) openTab(i int) {
	r.tab = i
	r.want()
}

// turn opens the next tab of the bar, or the one before. Panes without a digit are not in it.
func (r *Root) turn(step int) {
	r.trail = nil
	for range r.stacks {
		r.tab = (r.tab + step + len(r.stacks)) % len(r.stacks)
		if r.tabbed(r.stacks[r.tab][0]) {
			break
		}
	}
	r.want()
}

// back pops the top drill-down, or returns to the tab whose row led here. Each pane kept its cursor
// all the while.
func (r *Root) back() {
	if s := r.stacks[r.tab]; len(s) > 1 {
		r.stacks[r.tab] = s[:len(s)-1]
		r.want()
	} else if n := len(r.trail); n > 0 {
		from := r.trail[n-1]
		r.trail = r.trail[:n-1]
		r.openTab(from)
	}
}

// goTo opens the tab of a pane, without its drill-downs when a row is named or the tab is open. The row may be
// in a part of the pane that needs other collectors.
func (r *Root) goTo(msg GoMsg) {
	for i, s := range r.stacks {
		if s[0].Info().ID != msg.Pane {
			continue
		}
		if msg.Row != "" || i == r.tab {
			r.stacks[i] = s[:1]
		}
		r.tab = i
		if msg.Row != "" {
			r.answer(r.top().Update(Select{Row: msg.Row}))
		}
		r.want()
		return
	}
	r.status = status{text: "there is no pane " + string(msg.Pane) + " here"}
}

// mark makes what is shown the start of "since start". Samples that this moment lacks are taken
// from the moments before it.
func (r *Root) mark() {
	if r.frame.Now.Snapshot == nil {
		return
	}
	s := *r.frame.Now.Snapshot
	s.Sched, s.Wake = newest(r.frame, schedOf), newest(r.frame, wakeOf)
	s.Block = blockMark(r.frame)
	r.tape.mark = &triage.Moment{Snapshot: &s}
	r.frame.Mark = r.tape.mark
	r.status = status{text: "start is now " + s.Taken.Format("15:04:05")}
}

// want hands over what the pane on the screen wants.
func (r *Root) want() {
	if len(r.stacks) == 0 {
		return
	}
	r.arrived()
	if r.cfg.Want == nil {
		return
	}
	r.cfg.Want(screenHolder, r.top().Wants(r.frame.Scope))
}

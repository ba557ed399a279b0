// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/theme"
	"bpf60/triage"
)

// Config is what the screen is given. Only Panes and History are needed.
type Config struct {
	Panes   []Pane
	History *triage.History

	// Want replaces what a holder wants of the on-demand collectors; nil in a replay.
	Want func(holder string, wants []collectors.Want)
	// Save writes the bytes of a snapshot and says where. It may block: it is called in a
	// command, never by the screen. Nil: there is no S.
	Save func(body []byte) (path string, err error)
	// Clock is the time since the run began; only who starts the program knows a clock.
	// Nil: the time of the newest moment.
	Clock func() time.Duration

	Theme   theme.Theme
	Glyphs  theme.Glyphs
	Keys    keymap.Map
	Version string

	TriageFor time.Duration    // how long the first triage takes; 0: 60 s
	Rules     int              // how many rules judge
	Healthy   func() []Healthy // what is ruled out now; nil: nothing is
	Unchecked func() []Unchecked
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
	trail  []int    // the tabs that led to this one by Enter, for Esc
	stacks [][]Pane // of each tab: the pane, then its drill-downs
	frame  Frame    // what is shown
	live   time.Duration
	paused bool
	status status
	over   overlay
	prefix string // first key of a two-key binding
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
	r.frame.Rules = cfg.Rules
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
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		r.size = tea.WindowSizeMsg{Width: max(msg.Width, 0), Height: max(msg.Height, 0)}
	case NewMsg:
		r.refresh()
	case tea.KeyMsg:
		return r, r.keys(msg)
	case tea.MouseMsg:
		return r, r.mouse(msg)
	case OpenMsg:
		r.stacks[r.tab] = append(r.stacks[r.tab], msg.Pane)
		r.want()
	case BackMsg:
		r.back()
	case GoMsg:
		from := r.tab
		cmd := r.goTo(msg)
		if r.tab != from {
			r.trail = append(r.trail, from)
		}
		return r, cmd
	case MarkMsg:
		r.mark()
	case WantMsg:
		r.want()
	case SavedMsg:
		r.status = status{text: "saved " + msg.Path}
		if msg.Err != nil {
			r.status = status{text: msg.Err.Error(), alert: true}
		}
	default:
		return r, r.top().Update(msg)
	}
	return r, nil
}

// refresh moves the window on the history to the newest moment, or leaves it where the user
// paused.
func (r *Root) refresh() {
	last, ok := r.cfg.History.Last()
	if !ok {
		return
	}
	r.live = last.At
	if !r.paused || r.frame.Now.Snapshot == nil {
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
	r.frame.Past = past
	r.frame.Now = past[len(past)-1]
	r.frame.At = r.frame.Now.Taken
}

// now is the time since the run began.
func (r *Root) now() time.Duration {
	if r.cfg.Clock == nil {
		return r.live
	}
	return r.cfg.Clock()
}

// keys takes key presses apart: runes that arrive in one read are as many presses, and what is
// pasted is no press.
func (r *Root) keys(msg tea.KeyMsg) tea.Cmd {
	if msg.Paste {
		return nil
	}
	if msg.Type != tea.KeyRunes || len(msg.Runes) < 2 {
		cmd, _ := r.key(msg)
		return cmd
	}
	var cmds []tea.Cmd
	for i, c := range msg.Runes {
		one := tea.KeyMsg{Type: tea.KeyRunes, Runes: []rune{c}, Alt: msg.Alt}
		if c == ' ' {
			one.Type = tea.KeySpace
		}
		cmd, routed := r.key(one)
		if cmd == nil {
			continue
		}
		cmds = append(cmds, cmd)
		if rest := msg.Runes[i+1:]; routed && len(rest) > 0 {
			// What the pane asked for decides what the next key means, so it goes first.
			cmds = append(cmds, send(tea.KeyMsg{Type: tea.KeyRunes, Runes: slices.Clone(rest), Alt: msg.Alt}))
			return tea.Sequence(cmds...)
		}
	}
	return tea.Batch(cmds...)
}

// key handles one press. Routed says that the command carries a pane's answer to it.
func (r *Root) key(msg tea.KeyMsg) (cmd tea.Cmd, routed bool) {
	if msg.Type == tea.KeyCtrlC {
		return tea.Quit, false
	}
	r.status = status{}
	if r.over != nil {
		return r.over.key(r, msg)
	}
	k, ok, begins := keymap.Match(r.bindings(), r.prefix, msg.String())
	if !ok && !begins && r.prefix != "" { // a broken sequence: the second key counts alone
		k, ok, begins = keymap.Match(r.bindings(), "", msg.String())
	}
	r.prefix = ""
	switch {
	case begins:
		r.prefix = msg.String()
		return nil, false
	case !ok:
		return nil, false
	}
	return r.act(k)
}

// bindings are the keys that work now: the global ones, a digit for each pane, the pane's own.
func (r *Root) bindings() []keymap.Key {
	global := GlobalKeys(r.cfg.Panes)
	for i := range global {
		r.fitKey(&global[i])
	}
	own := r.top().Keys()
	if r.paused { // then the arrows step in time
		own = slices.DeleteFunc(own, func(k keymap.Key) bool { return k.ID == keymap.Earlier || k.ID == keymap.Later })
	}
	return r.cfg.Keys.Apply(keymap.Merge(global, own))
}

// goKey begins the IDs of the keys that open panes.
const goKey = "go."

// GlobalKeys returns the keys that work everywhere: those of keymap, and one for each pane that has
// a digit.
func GlobalKeys(panes []Pane) []keymap.Key {
	keys := keymap.Global()
	for _, p := range panes {
		i := p.Info()
		if i.Digit == "" {
			continue
		}
		keys = append(keys, keymap.New(goKey+string(i.ID), i.Digit, i.Title, i.Digit).In("open "+i.Title))
	}
	return keys
}

// fitKey says what a global key does, or why it does nothing, in the present state.
func (r *Root) fitKey(k *keymap.Key) {
	const notPaused = "pause first: space"
	drilled := len(r.stacks[r.tab]) > 1
	switch k.ID {
	case keymap.Pause:
		if r.paused {
			k.SetHelp(k.Help().Key, "resume")
		}
	case keymap.Earlier, keymap.Later:
		if !r.paused {
			*k = k.Off(notPaused)
		}
	case keymap.Live:
		if !r.paused {
			*k = k.Off("this is live")
		}
	case keymap.Back:
		if !drilled && len(r.trail) == 0 {
			*k = k.Off("this is the top")
		}
	case keymap.Snapshot:
		switch {
		case r.cfg.Save == nil:
			*k = k.Off("there is nowhere to save here")
		case r.frame.Now.Snapshot == nil:
			*k = k.Off("nothing to save yet")
		}
	}
}

// act does what a key stands for.
func (r *Root) act(k keymap.Key) (cmd tea.Cmd, routed bool) {
	if !k.Enabled() {
		r.status = status{text: k.Why}
		return nil, false
	}
	switch k.ID {
	case keymap.Quit:
		return tea.Quit, false
	case keymap.Suspend:
		return tea.Suspend, false
	case keymap.Redraw:
		return tea.ClearScreen, false
	case keymap.Help:
		r.over = r.newHelp()
	case keymap.Command:
		r.over = &palette{}
	case keymap.Snapshot:
		return r.save(), false
	case keymap.NextTab:
		r.turn(1)
	case keymap.PrevTab:
		r.turn(-1)
	case keymap.Pause:
		r.pause(!r.paused)
	case keymap.Live:
		r.pause(false)
	case keymap.Back:
		r.back()
	case keymap.Earlier, keymap.Later:
		if r.paused {
			r.step(k.ID == keymap.Later)
			return nil, false
		}
		fallthrough
	default:
		if id, ok := strings.CutPrefix(k.ID, goKey); ok {
			r.trail = nil
			return r.goTo(GoMsg{Pane: ID(id)}), false
		}
		cmd = r.top().Update(Press{ID: k.ID, Frame: r.frame})
		if cmd == nil && selects(k.ID) {
			r.status.asked = true
			r.describe()
		}
		return cmd, true
	}
	return nil, false
}

// selects says whether a key asks for a row: then the status line tells what the row lacks.
func selects(id string) bool {
	switch id {
	case keymap.Open, keymap.Up, keymap.Down, keymap.PageUp, keymap.PageDown, keymap.Top, keymap.Bottom, keymap.Earlier, keymap.Later:
		return true
	}
	return false
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
		if r.stacks[r.tab][0].Info().Digit != "" {
			break
		}
	}
	r.want()
}

func (r *Root) pause(on bool) {
	r.paused = on
	if !on {
		r.show(r.live)
	}
}

// step moves the time cursor by one sample.
func (r *Root) step(later bool) {
	at := r.frame.Now
	switch {
	case at.Snapshot == nil:
	case later:
		if w := r.cfg.History.Window(at.At, r.live); len(w) > 0 {
			r.show(w[0].At)
		} else {
			r.status = status{text: "this is the newest sample"}
		}
	case len(r.frame.Past) < 2 || r.live-r.frame.Past[len(r.frame.Past)-2].At > keepFor:
		r.status = status{text: "this is the oldest sample"}
	default:
		r.show(r.frame.Past[len(r.frame.Past)-2].At)
	}
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

// goTo opens the tab of a pane, without its drill-downs when a row is named or the tab is open.
func (r *Root) goTo(msg GoMsg) tea.Cmd {
	for i, s := range r.stacks {
		if s[0].Info().ID != msg.Pane {
			continue
		}
		if msg.Row != "" || i == r.tab {
			r.stacks[i] = s[:1]
		}
		r.openTab(i)
		if msg.Row != "" {
			return r.top().Update(Select{Row: msg.Row})
		}
		return nil
	}
	r.status = status{text: "there is no pane " + string(msg.Pane) + " here"}
	return nil
}

// mark makes what is shown the start of "since start". Samples that this moment lacks are taken
// from the moments before it.
func (r *Root) mark() {
	if r.frame.Now.Snapshot == nil {
		return
	}
	s := *r.frame.Now.Snapshot
	s.Sched, s.Wake = newest(r.frame, schedOf), newest(r.frame, wakeOf)
	r.frame.Mark = &triage.Moment{Snapshot: &s}
	r.status = status{text: "start is now " + s.Taken.Format("15:04:05")}
}

// want hands over what the pane on the screen wants.
func (r *Root) want() {
	if r.cfg.Want == nil || len(r.stacks) == 0 {
		return
	}
	r.cfg.Want(screenHolder, r.top().Wants(r.frame.Scope))
}

// mouse moves with the wheel and opens the tab that is clicked.
func (r *Root) mouse(msg tea.MouseMsg) tea.Cmd {
	if r.over != nil {
		return nil
	}
	switch {
	case msg.Button == tea.MouseButtonWheelUp:
		return r.top().Update(Press{ID: keymap.Up, Frame: r.frame})
	case msg.Button == tea.MouseButtonWheelDown:
		return r.top().Update(Press{ID: keymap.Down, Frame: r.frame})
	case msg.Button == tea.MouseButtonLeft && msg.Action == tea.MouseActionPress && msg.Y == 1:
		x := 0
		for _, i := range r.bar() {
			if x += widget.Width(tabName(r.cfg.Panes[i])); msg.X < x {
				r.trail = nil
				r.openTab(i)
				break
			}
		}
	}
	return nil
}

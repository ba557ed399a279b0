// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/theme"
)

// The least screen. Below it there is one line that says so.
const (
	leastWidth  = 40
	leastHeight = 10
)

// View implements tea.Model. Bubble Tea calls it after every message, so the screen is kept until
// something changes.
func (r *Root) View() string {
	if r.size.Width == 0 || r.size.Height == 0 {
		return ""
	}
	if r.drawn == "" {
		r.drawn = r.cfg.Glyphs.Fold(r.draw())
		r.tape.screen = r.drawn
	}
	return r.drawn
}

func (r *Root) draw() string {
	t := r.cfg.Theme
	if r.size.Width < leastWidth || r.size.Height < leastHeight {
		r.remember(nil, nil)
		return widget.NewLine(r.size.Width).Plain(fmt.Sprintf("bpf60 needs %d×%d, has %d×%d; q quits",
			leastWidth, leastHeight, r.size.Width, r.size.Height)).String()
	}
	lines := make([]string, 0, r.size.Height)
	lines = append(lines, r.header(t), r.tabs(t))
	foot := r.footer(t)
	if where := r.timeLine(t); where != "" {
		foot = append([]string{where}, foot...)
	}
	if r.tape.base.on && r.size.Height >= leastTimeLine {
		foot = append([]string{""}, foot...)
	}
	room := r.size.Height - len(lines) - len(foot)
	var body string
	c := Canvas{Width: r.size.Width, Height: room, Theme: t, Focused: true, zoom: r.frame.zoom}
	if r.over != nil {
		body = r.over.view(c)
	}
	if body == "" {
		var x *comparison
		c.seen = &seen{}
		if body, x = r.seenBody(c); x != nil && r.size.Height >= leastTimeLine {
			foot[0] = r.compareLine(t, x)
		}
	}
	shown := strings.Split(body, "\n")
	r.remember(c.seen, shown)
	lines = append(lines, shown[:min(len(shown), room)]...)
	for len(lines) < r.size.Height-len(foot) {
		lines = append(lines, "")
	}
	if p, ok := r.over.(*palette); ok {
		list := p.above(r, room)
		copy(lines[len(lines)-len(list):], list)
	}
	return strings.Join(append(lines, foot...), "\n")
}

// header says which host this is, how it is, and how far the first triage has come.
func (r *Root) header(t theme.Theme) string {
	l := widget.NewLine(r.size.Width)
	right, style := r.clock()
	end := r.size.Width - widget.Width(right)
	h := newest(r.frame, hostOf)
	if h == nil {
		l.Put(t.Title, "bpf60").Skip(1).Plain(r.cfg.Version).Skip(2)
		if r.frame.Now.Snapshot == nil {
			l.Put(t.Dim, "waiting for the first sample …")
		}
		return l.To(end).Block(pick(style, t), right).String()
	}
	var parts []part
	name := ""
	if h.Facts != nil {
		name = widget.Clip(clean(h.Facts.Hostname), 16)
	}
	parts = append(parts, part{"up " + widget.Age(h.Uptime), 4})
	if n := cores(r.frame); n > 0 {
		parts = append(parts, part{fmt.Sprintf("%d cpu", n), 3})
	}
	if late := lateLast(r.frame); late != "" {
		parts = append(parts, part{late, 0})
	}
	parts = append(parts, part{fmt.Sprintf("load %s %s %s", widget.Short(h.Load[0]), widget.Short(h.Load[1]), widget.Short(h.Load[2])), 0})
	if m := h.Mem; m.Total > 0 {
		parts = append(parts, part{fmt.Sprintf("mem %2.0f%%", 100*(1-float64(m.Available)/float64(m.Total))), 2})
	}
	if psi := r.psi(); psi != "" {
		parts = append(parts, part{psi, 1})
	}
	if r.size.Width >= wideWidth && h.Facts != nil {
		parts = append(parts,
			part{fmt.Sprintf("available %s of %s", widget.Bytes(h.Mem.Available), widget.Bytes(h.Mem.Total)), 5},
			part{"kernel " + clean2(h.Facts.Kernel), 6},
			part{"bpf60 " + r.cfg.Version, 7})
	}
	l.Put(t.Title, name).Skip(2)
	room := end - l.Width() - 2
	l.Plain(widget.ClipWords(line{parts: parts}.summary(room), room))
	return l.To(end).Block(pick(style, t), right).String()
}

// psi is the pressure over the last interval, in percent: of CPU, memory and I/O.
func (r *Root) psi() string {
	c, okc := pressure(r.frame, psiCPU)
	m, okm := pressure(r.frame, psiMemory)
	i, oki := pressure(r.frame, psiIO)
	if !okc && !okm && !oki {
		return ""
	}
	one := func(name string, v float64, ok bool) string {
		if !ok {
			return name + "-"
		}
		return fmt.Sprintf("%s%.0f", name, 100*v)
	}
	return "psi " + one("c", c, okc) + " " + one("m", m, okm) + " " + one("i", i, oki)
}

// styleName picks a style once the theme is known.
type styleName uint8

const (
	plainStyle styleName = iota
	alertStyle
	okStyle
)

func pick(s styleName, t theme.Theme) theme.Style {
	switch s {
	case alertStyle:
		return t.Alert
	case okStyle:
		return t.OK
	case plainStyle:
	}
	return theme.Style{}
}

// clock is the right end of the header: PAUSED and how old what is shown is, or the triage clock.
func (r *Root) clock() (string, styleName) {
	if r.cfg.Recorded != "" {
		word := " REPLAY "
		if r.tape.plays {
			word = " REPLAY ▶ "
		}
		at := "-"
		if r.frame.Now.Snapshot != nil {
			at = r.frame.Now.Taken.Format("15:04:05")
		}
		return word + at + " ", alertStyle
	}
	if r.tape.paused {
		age := time.Duration(0)
		if r.frame.Now.Snapshot != nil {
			age = r.now() - r.frame.Now.At
		}
		since := ""
		if r.tape.base.on {
			since = "Δ " + r.tape.base.frame.At.Format(time.TimeOnly) + " "
		}
		return fmt.Sprintf(" PAUSED %s ago %s", widget.Age(age), since), alertStyle
	}
	if r.tape.base.on {
		return "Δ since " + r.tape.base.frame.At.Format(time.TimeOnly), okStyle
	}
	now, whole := r.now(), r.cfg.TriageFor
	if now >= whole {
		return fmt.Sprintf("%s  %.0fs done", widget.Clock(now), whole.Seconds()), okStyle
	}
	bar := 8
	if r.size.Width < 60 {
		bar = 4
	}
	return fmt.Sprintf("%s/%.0fs %s", widget.Clock(now), whole.Seconds(), widget.Progress(float64(now), float64(whole), bar)), plainStyle
}

// prompter is an overlay that has the footer, to be typed in.
type prompter interface {
	prompt(r *Root, t theme.Theme) string
}

// footer names the keys that work here now, or says what there is to say; at its right is what
// bpf60 itself costs.
//
// An error takes as many lines as it has to say, up to three: its end is the remedy.
func (r *Root) footer(t theme.Theme) []string {
	if p, ok := r.over.(prompter); ok {
		return []string{p.prompt(r, t)}
	}
	if text := r.status.text; r.status.alert && widget.Width(text) > r.size.Width-4 {
		var out []string
		for _, part := range wrapAt(text, r.size.Width-4) {
			out = append(out, widget.NewLine(r.size.Width).Skip(1).Block(t.Alert, " "+part).String())
		}
		return out[:min(len(out), 3)]
	}
	l := widget.NewLine(r.size.Width)
	keys := r.footerList()
	cost, lost := r.cost(true)
	if r.size.Width-widget.Width(cost+lost) < keysWidth(keys)+2 {
		cost, lost = r.cost(false)
	}
	end := r.size.Width - widget.Width(cost+lost)
	switch {
	case r.status.text != "" && r.status.alert:
		l.Skip(1).Block(t.Alert, " "+widget.Clip(r.status.text, r.size.Width-4)+" ")
	case r.status.text != "":
		l.Skip(1).Plain(widget.Clip(r.status.text, r.size.Width-2))
	default:
		for _, k := range keys {
			if l.Width()+keysWidth([]keymap.Key{k})+1 > end-2 {
				continue
			}
			l.Skip(min(l.Width(), 1)+1).Put(t.Accent, k.Help().Key).Skip(1).Plain(k.Help().Desc)
		}
	}
	if l.Width() < end {
		l.To(end).Put(t.Crit, lost).Put(t.Dim, cost)
	}
	return []string{l.String()}
}

// wrapAt breaks text between words into lines of at most width cells; a longer word is cut.
func wrapAt(text string, width int) []string {
	var out []string
	row := ""
	for _, word := range strings.Fields(text) {
		if row != "" && widget.Width(row)+1+widget.Width(word) > width {
			out, row = append(out, row), ""
		}
		if row != "" {
			row += " "
		}
		row += word
	}
	out = append(out, row)
	for i := range out {
		out[i] = widget.Clip(out[i], width)
	}
	return out
}

// keysWidth is how many cells keys take in the footer.
func keysWidth(keys []keymap.Key) int {
	n := 0
	for _, k := range keys {
		n += 2 + widget.Width(k.Help().Key) + 1 + widget.Width(k.Help().Desc)
	}
	return n - 1
}

// footerList is at most eight keys: what opens and goes back, the pane's own, then the global
// ones of most use.
func (r *Root) footerList() []keymap.Key {
	if keys := r.overlayKeys(); keys != nil {
		return keys
	}
	order := []string{keymap.Open, keymap.Back}
	if r.tape.paused {
		order = []string{keymap.Pause, keymap.Earlier, keymap.Later, keymap.Live, keymap.Open, keymap.Back}
	}
	const most = 4 // of the pane's own: the rest is one ? away
	own := 0
	for _, k := range r.top().Keys() {
		if own < most && inFooter(k) {
			order = append(order, k.ID)
			own++
		}
	}
	if slices.ContainsFunc(r.top().Keys(), ofTable) {
		order = append(order, keymap.Filter)
	}
	if !r.tape.paused {
		order = append(order, keymap.Pause)
	}
	order = append(order, keymap.Snapshot, keymap.Help)
	if r.size.Width >= 100 || len(order) < 6 {
		order = append(order, keymap.Quit)
	}
	keys := r.bindings()
	var out []keymap.Key
	for _, id := range order {
		i := slices.IndexFunc(keys, func(k keymap.Key) bool { return k.ID == id })
		if i >= 0 && keys[i].Enabled() && len(out) < 9 {
			out = append(out, keys[i])
		}
	}
	return out
}

// ofTable says whether a key is one of a table, which can be filtered.
func ofTable(k keymap.Key) bool { return k.ID == keySort || k.ID == keymap.Filter }

// inFooter says whether a pane's key is worth a place there: not what every table has, nor what
// stands there already.
func inFooter(k keymap.Key) bool {
	switch k.ID {
	case keymap.Up, keymap.Down, keymap.Open, keymap.Back, keymap.Earlier, keymap.Later, keySortLeft, keySortRight, keyReverse, keymap.Filter:
		return false
	}
	return k.Enabled()
}

// cost is what bpf60 itself takes, in full or in short, and what it has lost.
func (r *Root) cost(full bool) (cost, lost string) {
	_, _, n := probeCounts(r.frame)
	s := newest(r.frame, selfOf)
	if s != nil {
		n = max(n, s.Lost)
	}
	if n > 0 {
		lost = "lost " + widget.Count(n) + "  "
	}
	if s == nil {
		return "", lost
	}
	if s.Seconds() == 0 {
		return "self " + widget.Bytes(s.RSS), lost
	}
	cost = fmt.Sprintf("self %.1f%% %s", 100*s.CPU.Seconds()/s.Seconds(), widget.Bytes(s.RSS))
	if full && r.size.Width >= 60 {
		cost += fmt.Sprintf(" bpf %.1f%%~", 100*s.BPF.Seconds()/s.Seconds())
	}
	return cost, lost
}

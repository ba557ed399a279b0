// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"path"
	"strings"
	"time"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
	"bpf60/panes/widget"
	"bpf60/triage"
)

// pathPage is everything about one path, or about the files directly in one directory: who opens it, with
// what result, what is made and deleted there, and which calls on it are slow.
type pathPage struct {
	path      string // clean, as it was given or as the kernel tells it
	directory bool
	parts     sections
	draw      pageDraw

	known map[collectors.Raw]likeness // of paths that were compared already
	last  pathSum                     // of the frame that was looked at last
}

// likeness is how a path is like that of the page.
type likeness uint8

const (
	otherPath likeness = iota
	endsAlike          // one of the two is how the other ends
	samePath
)

// mostKnown bounds how many paths a page remembers to have compared.
const mostKnown = 4096

func newPathPage(name string, directory bool) *pathPage {
	p := &pathPage{path: name, directory: directory, draw: pageDraw{whole: true}, known: make(map[collectors.Raw]likeness)}
	p.parts = newSections(collectors.Target{}, p.sections())
	return p
}

// openPath opens the page of a path; of a directory, of the files in it.
func openPath(name string, directory bool) Answer {
	if name == "" {
		return SayMsg{"no path is known for this row"}
	}
	return OpenMsg{newPathPage(name, directory)}
}

// openRowPath opens the page of the path in the last cell of a row.
func openRowPath(_ Frame, r Row) Answer { return openPath(lastText(r), false) }

// openPathOf is the same for the rows of a page about something else.
func openPathOf(f Frame, _ collectors.Target, r Row) Answer { return openRowPath(f, r) }

// openRowDirectory opens the page of the directory in the last cell of a row.
func openRowDirectory(_ Frame, r Row) Answer { return openPath(lastText(r), true) }

// lastText is the text of a row's last cell; empty without one.
func lastText(r Row) string {
	if len(r.Cells) == 0 {
		return ""
	}
	if c := r.Cells[len(r.Cells)-1]; c.kind == text {
		return c.text.String()
	}
	return ""
}

// blamedPage is the page of the file that a finding blames, nil if it blames none. Mounts are no such files.
func blamedPage(x triage.Finding) Pane {
	if ID(x.Pane) != ExecPane {
		return nil
	}
	for i := range x.Culprits {
		name := x.Culprits[i].Name.String()
		if x.Culprits[i].Kind != "file" || strings.HasPrefix(name, "inode ") {
			continue
		}
		if strings.HasPrefix(x.Row, "slowfiles/") { // behind the type of its file system
			_, name, _ = strings.Cut(name, " ")
		}
		if file := strings.TrimSuffix(name, "/"); file != "" {
			return newPathPage(file, file != name)
		}
	}
	return nil
}

// alike compares two paths. Many are known in part alone: relative to a directory that nobody tells, on
// their file system, by their last names. One that is how the other ends, from a whole name on, may be the
// same; a single name says too little.
func alike(a, b string) likeness {
	if a == b {
		return samePath
	}
	long, short := strings.TrimPrefix(a, "…"), strings.TrimPrefix(b, "…")
	if len(long) < len(short) {
		long, short = short, long
	}
	short = strings.Trim(short, "/")
	if strings.Contains(short, "/") && strings.HasSuffix(long, "/"+short) {
		return endsAlike
	}
	return otherPath
}

// like says whether something that happened to a path belongs on the page.
func (p *pathPage) like(of collectors.Raw) likeness {
	if of.Bytes() == "" {
		return otherPath
	}
	l, ok := p.known[of]
	if ok {
		return l
	}
	name := clean(of)
	if p.directory {
		name = directoryOf(name)
	}
	l = alike(name, p.path)
	if l == otherPath && p.directory && !strings.Contains(p.path, "/") && path.Base(name) == p.path {
		l = endsAlike // of a directory that a finding or a row names by its last name
	}
	if len(p.known) >= mostKnown {
		clear(p.known)
	}
	p.known[of] = l
	return l
}

// Info implements Pane.
func (p *pathPage) Info() Info {
	kind := "path "
	if p.directory {
		kind = "directory "
	}
	short := path.Base(p.path)
	return Info{ID: "path", Title: kind + p.path, Short: widget.Clip(short, 20), Help: "exec"}
}

// Wants implements Pane: opens, files made and deleted, slow calls, of the whole host.
func (p *pathPage) Wants(Scope) []collectors.Want {
	return []collectors.Want{{ID: collectors.OpensID}, {ID: collectors.FilesID}, {ID: collectors.SlowFilesID}}
}

// Keys implements Pane.
func (p *pathPage) Keys() []keymap.Key { return p.parts.keysWith(p.draw.keys()) }

// Update implements Pane. Select takes a section, or a section and a row: "results/ENOENT".
func (p *pathPage) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		p.parts.choose(msg.Row)
	case Press:
		if !p.draw.press(msg.ID, len(p.distributions(msg.Frame))) {
			return p.parts.press(msg)
		}
	}
	return nil
}

// Describe implements Describer.
func (p *pathPage) Describe(f Frame) string { return p.parts.describe(f) }

// Table implements Pane: who, and further the results, the opens, files made and deleted, slow calls.
func (p *pathPage) Table(f Frame) Table {
	t := Table{Title: p.Info().Title}
	s := p.sum(f)
	if s.samples > 0 {
		t.Facts = []Fact{
			{ID: "opens", Title: "opens", Unit: "/s", Decimals: 1, Cell: perSecond(s.n, s.Span)},
			{ID: "failed", Title: "of them failed", Unit: "/s", Decimals: 1, Cell: perSecond(s.failed, s.Span)},
			{ID: "opens_in_sight", Title: "opens in sight", Unit: "opens", Cell: Number(float64(s.total))},
			{ID: "failed_in_sight", Title: "of them failed in sight", Unit: "opens", Cell: Number(float64(s.totalFailed))},
		}
	}
	for _, d := range p.distributions(f) {
		t.Histograms = append(t.Histograms, d.Histogram)
	}
	p.parts.into(f, &t)
	return t
}

// distributions are how old files were when they were deleted, and how long slow calls took: of what is
// listed, all that is in sight.
func (p *pathPage) distributions(f Frame) []distribution {
	s := p.sum(f)
	life, slow := &collectors.Hist{}, &collectors.Hist{}
	for i := range s.lives {
		life.Add(uint64(max(s.lives[i].Life, 0)))
	}
	for i := range s.slow {
		slow.Add(uint64(max(s.slow[i].Took, 0)))
	}
	return []distribution{
		{Histogram{ID: "filelife", Title: "age of deleted files", Now: life, Start: life}, func(n int) []*collectors.Hist {
			return columns(f, n, madeFilesOf, func(x *collectors.Files) collectors.Span { return x.Span }, func(x *collectors.Files) *collectors.Hist {
				h := &collectors.Hist{}
				for i := range x.Lives {
					if p.like(x.Lives[i].Path) != otherPath {
						h.Add(uint64(max(x.Lives[i].Life, 0)))
					}
				}
				return h
			})
		}},
		{Histogram{ID: "fileslower", Title: "slow calls", Now: slow, Start: slow}, func(n int) []*collectors.Hist {
			return columns(f, n, slowFilesOf, func(x *collectors.SlowFiles) collectors.Span { return x.Span }, func(x *collectors.SlowFiles) *collectors.Hist {
				return slowHist(x, func(e *collectors.SlowFile) bool { return p.like(e.Path) != otherPath })
			})
		}},
	}
}

// View implements Pane.
func (p *pathPage) View(f Frame, c Canvas) string {
	if c.Width <= 0 || c.Height <= 0 {
		return ""
	}
	s := p.sum(f)
	var parts []string
	if s.samples > 0 && s.Seconds() > 0 {
		parts = append(parts, widget.Short(float64(s.n)/s.Seconds())+" opens/s", widget.Short(float64(s.failed)/s.Seconds())+" failed/s",
			widget.Count(s.total)+" in sight")
	}
	title := p.path
	if p.directory {
		title += "/"
	}
	if room := c.Width - 8 - widget.Width(strings.Join(parts, " ── ")); widget.Width(title) > room { // the end of a path says most
		runes := []rune(title)
		for len(runes) > 0 && widget.Width(string(runes)) > max(room-1, 8) {
			runes = runes[1:]
		}
		title = "…" + string(runes)
	}
	lines := []string{widget.Title(c.Theme, c.Width, append([]string{title}, parts...)...)}
	rest := c.Height - len(lines)
	var drawn []distribution
	for _, d := range p.distributions(f) {
		if d.Now.Count() > 0 {
			drawn = append(drawn, d)
		}
	}
	if rest >= leastPanels && len(drawn) > 0 {
		lines = append(lines, p.draw.draw(c, drawn, latencyCanvas(c, rest).Height)...)
	}
	return fit(append(lines, p.parts.draw(f, c, c.Height-len(lines))...), c.Height)
}

// pathSpan is how long the rates of a page are the mean of.
const pathSpan = 10 * time.Second

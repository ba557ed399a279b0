// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"

	tea "github.com/charmbracelet/bubbletea"

	"bpf60/collectors"
	"bpf60/keymap"
)

// DNSPane is the id of the pane of questions to name servers.
const DNSPane ID = "dns"

// dnsTab is which of the tables has the screen.
type dnsTab uint8

const (
	dnsServers dnsTab = iota
	dnsProcesses
	dnsQuestions
	dnsTabs
)

func (t dnsTab) String() string {
	switch t {
	case dnsProcesses:
		return "processes"
	case dnsQuestions:
		return "questions"
	case dnsServers, dnsTabs:
	}
	return "servers"
}

// DNS is the pane of questions to name servers: by server, by process, and those that were slow or
// failed.
type DNS struct {
	tab   dnsTab
	draw  drawing
	lists [dnsTabs]list
}

// NewDNS returns the pane, with the servers.
func NewDNS() *DNS { return &DNS{} }

// Info implements Pane.
func (p *DNS) Info() Info {
	return Info{ID: DNSPane, Title: "DNS", Short: "DNS", Help: "dns", Command: "tcpdump -n udp port 53; gethostlatency"}
}

// Wants implements Pane: the host's questions are always counted.
func (p *DNS) Wants(s Scope) []collectors.Want { return s.wants(collectors.DNSID) }

// IDs of the keys of this pane.
const (
	keyDNSTab = "dns.tab"
	keyDNS    = "dns.open"
)

// dnsKey leads here from the panes of the network.
func dnsKey() keymap.Key {
	return keymap.New(keyDNS, "d", "dns", "d").In("questions to name servers: latency, failures, who asks")
}

// openDNS is what dnsKey does.
func openDNS() Answer { return GoMsg{Pane: DNSPane} }

// Keys implements Pane.
func (p *DNS) Keys() []keymap.Key {
	open := keymap.New(keymap.Open, "Enter", "server", "enter").In("open the page of the server: who asks it, and what fails")
	draw := drawKey(p.draw)
	switch p.tab {
	case dnsProcesses:
		open = keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process: whom it asks, and what fails")
	case dnsQuestions:
		open = keymap.New(keymap.Open, "Enter", "process", "enter").In("open the page of the process that asked")
		draw = draw.Off("these are single questions")
	case dnsServers, dnsTabs:
	}
	return append([]keymap.Key{
		open,
		keymap.New(keyDNSTab, "i", ((p.tab + 1) % dnsTabs).String(), "i").In("by server, by process, single questions"),
		draw,
		resetKey(),
	}, append(zoomKeys(), p.lists[p.tab].keys()...)...)
}

// Update implements Pane. Select takes a tab, or a tab and a row: "servers/10.0.0.2".
func (p *DNS) Update(msg tea.Msg) Answer {
	switch msg := msg.(type) {
	case Select:
		tab, row, _ := strings.Cut(msg.Row, "/")
		for t := range dnsTabs {
			if t.String() == tab {
				p.tab = t
				p.lists[t].choose(row)
			}
		}
	case Press:
		return p.press(msg)
	}
	return nil
}

func (p *DNS) press(msg Press) Answer {
	switch msg.ID {
	case keyDNSTab:
		p.tab = (p.tab + 1) % dnsTabs
	case keyDraw:
		p.draw = (p.draw + 1) % drawings
	case keyReset:
		return MarkMsg{}
	case keymap.Open:
		v := dnsOver(msg.Frame)
		t := p.shown(msg.Frame, v, p.tab)
		r, ok := p.lists[p.tab].row(t)
		if !ok {
			return nil
		}
		if p.tab == dnsQuestions {
			return openPID(msg.Frame, t, r)
		}
		groups := v.groups(p.tab == dnsServers, nil)
		if i := slices.IndexFunc(groups, func(g *dnsGroup) bool { return g.id == r.ID }); i >= 0 {
			return OpenMsg{newDNSPage(groups[i])}
		}
	default:
		p.lists[p.tab].press(msg.ID, p.shown(msg.Frame, dnsOver(msg.Frame), p.tab))
	}
	return nil
}

// shown is one of the tables, in the order of its cursor.
func (p *DNS) shown(f Frame, v *dnsView, tab dnsTab) Table {
	t := dnsTable(f, v, tab, nil)
	p.lists[tab].arrange(f, &t)
	return t
}

// Describe implements Describer: why a cell of the selected row is missing.
func (p *DNS) Describe(f Frame) string { return p.lists[p.tab].why(p.shown(f, dnsOver(f), p.tab)) }

// Table implements Pane: the servers, and more the processes and the questions.
func (p *DNS) Table(f Frame) Table {
	v := dnsOver(f)
	t := p.shown(f, v, dnsServers)
	t.Title = "dns"
	t.Facts = dnsFacts(v)
	t.Histograms = []Histogram{dnsHistogram(f, v)}
	t.Notes = append(t.Notes, dnsNotes(f, v)...)
	t.More = []Table{p.shown(f, v, dnsProcesses), p.shown(f, v, dnsQuestions)}
	return t
}

// dnsHistogram is the latency of the host, or of the scope where the kernel counts it apart.
func dnsHistogram(f Frame, v *dnsView) Histogram {
	h := Histogram{ID: "dnssnoop", Title: "DNS latency"}
	if v == nil {
		h.Why, _ = whyNot(f, collectors.DNSID, "dnssnoop")
		return h
	}
	h.Badge = lossBadge(missedOver(f, collectors.DNSID, "dnssnoop"))
	if f.Scope.apart(collectors.DNSID) {
		h.Title += " of " + f.Scope.Name
		now, all := dnsNarrowed(f, f.Scope.Target), dnsNarrowed(allInSight(f), f.Scope.Target)
		if now == nil {
			h.Why = unrecorded(f, collectors.DNSID, "dnssnoop", f.Scope.Target)
			return h
		}
		h.Now, h.Start, h.Since = &now.Latency, &all.Latency, sinceScoped
		return h
	}
	h.Now, h.Start = &v.host.Latency, &v.total
	return h
}

// dnsPage is everything about one server or one process.
type dnsPage struct {
	server  netip.Addr         // not valid: a process
	process collectors.Process // zero: a server
	title   string
	tab     bool // the cursor is in the questions
	draw    drawing
	rows    list
	asked   list
}

func newDNSPage(g *dnsGroup) *dnsPage {
	p := &dnsPage{server: g.server, process: g.process}
	if p.title = g.server.String(); !g.server.IsValid() {
		p.title = processName(g.process, g.comm)
	}
	return p
}

// processName is a process as findings and titles name it: "curl[812]".
func processName(p collectors.Process, comm collectors.Raw) string {
	if p.TGID == 0 {
		return "unknown"
	}
	return cmp.Or(clean(comm), "?") + "[" + processNumber(p) + "]"
}

// Info implements Pane.
func (p *dnsPage) Info() Info {
	return Info{ID: ID("dns " + p.title), Title: p.title, Short: p.title, Help: "dns"}
}

// Wants implements Pane: a process and a server are counted apart in the kernel, whatever else has rows.
func (p *dnsPage) Wants(Scope) []collectors.Want {
	if p.process.TGID == 0 && !p.server.IsValid() {
		return nil
	}
	return []collectors.Want{{ID: collectors.DNSID, Target: p.target()}}
}

func (p *dnsPage) target() collectors.Target {
	if p.server.IsValid() {
		return aboutPeer(p.server)
	}
	return collectors.Target{Kind: collectors.ProcessTarget, Process: p.process}
}

const keyDNSCursor = "dns.cursor"

// Keys implements Pane.
func (p *dnsPage) Keys() []keymap.Key {
	to, opens := "questions", "process"
	switch {
	case p.tab:
		to = p.others().String()
	case !p.server.IsValid():
		opens = "server"
	}
	return append([]keymap.Key{
		keymap.New(keymap.Back, "Esc", "back", "esc", "backspace"),
		keymap.New(keymap.Open, "Enter", opens, "enter").In("open the page of the process that asks, or of the server that is asked"),
		keymap.New(keyDNSCursor, "i", to, "i").In("move between whom it is about and the single questions"),
		drawKey(p.draw),
	}, append(zoomKeys(), p.list().keys()...)...)
}

// others is the table of the other side: who asks a server, whom a process asks.
func (p *dnsPage) others() dnsTab {
	if p.server.IsValid() {
		return dnsProcesses
	}
	return dnsServers
}

func (p *dnsPage) list() *list {
	if p.tab {
		return &p.asked
	}
	return &p.rows
}

// Update implements Pane.
func (p *dnsPage) Update(msg tea.Msg) Answer {
	press, ok := msg.(Press)
	if !ok {
		return nil
	}
	switch press.ID {
	case keymap.Open:
		return p.open(press.Frame)
	case keyDNSCursor:
		p.tab = !p.tab
	case keyDraw:
		p.draw = (p.draw + 1) % drawings
	default:
		p.list().press(press.ID, p.table(press.Frame, dnsOver(press.Frame), p.tab))
	}
	return nil
}

// open leads to the process or the server of the selected row.
func (p *dnsPage) open(f Frame) Answer {
	v := dnsOver(f)
	t := p.table(f, v, p.tab)
	r, ok := p.list().row(t)
	if !ok || v == nil {
		return nil
	}
	if p.tab || p.server.IsValid() {
		return openPID(f, t, r)
	}
	groups := v.groups(true, nil)
	if i := slices.IndexFunc(groups, func(g *dnsGroup) bool { return g.id == r.ID }); i >= 0 {
		return OpenMsg{newDNSPage(groups[i])}
	}
	return SayMsg{"this server has no page any more"}
}

// keep says whether a pair or a question is about this page's subject.
func (p *dnsPage) keep(process collectors.Process, server netip.Addr) bool {
	if p.server.IsValid() {
		return server == p.server
	}
	return process == p.process
}

func (p *dnsPage) table(f Frame, v *dnsView, questions bool) Table {
	tab, l := p.others(), &p.rows
	if questions {
		tab, l = dnsQuestions, &p.asked
	}
	t := dnsTable(f, v, tab, p.keep)
	l.arrange(f, &t)
	return t
}

// Table implements Pane.
func (p *dnsPage) Table(f Frame) Table {
	v := dnsOver(f)
	t := p.table(f, v, false)
	t.Title = p.title
	t.Histograms = []Histogram{p.histogram(f, v)}
	t.More = []Table{p.table(f, v, true)}
	return t
}

// sums are the counts of the page's subject.
func (p *dnsPage) sums(v *dnsView) (c collectors.DNSCounts, total collectors.Hist) {
	if v == nil {
		return c, total
	}
	for _, x := range v.pairs {
		if p.keep(x.process, x.server) {
			c.Plus(&x.counts)
			total.Plus(&x.total)
		}
	}
	return c, total
}

func (p *dnsPage) histogram(f Frame, v *dnsView) Histogram {
	h := Histogram{ID: "dnssnoop", Title: "DNS latency of " + p.title}
	if v == nil {
		h.Why, _ = whyNot(f, collectors.DNSID, "dnssnoop")
		return h
	}
	c, total := p.sums(v)
	h.Now, h.Start, h.Since = &c.Latency, &total, "listed" // a pair that rests begins anew: no mark can be taken off
	h.Badge = lossBadge(missedOver(f, collectors.DNSID, "dnssnoop"))
	return h
}

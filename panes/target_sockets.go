// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"slices"
	"strconv"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// flowNarrowed is what a target's connections did over the last seconds; nil if nobody looked.
func flowNarrowed(f Frame, t collectors.Target) (*collectors.FlowSet, collectors.Span) {
	list, span := narrowedOver(within(windowed(f), flowOf), t)
	if len(list) == 0 {
		return nil, span
	}
	sum := &collectors.FlowSet{}
	for _, x := range list {
		set := x.Sample.Set()
		sum.Plus(&set)
	}
	return sum, span
}

// flowFacts are the counts of a target's connections.
func flowFacts(f Frame, target collectors.Target) (facts []Fact, hists []Histogram) {
	set, span := flowNarrowed(f, target)
	if set == nil {
		return nil, nil
	}
	c := &set.Counts
	for _, x := range []struct {
		id, title string
		n         uint64
		always    bool
	}{
		{"connects", "connections begun", c[collectors.FlowConnects], true},
		{"accepts", "connections accepted", c[collectors.FlowAccepts], true},
		{"failed", "connects that failed", c.Failures(), false},
		{"retr", "segments sent again", c[collectors.FlowRetransmits], true},
		{"resets", "resets received", c[collectors.FlowResetsReceived], false},
	} {
		if x.always || x.n > 0 {
			facts = append(facts, Fact{ID: x.id, Title: x.title, Unit: "/s", Decimals: 1, Cell: perSecond(x.n, span)})
		}
	}
	for _, m := range flowMeasures() {
		if h := flowHist(set, m.which); h.Count() > 0 {
			hists = append(hists, Histogram{ID: m.id, Title: m.title + " of its connections", Now: h})
		}
	}
	return facts, hists
}

// targetSocketTable is a process's TCP sockets: those that listen, then the others.
func targetSocketTable(f Frame, target collectors.Target) Table {
	var t, listen Table
	socketTable(f, &t)
	listenTable(f, &listen)
	t.Facts, t.Histograms = flowFacts(f, target)
	s := socketsOver(f)
	if s == nil {
		t.without("local_address", "peer_address")
		t.Notes = append(t.Notes, unrecorded(f, collectors.SocketsID, "ss", target))
		return t
	}
	is := members(f, target)
	mine := func(id *collectors.SocketID) bool { return id.Owner != nil && is(id.Owner.Process) }
	rows := t.Rows
	t.Rows = nil
	listening := 0
	for i := range s.Listeners {
		l := &s.Listeners[i]
		if !mine(l.SocketID) {
			continue
		}
		listening++
		row := Row{ID: cookieID(l.Cookie), Cells: make([]Cell, len(t.Columns))}
		for k, c := range t.Columns {
			row.Cells[k] = Missing("a socket that listens has no such number")
			if at := slices.IndexFunc(listen.Columns, func(o Column) bool { return o.ID == c.ID }); at >= 0 {
				row.Cells[k] = listen.Rows[i].Cells[at]
			}
		}
		row.Cells[0] = Say(collectors.Listen.String())
		t.Rows = append(t.Rows, row)
	}
	for i := range s.Rows {
		if mine(s.Rows[i].SocketID) {
			t.Rows = append(t.Rows, rows[i])
		}
	}
	t.Facts = append([]Fact{{ID: "sockets", Title: "TCP sockets", Cell: Number(float64(len(t.Rows)))}}, t.Facts...)
	if s.UnlistedRows > 0 && len(t.Rows)-listening >= mostSocketRows {
		t.Notes = append(t.Notes, "it has more sockets than are listed")
	}
	if s.NoOwner != "" {
		t.Notes = append(t.Notes, "owners are not known: "+clean2(s.NoOwner))
	}
	if target.Kind == collectors.ProcessTarget {
		t.without("process")
	}
	return t
}

// mostSocketRows is how many sockets a sample lists.
const mostSocketRows = 200

// openSocket opens the page of a connection.
func openSocket(f Frame, _ collectors.Target, r Row) Answer {
	cookie, err := strconv.ParseUint(r.ID, 16, 64)
	if err != nil {
		return SayMsg{"this socket is not listed any more"}
	}
	if r.Cells[0].Format(0) == collectors.Listen.String() {
		return SayMsg{"a socket that listens has no page: TCP lists them with their queues"}
	}
	return OpenMsg{newSocketPage(cookie, f)}
}

// targetSleepTable is where a process sleeps: its kernel stacks of LongSleep and more.
func targetSleepTable(f Frame, target collectors.Target) Table {
	t := (&offState{}).stackTable(Frame{})
	t.Notes = nil
	x, span := latencyOf(f.rowed(), target)
	if x == nil {
		t.without("pid", "comm")
		t.Notes = append(t.Notes, unrecorded(f, collectors.LatencyID, "runqlat-pid", target))
		return t
	}
	for i := range x.Sample.Stacks {
		r := &x.Sample.Stacks[i]
		t.Rows = append(t.Rows, offStackRow(offStackID(r), r, span))
	}
	if x.Sample.Hidden > 0 {
		t.Notes = append(t.Notes, widget.Count(uint64(x.Sample.Hidden))+" stacks are not listed")
	}
	rowsNote(f, &t)
	t.without("pid", "comm")
	return t
}

// openSleep opens the page of a stack that a target sleeps in.
func openSleep(_ Frame, t collectors.Target, r Row) Answer {
	return OpenMsg{&offPage{row: r.ID, target: t}}
}

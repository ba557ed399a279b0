// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"slices"
	"time"

	"bpf60/collectors"
)

// sections are the tables of a connection.
func (p *socketPage) sections() []section {
	process := func(f Frame, _ collectors.Target, _ Row) Answer {
		if _, r := p.find(f); r != nil {
			return openHolder(f, r.SocketID)
		}
		return SayMsg{"this connection is gone: its process is not known any more"}
	}
	of := func(fields func(*collectors.Sockets, *collectors.SocketRow) []socketField) func(Frame, collectors.Target) Table {
		return func(f Frame, _ collectors.Target) Table { return p.fields(f, fields) }
	}
	return []section{
		{
			id: "numbers", title: "numbers", table: of(movingFields), spark: p.history, open: process, opens: "process", look: humanFields,
		},
		{
			id: "events", title: "what happened", table: p.happened, open: process, opens: "process",
			none: "nothing was sent again or reset, and it did not change its state, while the page was open",
		},
		{
			id: "info", title: "tcp_info", open: process, opens: "process", look: humanFields,
			table: of(func(_ *collectors.Sockets, r *collectors.SocketRow) []socketField { return steadyFields(r) }),
		},
	}
}

// fields is a table with a line for every number.
func (p *socketPage) fields(f Frame, fields func(*collectors.Sockets, *collectors.SocketRow) []socketField) Table {
	t := Table{Columns: []Column{
		{ID: "field", Title: "field", Width: 18, Left: true},
		{ID: "value", Title: "value", Width: 10},
		{ID: "unit", Title: "unit", Width: 8, Left: true},
		{ID: "says", Title: "says", Width: 18, Left: true},
	}}
	s, r := p.find(f)
	if r == nil {
		t.Notes = append(t.Notes, gone(s))
		return t
	}
	for _, x := range fields(s, r) {
		t.Rows = append(t.Rows, Row{ID: x.name, Cells: []Cell{Say(x.name), x.cell, Say(x.unit), Say(x.says)}})
	}
	return t
}

// humanFields is a table of fields as people read them.
func humanFields(t Table) Table { return humanRows(t, 2, 1) }

// gone says why a socket has no row.
func gone(s *collectors.Sockets) string {
	if s == nil {
		return "waiting for the table of sockets"
	}
	return "this connection is gone"
}

// history is one of the numbers over time.
func (p *socketPage) history(f Frame, row string) []float64 {
	s, r := p.find(f)
	if r == nil {
		return nil
	}
	fields := movingFields(s, r)
	if at := slices.IndexFunc(fields, func(x socketField) bool { return x.name == row }); at >= 0 {
		return socketSeries(f, mostSpark, p.cookie, fields[at].history)
	}
	return nil
}

// happened is what went wrong with the connection, its changes of state, and its end, newest first. A state
// is seen once a tick: one that lasted for less may be missing.
func (p *socketPage) happened(f Frame, _ collectors.Target) Table {
	t := Table{Columns: []Column{
		{ID: "time", Title: "Time", Width: 8, Left: true},
		{ID: "event", Title: "Event", Width: 12, Left: true},
		{ID: "segs", Title: "segs", Unit: "segments", Width: 4},
		{ID: "says", Title: "Says", Width: 20, Left: true},
	}}
	type entry struct {
		at  time.Duration
		row Row
	}
	var list []entry
	rows, _ := flowEvents(f, func(s *collectors.Flow) []*collectors.FlowEvents { return append(flowTrouble(s), &s.Ended) }, p.about)
	for _, e := range rows {
		name, says := eventWords(e)
		segs := segments(0)
		if e.Kind == collectors.FlowRetransmits || e.Kind == collectors.FlowRetransmitsFailed {
			segs = segments(e.Retrans)
		}
		list = append(list, entry{e.At, Row{ID: eventID(e), Cells: []Cell{eventTime(f, e), Say(name), segs, Say(says)}}})
	}
	was := collectors.SocketState(0)
	for i := range f.Past {
		s := f.Past[i].Snapshot
		if s == nil || s.Sockets == nil {
			continue
		}
		r := p.row(s.Sockets)
		if r == nil {
			continue
		}
		if was != 0 && r.State != was {
			at := s.Sockets.To
			list = append(list, entry{at, Row{ID: fmt.Sprintf("%d state", at), Cells: []Cell{
				Say(f.At.Add(at - f.Now.At).Format(time.TimeOnly)), Say(r.State.String()), segments(0), Say("was " + was.String()),
			}}})
		}
		was = r.State
	}
	sortStably(list, func(a, b entry) int { return int(min(max(b.at-a.at, -1), 1)) })
	for _, x := range list {
		t.Rows = append(t.Rows, x.row)
	}
	return t
}

// about says whether an event is of the connection.
func (p *socketPage) about(e *collectors.FlowEvent) bool {
	return e.Cookie != 0 && e.Cookie == p.cookie || p.remote.IsValid() && e.Local == p.local && e.Remote == p.remote
}

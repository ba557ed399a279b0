// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"net/netip"
	"time"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

// flowSection is one table of what connections did.
type flowSection struct {
	id, title string
	probe     string // that it comes from
	table     func(f Frame, s *flowSum) Table
}

// flowSections are the tables of the second part of the pane, in the order that v goes through.
func flowSections() []flowSection {
	return []flowSection{
		{"events", "events", "tcpretrans", flowEventTable},
		{"ended", "ended", "tcplife", flowEndedTable},
		{"services", "services", "tcpconnect", flowServiceTable},
		{"processes", "processes", "tcpconnect", flowProcessTable},
		{"states", "states", "tcpstates", flowStateTable},
	}
}

// of is the section's table with its notes, also where nothing is known.
func (x flowSection) of(f Frame) Table {
	s := flowOver(f)
	t := x.table(f, s)
	t.Title = "tcp " + x.title
	if s == nil {
		why, remedy := whyNot(f, collectors.FlowID, x.probe)
		t.Notes = append(t.Notes, note(x.probe, why, remedy))
	}
	return t
}

// eventWords name an event in twelve cells, and say what it means.
func eventWords(e *collectors.FlowEvent) (name, says string) {
	switch e.Kind {
	case collectors.FlowRefused:
		return "refused", "nobody listens at the port"
	case collectors.FlowTimedOut:
		return "timed out", "nobody answered the connect"
	case collectors.FlowUnreachable:
		return "unreachable", "a router or this host said so"
	case collectors.FlowNoPort:
		return "no port", "all local ports to this peer are in use"
	case collectors.FlowGivenUp:
		return "given up", "its process closed it before an answer"
	case collectors.FlowFailed:
		return "failed", fmt.Sprintf("error %d", e.Errno)
	case collectors.FlowHandshakes:
		return "handshake", "a connect from there broke off"
	case collectors.FlowRetransmitsFailed:
		return "retr failed", fmt.Sprintf("the network did not take it: error %d", e.Errno)
	case collectors.FlowResetsSent:
		return "reset sent", e.Reason
	case collectors.FlowResetsReceived:
		return "reset rcvd", "the peer broke it off"
	case collectors.FlowPeerReset:
		return "reset", "by the peer"
	case collectors.FlowAborted:
		return "aborted", "we reset it"
	case collectors.FlowExpired:
		return "timed out", "the peer did not answer any more"
	case collectors.FlowRetransmits:
		switch e.Again {
		case collectors.AgainFast:
			return "retr fast", "lost, by the peer's acknowledgements"
		case collectors.AgainTimeout:
			return "retr timeout", "no acknowledgement came in time"
		case collectors.AgainProbe:
			return "retr probe", "tail loss probe"
		case collectors.AgainSyn:
			return "retr SYN", "no answer to the connect so far"
		case collectors.AgainSynack:
			return "retr SYNACK", "the peer did not end the handshake"
		case collectors.AgainFailed:
		}
	default:
	}
	return "closed", "tx " + widget.Bytes(e.Sent) + " rx " + widget.Bytes(e.Received)
}

// eventOwner is the process of an event: its name, its PID, ~ if it was only found afterwards.
func eventOwner(e *collectors.FlowEvent) Cell {
	switch {
	case e.Process != (collectors.Process{}):
		c := Say(fmt.Sprintf("%s[%d]", clean(e.Comm), e.Process.TGID))
		if e.Guessed {
			c.Badge = "~"
		}
		return c
	case e.Kind == collectors.FlowResetsSent && e.State == collectors.Closed:
		return Missing("no socket sent it: nobody listens, or the connection was gone")
	case e.Kind == collectors.FlowHandshakes:
		return Missing("no process has accepted it")
	}
	return Missing("no process has read from it or closed it while the probe watched")
}

func eventAddr(a netip.AddrPort, e *collectors.FlowEvent) Cell {
	if !a.IsValid() {
		return Missing("the kernel did not let us read the headers of what it reset")
	}
	if a.Port() == 0 && e.Kind == collectors.FlowNoPort {
		return Missing("it never got a port")
	}
	return Say(endpoint(a))
}

// eventTime is the wall clock of an event.
func eventTime(f Frame, e *collectors.FlowEvent) Cell {
	return Say(f.At.Add(e.At - f.Now.At).Format(time.TimeOnly))
}

// eventID stays the same from frame to frame.
func eventID(e *collectors.FlowEvent) string {
	return fmt.Sprintf("%d %s %s %d", e.At, e.Local, e.Remote, e.Kind)
}

func segments(n uint32) Cell {
	if n == 0 {
		return Missing("this is no segment that was sent again")
	}
	return Number(float64(n))
}

// flowTrouble are the lists of what went wrong.
func flowTrouble(s *collectors.Flow) []*collectors.FlowEvents {
	return []*collectors.FlowEvents{&s.Retransmits, &s.Failures, &s.Resets}
}

func flowEnds(s *collectors.Flow) []*collectors.FlowEvents { return []*collectors.FlowEvents{&s.Ended} }

// flowEventTable lists retransmits, failures and resets, newest first: tcpretrans' columns first.
func flowEventTable(f Frame, _ *flowSum) Table {
	t := eventColumns()
	rows, unlisted := flowEvents(f, flowTrouble, nil)
	eventRows(f, &t, rows)
	t.Notes = append(t.Notes, unlistedNote(unlisted, "events")...)
	return t
}

func unlistedNote(n uint64, what string) []string {
	if n == 0 {
		return nil
	}
	return []string{widget.Count(n) + " further " + what + " are counted, not listed"}
}

func eventColumns() Table {
	return Table{Columns: []Column{
		{ID: "time", Title: "Time", Width: 8, Left: true},
		{ID: "event", Title: "Event", Width: 12, Left: true},
		{ID: "state", Title: "State", Width: 10, Left: true, Rank: 4},
		{ID: "segs", Title: "segs", Unit: "segments", Width: 4, Rank: 5},
		{ID: "process", Title: "Process", Width: 22, Left: true},
		{ID: "local", Title: "Local", Width: addrWidth, Left: true, Rank: 2},
		{ID: "peer", Title: "Peer", Width: addrWidth, Left: true},
		{ID: "says", Title: "Says", Width: 10, Left: true, Rank: 1},
		{ID: "local_address", Title: "local address", Width: 21, Left: true, Hidden: true},
		{ID: "peer_address", Title: "peer address", Width: 21, Left: true, Hidden: true},
	}}
}

func eventRows(f Frame, t *Table, rows []*collectors.FlowEvent) {
	for _, e := range rows {
		name, says := eventWords(e)
		segs := segments(0)
		if e.Kind == collectors.FlowRetransmits || e.Kind == collectors.FlowRetransmitsFailed {
			segs = segments(e.Retrans)
		}
		what := Say(says)
		if says == "" {
			what = Missing("this kernel gives no reason for a reset")
		}
		t.Rows = append(t.Rows, Row{ID: eventID(e), Target: toPeer(e.Process, e.Comm, e.Remote), Cells: []Cell{
			eventTime(f, e), Say(name), Say(e.State.String()), segs, eventOwner(e),
			eventAddr(e.Local, e), eventAddr(e.Remote, e), what, fullAddr(e.Local, e), fullAddr(e.Remote, e),
		}})
	}
}

func fullAddr(a netip.AddrPort, e *collectors.FlowEvent) Cell {
	if c := eventAddr(a, e); !c.Known() {
		return c
	}
	return Say(a.String())
}

// flowEndedTable lists connections that ended, newest first: tcplife's columns.
func flowEndedTable(f Frame, _ *flowSum) Table {
	t := Table{Columns: []Column{
		{ID: "time", Title: "Time", Width: 8, Left: true},
		{ID: "ms", Title: "ms", Unit: "ms", Width: 8, Decimals: 1},
		{ID: "tx", Title: "tx", Unit: "bytes", Width: 6, Form: Bytes},
		{ID: "rx", Title: "rx", Unit: "bytes", Width: 6, Form: Bytes},
		{ID: "rtt", Title: "rtt", Unit: "ms", Width: 6, Decimals: 2, Rank: 4},
		{ID: "retr", Title: "retr", Unit: "segments", Width: 5, Rank: 5},
		{ID: "end", Title: "End", Width: 9, Left: true, Rank: 3},
		{ID: "process", Title: "Process", Width: 15, Left: true},
		{ID: "dir", Title: "", Width: 2, Left: true, Rank: 6},
		{ID: "local", Title: "Local", Width: addrWidth, Left: true, Rank: 7},
		{ID: "peer", Title: "Peer", Width: addrWidth, Left: true},
		{ID: "local_address", Title: "local address", Width: 21, Left: true, Hidden: true},
		{ID: "peer_address", Title: "peer address", Width: 21, Left: true, Hidden: true},
	}}
	rows, unlisted := flowEvents(f, flowEnds, nil)
	for _, e := range rows {
		name, _ := eventWords(e)
		lasted := Missing("it began before the probe")
		if e.Lasted > 0 {
			lasted = Number(float64(e.Lasted) / 1e6)
		}
		t.Rows = append(t.Rows, Row{ID: eventID(e), Target: toPeer(e.Process, e.Comm, e.Remote), Cells: []Cell{
			eventTime(f, e), lasted, Number(float64(e.Sent)), Number(float64(e.Received)), micros(e.RTT, true), Number(float64(e.Retrans)),
			Say(name), eventOwner(e), roleCell(e.Role), eventAddr(e.Local, e), eventAddr(e.Remote, e), fullAddr(e.Local, e), fullAddr(e.Remote, e),
		}})
	}
	t.Notes = append(t.Notes, unlistedNote(unlisted, "connections that ended")...)
	return t
}

// roleCell is an arrow: to the peer where we connected, from it where it did.
func roleCell(r collectors.FlowRole) Cell {
	switch r {
	case collectors.FlowActive:
		return Say("->")
	case collectors.FlowPassive:
		return Say("<-")
	case collectors.FlowUnknown:
	}
	return Missing("the connection is older than the probe: who began it is not known")
}

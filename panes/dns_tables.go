// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"bpf60/collectors"
	"bpf60/panes/widget"
)

func processNumber(p collectors.Process) string { return strconv.Itoa(int(p.TGID)) }

// dnsTable is one of the tables. keep, if any, says what of a page is in it.
func dnsTable(f Frame, v *dnsView, tab dnsTab, keep func(collectors.Process, netip.Addr) bool) Table {
	var t Table
	switch tab {
	case dnsQuestions:
		t = questionTable(v, keep)
	case dnsServers, dnsProcesses, dnsTabs:
		var pairs func(*dnsPair) bool
		if keep != nil {
			pairs = func(p *dnsPair) bool { return keep(p.process, p.server) }
		}
		t = groupTable(v, tab == dnsServers, pairs)
	}
	if v == nil {
		why, remedy := whyNot(f, collectors.DNSID, "dnssnoop")
		t.Notes = append(t.Notes, note("dnssnoop", why, remedy))
	}
	return t
}

// groupTable has a line for each server or each process.
func groupTable(v *dnsView, byServer bool, keep func(*dnsPair) bool) Table {
	rate := func(id string, width, rank int) Column {
		return Column{ID: id, Title: id, Unit: "/s", Width: width, Decimals: 1, Rank: rank}
	}
	t := Table{Title: "servers", Columns: []Column{
		rate("query/s", 7, 0), rate("answer/s", 8, 4), rate("unansw/s", 8, 0), rate("fail/s", 6, 1), rate("nx/s", 6, 2),
		rate("retry/s", 7, 3), rate("trunc/s", 7, 7), rate("tcp/s", 6, 6),
		{ID: "mean", Title: "mean", Unit: "ms", Width: 7, Decimals: 2, Rank: 5},
		{ID: "p50", Title: "p50", Width: 9},
		{ID: "p99", Title: "p99", Width: 9, Rank: 1},
		{ID: "max", Title: "max", Width: 9, Rank: 2},
	}}
	if byServer {
		t.Columns = append(t.Columns, Column{ID: "PROCS", Title: "PROCS", Unit: "processes", Width: 5, Rank: 5}, Column{ID: "SERVER", Title: "SERVER", Width: 16, Left: true})
	} else {
		t.Title = "processes"
		t.Columns = append(t.Columns, Column{ID: "SRVS", Title: "SRVS", Unit: "servers", Width: 5, Rank: 5},
			Column{ID: "PID", Title: "PID", Width: 7}, Column{ID: "COMM", Title: "COMM", Width: 15, Left: true})
	}
	if v == nil {
		return t
	}
	for _, g := range v.groups(byServer, keep) {
		c := &g.counts
		r := Row{ID: g.id, Target: aboutProcess(g.process, g.comm)}
		if byServer {
			r.Target = aboutPeer(g.server)
		}
		for _, n := range []uint64{c.Queries, c.Answers, c.Unanswered, c.Failed(), c.Rcodes[collectors.RcodeName], c.Retries, c.Truncated, c.TCP} {
			cell := Missing("waiting for a second reading")
			if v.seconds > 0 {
				cell = Number(float64(n) / v.seconds)
			}
			r.Cells = append(r.Cells, cell)
		}
		r.Cells = append(r.Cells, latencyCells(&c.Latency)...)
		r.Cells = append(r.Cells, Number(float64(g.others+1)))
		switch {
		case byServer && isStub(g.server):
			r.Cells = append(r.Cells, Say(g.server.String()+" (here)"))
		case byServer:
			r.Cells = append(r.Cells, Say(g.server.String()))
		case g.process.TGID == 0:
			const why = "the kernel sent the question for it: see the help"
			r.Cells = append(r.Cells, Missing(why), Missing(why))
		default:
			r.Cells = append(r.Cells, Number(float64(g.process.TGID)), Name(collectors.Clean(g.comm)))
		}
		t.Rows = append(t.Rows, r)
	}
	if v.other.Queries+v.other.Answers+v.other.Unanswered > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%s more questions are of pairs without a row; the sums hold them", widget.Count(v.other.Queries)))
	}
	return t
}

// latencyCells are mean, p50, p99 and the highest bucket.
func latencyCells(h *collectors.Hist) []Cell {
	const none = "no answer in the last ten seconds"
	n := h.Count()
	if n == 0 {
		return []Cell{Missing(none), Missing(none), Missing(none), Missing(none)}
	}
	p99 := Missing(fmt.Sprintf("%d answers are too few: see the max", n))
	if n >= leastForP99 {
		p99 = Say(quantile(h, 0.99))
	}
	return []Cell{Number(h.Mean().Seconds() * 1e3), Say(quantile(h, 0.5)), p99, Say(quantile(h, 1))}
}

// questionTable lists single questions, newest first.
func questionTable(v *dnsView, keep func(collectors.Process, netip.Addr) bool) Table {
	t := Table{Title: "questions", Columns: []Column{
		{ID: "TIME", Title: "TIME", Width: 8},
		{ID: "LATms", Title: "LATms", Unit: "ms", Width: 8, Decimals: 1},
		{ID: "ANSWER", Title: "ANSWER", Width: 8, Left: true},
		{ID: "TYPE", Title: "TYPE", Width: 5, Left: true, Rank: 2},
		{ID: "TRIES", Title: "TRIES", Unit: "times", Width: 5, Rank: 5},
		{ID: "PID", Title: "PID", Width: 7, Rank: 3},
		{ID: "COMM", Title: "COMM", Width: 15, Left: true, Rank: 1},
		{ID: "SERVER", Title: "SERVER", Width: 15, Left: true},
		{ID: "NAME", Title: "NAME", Width: 20, Left: true},
	}}
	if v == nil {
		return t
	}
	ids := eventIDs{}
	for i := range v.events {
		e := &v.events[i]
		if keep != nil && !keep(e.Process, e.Server) {
			continue
		}
		answer := Say("none")
		if e.Answered {
			answer = Say(rcodeName(e.Rcode))
			if e.Truncated {
				answer = Say("TRUNC")
			}
		}
		pid, comm := Number(float64(e.TGID)), Name(collectors.Clean(e.Comm))
		if e.Unsure || e.TGID == 0 {
			const why = "the kernel sent the question for it: see the help"
			pid, comm = Missing(why), Missing(why)
		}
		name := Name(collectors.Clean(e.Name))
		if e.Cut {
			name.Badge = "…"
		}
		t.Rows = append(t.Rows, Row{
			ID:     ids.of(strconv.FormatInt(e.at.UnixNano(), 10)),
			Target: askedBy(e),
			Cells: []Cell{
				Say(e.at.Format("15:04:05")), Number(e.Latency.Seconds() * 1e3), answer, Say(typeName(e.Type)), Number(float64(e.Tries)),
				pid, comm, Say(e.Server.String()), name,
			},
		})
	}
	if v.unlisted+v.lost > 0 {
		t.Notes = append(t.Notes, fmt.Sprintf("%s more are counted and not listed", widget.Count(v.unlisted+v.lost)))
	}
	return t
}

// dnsFacts are the sums of the host.
func dnsFacts(v *dnsView) []Fact {
	if v == nil {
		return nil
	}
	var facts []Fact
	rate := func(id, title string, n uint64) {
		c := Missing("waiting for a second reading")
		if v.seconds > 0 {
			c = Number(float64(n) / v.seconds)
		}
		facts = append(facts, Fact{ID: id, Title: title, Unit: "/s", Cell: c, Decimals: 1})
	}
	h := &v.host
	rate("query", "questions sent", h.Queries)
	rate("answer", "answers", h.Answers)
	rate("unanswered", "questions without an answer in 5 s", h.Unanswered)
	rate("retry", "questions sent again", h.Retries)
	rate("truncated", "answers to be asked again over TCP", h.Truncated)
	rate("tcp", "connections to port 53", h.TCP)
	for code := range uint8(collectors.RcodeOther) {
		rate(rcodeName(code), "answers with "+rcodeName(code), h.Rcodes[code])
	}
	rate("RCODE other", "answers with another code", h.Rcodes[collectors.RcodeOther])
	for i, name := range countedTypes() {
		rate("type "+name, "questions for "+name, v.types[i])
	}
	return append(facts, Fact{ID: "waiting", Title: "questions that wait for an answer", Cell: Number(float64(v.pending))})
}

// dnsNotes say what keeps the counts from being whole.
func dnsNotes(f Frame, v *dnsView) []string {
	if v == nil {
		return nil
	}
	var out []string
	if pr, ok := probeNamed(f, collectors.DNSID, "dnssnoop"); ok && pr.Reason != "" {
		out = append(out, note("dnssnoop", pr.Reason, pr.Remedy))
	}
	var parts []string
	for _, x := range []struct {
		n    uint64
		what string
	}{
		{v.doubts.Untracked, "questions not tracked"},
		{v.doubts.Unparsed, "messages that could not be read"},
		{v.doubts.Unreadable, "packets whose headers were out of reach"},
		{v.doubts.Blind, "answers matched by their port alone"},
		{v.doubts.Unsure, "questions of a process not known"},
		{v.doubts.Unmatched, "answers that nobody waited for"},
	} {
		if x.n > 0 {
			parts = append(parts, widget.Count(x.n)+" "+x.what)
		}
	}
	if len(parts) > 0 {
		out = append(out, strings.Join(parts, ", "))
	}
	return out
}

// askedBy is the target of a question: who asked, where that is sure.
func askedBy(e *dnsEvent) collectors.Target {
	t := collectors.Target{}
	if !e.Unsure {
		t = aboutProcess(e.Process, e.Comm)
	}
	t.Addr = netip.AddrPortFrom(e.Server.Unmap(), 0)
	return t
}

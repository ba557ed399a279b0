// SPDX-License-Identifier: Apache-2.0

package collectors

import (
	"cmp"
	"errors"

	"bpf60/bpf"
)

// Probes are what bcc's tools tell, and two of our own. The program on changes of state serves five of
// them: its cost is tcpstates', whose events are its runs.
func (c *flowCollector) Probes() []Probe {
	const state = "tp_btf inet_sock_set_state"
	var errs bpf.FlowErrs
	if c.r != nil {
		errs = c.r.Errs()
	}
	r, b := c.prev, c.base
	if r == nil {
		r, b = new(bpf.FlowReading), new(bpf.FlowReading)
	}
	n := func(k bpf.FlowCounter) uint64 { return grown(b.Host.Counts[k], r.Host.Counts[k]) }
	var moves uint64
	for i := range r.Moves {
		for k := range r.Moves[i] {
			moves += grown(b.Moves[i][k], r.Moves[i][k])
		}
	}
	lost := func(kind bpf.EventKind) uint64 {
		for i, k := range flowKinds() {
			if k == kind {
				return c.counts[i].Lost
			}
		}
		return 0
	}
	untracked := grown(b.Untracked, r.Untracked)
	reads := grown(b.Reads, r.Reads)
	rows := []struct {
		Probe
		err  error
		part error // missing of it
		says string
	}{
		{Probe{Name: "tcpretrans", Hook: "tp_btf tcp_retransmit_skb, tcp_retransmit_synack", Events: n(bpf.FlowRetransmits), Lost: lost(bpf.EventRetransmit), NsPerEvent: bpf.CostRetransmit}, errs.Retransmit, errs.SynAck, "answers to a SYN that are sent again are not counted"},
		{Probe{Name: "tcpconnect", Hook: state, Events: n(bpf.FlowConnects), Lost: lost(bpf.EventConnectFail)}, errs.State, nil, ""},
		{Probe{Name: "tcpaccept", Hook: state + ", tcp_rcv_space_adjust", Events: n(bpf.FlowAccepts)}, errs.State, cmp.Or(errs.Read, errs.Seed), "the process of a connection is known only when it closes"},
		{Probe{Name: "tcpconnlat", Hook: state, Events: n(bpf.FlowEstablished)}, errs.State, nil, ""},
		{Probe{Name: "tcplife", Hook: state, Events: n(bpf.FlowEnded), Lost: lost(bpf.EventConnection) + untracked}, errs.State, nil, ""},
		{Probe{Name: "tcpstates", Hook: state, Events: moves, NsPerEvent: bpf.CostState}, errs.State, nil, ""},
		{Probe{Name: "tcprtt", Hook: "tp_btf tcp_rcv_space_adjust", Events: reads, NsPerEvent: bpf.CostRead}, errs.Read, nil, ""},
		{Probe{Name: "tcpreset", Hook: "tp_btf tcp_send_reset, tcp_receive_reset", Events: n(bpf.FlowResetsSent) + n(bpf.FlowResetsReceived), Lost: lost(bpf.EventReset), NsPerEvent: bpf.CostReset}, errs.ResetReceived, cmp.Or(errs.ResetSent, errs.Headers), "resets sent have no address, or are not counted"},
	}
	out := make([]Probe, 0, len(rows)+1)
	for _, row := range rows {
		p := row.Probe
		p.State, p.Reason, p.Remedy = c.state(row.err, row.part, row.says)
		if c.off[p.Name] {
			p.State, p.Reason, p.Remedy = Off, switchedOff, ""
		}
		out = append(out, p)
	}
	return append(out, c.listenProbe())
}

// state judges one row: the collector's own trouble first, then that of its programs.
func (c *flowCollector) state(err, part error, says string) (State, string, string) {
	s, reason := stateOf(c.begun, c.err)
	if s != On {
		return s, reason, ""
	}
	var need *NeedError
	switch {
	case err != nil:
		s = Failed
		if errors.As(err, &need) || errors.Is(err, bpf.ErrUnsupported) {
			s = Off
		}
		reason = plain(err.Error())
	case part != nil:
		err = part
		s, reason = Degraded, says+": "+plain(part.Error())
	case c.revived != nil:
		s, reason = Degraded, c.revived.Error()
	}
	if errors.As(err, &need) {
		return s, reason, need.Remedy
	}
	return s, reason, ""
}

// listenProbe is what listening sockets turn away: their own counters, asked when the namespace's moves.
func (c *flowCollector) listenProbe() Probe {
	p := Probe{Name: "listen drops", Hook: "sock_diag"}
	p.State, p.Reason = stateOf(c.begun, cmp.Or(c.mibErr, c.listen.err))
	var need *NeedError
	if errors.As(c.listen.err, &need) {
		p.State, p.Reason, p.Remedy = Off, plain(need.Error()), need.Remedy
	}
	return p
}

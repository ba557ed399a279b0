// SPDX-License-Identifier: Apache-2.0

package bpf

import "fmt"

// What the brake looks at between two readings: a map or two, of some microseconds, cumulative since load.

// Totals are the counts of the host.
func (e *Exec) Totals() (ExecTotals, error) { return e.totals(0) }

func (e *Exec) totals(slot int) (t ExecTotals, err error) {
	m, err := e.obj.createMap("exec_sums")
	if err != nil {
		return t, err
	}
	if err := m.Lookup(uint32(slot), &e.sums); err != nil {
		return t, fmt.Errorf("reading map exec_sums: %w", err)
	}
	for i := range e.sums {
		t.plus(&e.sums[i])
	}
	return t, nil
}

// ReadHost fills what r has of the host and of targets, and empties the rest.
func (f *Flow) ReadHost(r *FlowReading) error {
	*r = FlowReading{Processes: r.Processes[:0], Peers: r.Peers[:0]}
	return f.readHost(r)
}

// Packets are those that were looked at, and the questions and answers among them.
func (d *DNS) Packets() (packets, messages uint64, err error) {
	var host dnsDnsCounts
	if err := d.slot(0, &host); err != nil {
		return 0, 0, err
	}
	all, err := d.readHosts()
	return all.Sent + all.Received, host.Queries + host.Answers, err
}

// readHosts sums up what is counted of all packets.
func (d *DNS) readHosts() (g DNSGlobal, err error) {
	zero := uint32(0)
	if err := d.obj.maps["dns_hosts"].Lookup(&zero, &d.raw); err != nil {
		return g, fmt.Errorf("reading map dns_hosts: %w", err)
	}
	for i := range d.raw {
		g.plus(&d.raw[i])
	}
	return g, nil
}

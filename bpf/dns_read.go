// SPDX-License-Identifier: Apache-2.0

package bpf

import (
	"errors"
	"fmt"
	"time"

	"github.com/cilium/ebpf"
)

// Read copies the counts and takes out of the map the questions that have waited too long.
func (d *DNS) Read() (*DNSReading, error) {
	now, err := bootTime()
	if err != nil {
		return nil, err
	}
	r := &d.out
	r.Timeout = r.Timeout[:0]
	// A program counts for the host last: when nothing moved there and nothing waits, pairs are as they
	// were. Most seconds nobody asks anything.
	var host dnsDnsCounts
	if err := d.slot(0, &host); err != nil {
		return nil, err
	}
	moved := host != d.host || r.Pending > 0
	d.host = host
	if moved || d.busy || now-d.swept >= dnsSweep {
		d.swept, r.Rows, r.Pending = now, r.Rows[:0], 0
		if err := d.timeouts(now); err != nil {
			return nil, err
		}
		if err := d.rows(now); err != nil {
			return nil, err
		}
	}
	d.busy = moved
	if err := d.readSlots(); err != nil {
		return nil, err
	}
	all, err := d.readHosts()
	if err != nil {
		return nil, err
	}
	all.Untracked += d.forgotten
	r.Global = all
	return r, nil
}

func (d *DNS) slot(i uint32, c *dnsDnsCounts) error {
	if err := d.obj.maps["dns_slots"].Lookup(&i, c); err != nil {
		return fmt.Errorf("reading map dns_slots: %w", err)
	}
	return nil
}

// readSlots reads the host's counts, those of the others, and of targets where there are any.
func (d *DNS) readSlots() error {
	var c dnsDnsCounts
	for i := range uint32(FilterSlots) {
		if i > 0 && d.obj.slots[i] == (Filter{}) {
			continue
		}
		if err := d.slot(i, &c); err != nil {
			return err
		}
		d.out.Slots[i] = dnsCounts(&c, d.slots[i])
	}
	if err := d.slot(FilterSlots, &c); err != nil {
		return err
	}
	d.out.Other = dnsCounts(&c, d.other)
	return nil
}

func (g *DNSGlobal) plus(c *dnsDnsHost) {
	g.Sent += c.Sent
	g.Received += c.Received
	g.Untracked += c.Untracked
	g.Unparsed += c.Unparsed
	g.Unreadable += c.Unreadable
	g.Unmatched += c.Unmatched
	g.Blind += c.Blind
	g.Unsure += c.Unsure
	for i, n := range c.Types {
		g.Types[i] += n
	}
}

// timeouts takes out what has waited too long. The program takes out what is answered: whoever
// deletes a question counts it.
func (d *DNS) timeouts(now time.Duration) error {
	m := d.obj.maps["dns_asks"]
	d.asks = d.asks[:0]
	err := readHash(m, func(k *dnsAskKey, a *dnsAsk) {
		d.out.Pending++
		if now-time.Duration(a.Last) >= d.timeout && d.errReceived == nil {
			d.asks = append(d.asks, *k)
		}
	})
	if err != nil {
		return err
	}
	for i := range d.asks {
		k := &d.asks[i]
		var a dnsAsk
		if err := m.Lookup(k, &a); err != nil || now-time.Duration(a.Last) < d.timeout {
			continue // answered meanwhile, or asked again
		}
		switch err := m.Delete(k); {
		case errors.Is(err, ebpf.ErrKeyNotExist):
			continue // answered meanwhile
		case err != nil:
			return fmt.Errorf("deleting from map dns_asks: %w", err)
		}
		d.out.Pending--
		d.out.Timeout = append(d.out.Timeout, dnsAskOf(k, &a))
		pair := dnsDnsPair{Server: k.Server}
		pair.Who.Tgid, pair.Who.Start = a.Who.Tgid, a.Who.Start
		d.late[pair]++
		for slot := range d.slots {
			if slot == 0 || a.Slots>>slot&1 != 0 {
				d.slots[slot]++
			}
		}
	}
	return nil
}

// rows copies the pairs, and deletes those that have done nothing for long.
func (d *DNS) rows(now time.Duration) error {
	m := d.obj.maps["dns_pairs"]
	have := 0
	err := readHash(m, func(k *dnsDnsPair, c *dnsDnsCounts) {
		have++
		row := DNSRow{DNSPair: dnsPairOf(k), DNSCounts: dnsCounts(c, d.late[*k])}
		for i, b := range c.Comm {
			row.Comm[i] = byte(b)
		}
		d.out.Rows = append(d.out.Rows, row)
		was := d.moved[*k]
		is := dnsMoved{queries: c.Queries, answers: c.Answers, late: row.Unanswered, tcp: c.Tcp, at: was.at}
		if is != (dnsMoved{was.queries, was.answers, was.late, was.tcp, was.at, false}) {
			is.at = now
		}
		is.seen = true
		d.moved[*k] = is
	})
	if err != nil {
		return err
	}
	idle := dnsIdle
	if have > dnsPairs*3/4 {
		idle = dnsIdleFull
	}
	d.stale = d.stale[:0]
	for k, is := range d.moved {
		switch {
		case !is.seen: // no row: it was never given one, or is gone
			delete(d.moved, k)
		case now-is.at >= max(idle, d.timeout):
			d.stale = append(d.stale, k)
		default:
			is.seen = false
			d.moved[k] = is
		}
	}
	for _, k := range d.stale {
		delete(d.moved, k)
		delete(d.late, k)
		if err := m.Delete(&k); err != nil && !errors.Is(err, ebpf.ErrKeyNotExist) {
			return fmt.Errorf("deleting from map dns_pairs: %w", err)
		}
	}
	// Those without a row are of the others.
	for k, n := range d.late {
		if _, ok := d.moved[k]; !ok {
			d.other += n
			delete(d.late, k)
		}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"
)

// busySince notes how busy the host was, if it was.
func (r row) busySince(p pressure) row {
	if busy := p.since(); busy != "" {
		r.note = strings.TrimPrefix(r.note+"; "+busy, "; ")
	}
	return r
}

// measured says that the header carries numbers: the load is one of them.
func measured(rows []string) bool { return complete(rows) && strings.Contains(rows[0], "load ") }

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// byteRows: what a frame of 200×50 costs the line: on the host as it is, with a load, and once the
// graphs are full.
func byteRows(o options) ([]row, error) {
	htop, err := find("htop")
	if err != nil {
		return nil, err
	}
	span := o.span / 2
	show := func(v []float64) string { return fmt.Sprintf("%.0f B", median(v)) }
	spread := func(v []float64) string {
		return fmt.Sprintf("p10 %.0f, max %.0f B, %.2f frames/s", quantile(v, 0.1), quantile(v, 1), float64(len(v))/span.Seconds())
	}
	peer, err := frameBytes("", 2*time.Second, span, htop, "-d", "10")
	if err != nil {
		return nil, err
	}
	var out []row
	for _, pane := range []struct{ key, name string }{{"1", "overview"}, {"2", "CPU"}} {
		begun := pressureNow()
		quiet, err := frameBytes(pane.key, 2*time.Second, span, o.path)
		if err != nil {
			return nil, err
		}
		out = append(out, row{
			what: "bytes a frame, 200×50, " + pane.name, ours: show(quiet), peer: show(peer),
			note: "beside htop; " + spread(quiet),
		}.below(median(quiet), 2000, "2 kB").busySince(begun))

		end := storming()
		loaded, err := frameBytes(pane.key, 2*time.Second, span, o.path)
		end()
		if err != nil {
			return nil, err
		}
		out = append(out, row{what: "  under a storm", ours: show(loaded), note: spread(loaded)}.
			below(median(loaded), 10_000, "10 kB"))

		// 200 columns of a sample each take 50 s at 250 ms.
		begun = pressureNow()
		full, err := frameBytes(pane.key, 50*time.Second, span, o.path, "--interval", "250ms")
		if err != nil {
			return nil, err
		}
		out = append(out, row{what: "  with full graphs", ours: show(full), note: spread(full)}.
			below(median(full), 10_000, "10 kB").busySince(begun))
	}
	return out, nil
}

// frameBytes is the length of each frame that a program draws in span, the first ones left out: they
// are whole screens.
func frameBytes(key string, before, span time.Duration, argv ...string) ([]float64, error) {
	p, err := play(200, 50, argv...)
	if err != nil {
		return nil, err
	}
	defer p.end()
	if err := p.settle(); err != nil {
		return nil, err
	}
	if err := p.press(key); err != nil {
		return nil, err
	}
	time.Sleep(before)
	p.counted()
	time.Sleep(span)
	return p.counted(), nil
}

// storming keeps storms going until it is told to stop.
func storming() (stop func()) {
	end, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-end:
				return
			default:
				_, _, _ = storm()
			}
		}
	}()
	return func() { close(end); <-ended }
}

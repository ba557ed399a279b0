// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"time"
)

// screenRows measures what somebody at the terminal feels, and what goes over the line.
func screenRows(o options) ([]row, error) {
	var rows []row
	for _, f := range []func(options) ([]row, error){startRows, byteRows} {
		got, err := f(o)
		if err != nil {
			return nil, err
		}
		rows = append(rows, got...)
	}
	return rows, nil
}

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

// startRows: from fork to the first whole frame, to the first with numbers, and until everything is
// attached.
func startRows(o options) ([]row, error) {
	htop, err := find("htop")
	if err != nil {
		return nil, err
	}
	begun := pressureNow()
	var frame, numbers, probes, peer []float64
	for range 2*o.rounds + 1 {
		p, err := play(80, 24, nil, o.path)
		if err != nil {
			return nil, err
		}
		at, err := p.until("the first frame", complete)
		then, err2 := p.until("the first numbers", measured)
		p.end()
		if err != nil {
			return nil, err
		}
		if err2 != nil {
			return nil, err2
		}
		frame = append(frame, ms(at.Sub(p.started)))
		numbers = append(numbers, ms(then.Sub(p.started)))

		h, err := play(80, 24, nil, htop)
		if err != nil {
			return nil, err
		}
		at, err = h.until("the first frame", complete)
		h.end()
		if err != nil {
			return nil, err
		}
		peer = append(peer, ms(at.Sub(h.started)))
	}
	for range o.rounds {
		p, err := play(80, 24, nil, o.path)
		if err != nil {
			return nil, err
		}
		probes = append(probes, ms(attaching(p)))
		p.end()
	}
	show := func(v []float64) string { return fmt.Sprintf("%.0f ms", median(v)) }
	spread := func(v []float64) string {
		return fmt.Sprintf("%.0f–%.0f ms, %d starts", quantile(v, 0), quantile(v, 1), len(v))
	}
	return []row{
		row{what: "first frame", ours: show(frame), peer: show(peer), note: "beside htop; " + spread(frame)}.
			below(median(frame), 100, "100 ms").busySince(begun),
		row{what: "first frame with numbers", ours: show(numbers), note: spread(numbers)}.
			below(median(numbers), 100, "100 ms").busySince(begun),
		row{what: "default probes attached", ours: show(probes), note: spread(probes)}.
			below(median(probes), 500, "500 ms").busySince(begun),
	}, nil
}

// attaching is how long after its start a program attached the last thing that it attaches.
func attaching(p *player) time.Duration {
	const (
		look = 3 * time.Millisecond
		long = 2500 * time.Millisecond
	)
	n, last := 0, p.started
	for time.Since(p.started) < long {
		if now := attached(p.pid()); now > n {
			n, last = now, time.Now()
		}
		time.Sleep(look)
	}
	return last.Sub(p.started)
}

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
	p, err := play(200, 50, nil, argv...)
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

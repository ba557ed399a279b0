// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"
)

const (
	// presses is how many keys a gesture takes at most: a thousand for the five of them, in half a minute.
	presses = 200
	// snapshots is how often S is pressed: each writes files.
	snapshots = 5
	// starts is how often the program is started for each key that ends it.
	starts = 20
	// frameTime is how often the program looks for something to draw: keys come at any moment of it.
	frameTime = 20 * time.Millisecond
)

// instantRows: how long keys take, on the host as it is and while it is in trouble. The terminal is
// read by real-time threads, as if it were on another machine.
func instantRows(o options) ([]row, error) {
	var rows []row
	for _, t := range troubles() {
		state, one, _ := strings.Cut(o.pair, "/")
		if !strings.Contains(t.name, state) {
			continue
		}
		begun := pressureNow()
		end, err := t.begin()
		if err != nil {
			rows = append(rows, row{what: "keys, " + t.name, ok: absent, note: "not measured: " + err.Error()})
			continue
		}
		got, err := instant(o, t, one)
		end()
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			why, _, _ := strings.Cut(err.Error(), "\n") // the screen stands below
			got = append(got, row{what: "keys, " + t.name, ok: missed, note: why})
		}
		if t.name == asItIs {
			for i := range got {
				got[i] = got[i].busySince(begun)
			}
		}
		rows = append(rows, got...)
	}
	return rows, nil
}

// keyBudget is what a key may take, ms, that asks for nothing but a screen.
const keyBudget = 50

// gesture is a key and what the screen shows then.
type gesture struct {
	name   string
	budget float64 // ms
	on     bool    // begins with the cursor on a finding
	setup  string  // typed before the first
	keys   []string
	seen   []func(before, now []string) bool // of each key
	away   string                            // typed after the last
}

func gestures() []gesture {
	tab := func(digit string) func(_, now []string) bool {
		return func(_, now []string) bool { return strings.Contains(now[0]+now[1], "["+digit) }
	}
	inside := func(_, now []string) bool { return !strings.Contains(now[0]+now[1], "[1") }
	again := func(_, now []string) bool { return strings.Contains(now[0]+now[1], "[1") && onFull(now) }
	// The line of time begins with the time that is shown. On a quiet host nothing else need differ.
	clock := func(rows []string) string { at, _, _ := strings.Cut(rows[len(rows)-2], " -"); return at }
	moved := func(before, now []string) bool { return clock(before) != clock(now) }
	filtered := func(by bool) func(_, now []string) bool {
		return func(_, now []string) bool {
			return strings.Contains(now[2], "/p") == by && strings.HasPrefix(now[len(now)-1], "/p") == by
		}
	}
	says := func(words string) func(_, now []string) bool {
		return func(_, now []string) bool { return strings.Contains(now[len(now)-1], words) }
	}
	return []gesture{
		{name: "digit", budget: keyBudget, keys: []string{"2", "1"}, seen: []func(_, _ []string) bool{tab("2"), tab("1")}},
		{name: "Enter and Esc", budget: keyBudget, setup: "1gg", keys: []string{"\r", "\x1b"}, seen: []func(_, _ []string) bool{inside, tab("1")}},
		{
			name: "step in time", budget: keyBudget, setup: "1 ", keys: []string{"\x1b[D", "\x1b[D", "\x1b[C", "\x1b[C"},
			seen: []func(_, _ []string) bool{moved, moved, moved, moved}, away: " ",
		},
		{
			name: "filter character", budget: keyBudget, setup: "3/", keys: []string{"p", "\x7f"},
			seen: []func(_, _ []string) bool{filtered(true), filtered(false)}, away: "\x1b1",
		},
		{name: "Enter on a finding, Esc to the same", budget: keyBudget, on: true, keys: []string{"\r", "\x1b"}, seen: []func(_, _ []string) bool{inside, again}},
		{name: "S", budget: 100, keys: []string{"S"}, seen: []func(_, _ []string) bool{says("sav")}, away: "\x1b"},
	}
}

// instant measures the first frame, every gesture and q, or what of them has one in its name.
func instant(o options, t trouble, one string) ([]row, error) {
	dir, err := os.MkdirTemp("", "bpf60-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	back, err := ahead()
	if err != nil {
		return nil, err
	}
	defer back()

	var rows []row
	if strings.Contains(endsName, one) {
		if rows, err = ends(o.path, t); err != nil {
			return nil, err
		}
	}
	empty, err := full()
	if err != nil {
		return nil, err
	}
	defer empty()
	p, err := start(dir, t.line(), 80, 24, o.path)
	if err != nil {
		return nil, err
	}
	defer p.end()
	if err := p.settle(); err != nil {
		return nil, err
	}
	if one != "" {
		time.Sleep(warmUp) // else the gestures before it make a past to step into
	}
	var all []float64
	for _, g := range gestures() {
		if !strings.Contains(g.name, one) {
			continue
		}
		took, err := p.make(g, t.span(o))
		if err != nil {
			return rows, fmt.Errorf("%s: %w", g.name, err)
		}
		if took == nil {
			rows = append(rows, row{what: "  " + g.name, ok: absent, note: "not measured: there is no finding " + fullID})
			continue
		}
		rows = append(rows, timed("  "+g.name, took, 0.99, g.budget))
		if g.budget == keyBudget {
			all = append(all, took...)
		}
	}
	if one == "" {
		rows = append(rows, timed("  all keys of 50 ms", all, 0.99, keyBudget))
	}
	return rows, nil
}

// endsName is what the measurement of starts and ends is chosen by.
const endsName = "ends"

// ends measures the first frame, and how long the program takes to give the terminal back.
func ends(path string, t trouble) ([]row, error) {
	var first []float64
	var rows []row
	for _, key := range []struct{ name, press string }{{"q", "q"}, {"^C", "\x03"}} {
		var back, ended []float64
		for range starts {
			p, err := start("", t.line(), 80, 24, path)
			if err != nil {
				return nil, err
			}
			at, err := p.until("the first frame", complete)
			if err != nil {
				p.end()
				return nil, err
			}
			first = append(first, p.begun().took(at))
			pressed := p.mark()
			_ = p.press(key.press)
			_, err = p.cmd.Process.Wait()
			ended = append(ended, ms(time.Since(pressed.at)))
			if err != nil {
				return nil, err
			}
			_, err = p.until("the end", func([]string) bool { return !p.left.IsZero() })
			if err != nil {
				return nil, err
			}
			back = append(back, pressed.took(p.left))
			p.master.Close()
		}
		r := timed("  "+key.name+", until the terminal is back", back, 0.99, 100)
		r.note += fmt.Sprintf("; while probes attach; the process ends after %.0f ms", median(ended))
		rows = append(rows, r)
	}
	return append([]row{timed("first frame, "+t.name, first, 0.5, t.first)}, rows...), nil
}

func timed(what string, took []float64, q, budget float64) row {
	return row{
		what: what, ours: fmt.Sprintf("%.1f ms", quantile(took, q)),
		note: fmt.Sprintf("p50 %.1f ms, max %.1f ms, n %d", median(took), quantile(took, 1), len(took)),
	}.below(quantile(took, q), budget, fmt.Sprintf("%.0f ms", budget))
}

// make makes a gesture until enough keys have been pressed, or the time is up, and returns how many
// milliseconds each took; none if what it begins on is not there.
func (p *player) make(g gesture, span time.Duration) ([]float64, error) {
	if g.on {
		if there, err := p.onFinding(); err != nil || !there {
			return nil, err
		}
	}
	if g.setup != "" {
		if err := p.press(g.setup); err != nil {
			return nil, err
		}
		time.Sleep(500 * time.Millisecond)
	}
	n := presses
	if g.name == "S" {
		n, span = snapshots, patience
	}
	var took []float64
	for begun := time.Now(); len(took) < n && time.Since(begun) < span; {
		for i, key := range g.keys {
			time.Sleep(rand.N(frameTime))
			p.mu.Lock()
			before := p.rows()
			p.mu.Unlock()
			pressed := p.mark()
			if err := p.press(key); err != nil {
				return nil, err
			}
			at, err := p.until(fmt.Sprintf("what %q does", key), func(now []string) bool { return g.seen[i](before, now) })
			if err != nil {
				return nil, err
			}
			took = append(took, pressed.took(at))
		}
		if g.name == "S" {
			time.Sleep(1200 * time.Millisecond) // names have the second
			if err := p.press("\x1b"); err != nil {
				return nil, err
			}
			time.Sleep(200 * time.Millisecond)
		}
	}
	return took, p.press(g.away)
}

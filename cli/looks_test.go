// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"io"
	"testing"
	"testing/synctest"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/google/go-cmp/cmp"
)

// resets are the times at which a ticker was set, since the test began.
type resets struct {
	began time.Time
	list  []setTo
}

type setTo struct{ at, to time.Duration }

func (r *resets) Reset(d time.Duration) { r.list = append(r.list, setTo{time.Since(r.began), d}) }

func TestLooks(t *testing.T) {
	const ms, often = time.Millisecond, time.Second / framesPerSecond
	tests := map[string]struct {
		views []time.Duration
		want  []setTo
	}{
		"none": {nil, nil},
		"one":  {[]time.Duration{100 * ms}, []setTo{{100 * ms, often}, {150 * ms, framePause}}},
		"a stream": { // a look is not put off by each
			[]time.Duration{100 * ms, 110 * ms, 120 * ms, 149 * ms, 190 * ms},
			[]setTo{{100 * ms, often}, {240 * ms, framePause}},
		},
		"two": {
			[]time.Duration{100 * ms, 151 * ms},
			[]setTo{{100 * ms, often}, {150 * ms, framePause}, {151 * ms, often}, {201 * ms, framePause}},
		},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := &resets{began: time.Now()}
				f := &looks{ticker: r}
				for _, at := range tt.views {
					time.Sleep(at - time.Since(r.began))
					f.drawn()
				}
				time.Sleep(time.Second)
				synctest.Wait()
				if diff := cmp.Diff(tt.want, r.list, cmp.AllowUnexported(setTo{})); diff != "" {
					t.Errorf("resets (-want +got):\n%s", diff)
				}
				f.drawn()
				f.end()
				f.drawn()
				n := len(r.list)
				time.Sleep(time.Second)
				if len(r.list) != n {
					t.Errorf("reset after the end: %v", r.list[n:])
				}
			})
		})
	}
}

// asksForTicker is a model that looks for the ticker of its program, and quits.
type asksForTicker struct {
	program **tea.Program
	found   *bool
}

func (m asksForTicker) Init() tea.Cmd {
	*m.found = tickerOf(*m.program) != nil
	return tea.Quit
}
func (m asksForTicker) Update(tea.Msg) (tea.Model, tea.Cmd) { return m, nil }
func (m asksForTicker) View() string                        { return "" }

// TestTickerOf finds what Bubble Tea keeps to itself, and nothing where there is no such renderer.
func TestTickerOf(t *testing.T) {
	for name, tt := range map[string]struct {
		options []tea.ProgramOption
		want    bool
	}{
		"standard":    {nil, true},
		"no renderer": {[]tea.ProgramOption{tea.WithoutRenderer()}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var p *tea.Program
			var found bool
			p = tea.NewProgram(asksForTicker{&p, &found}, append(tt.options, tea.WithInput(nil), tea.WithOutput(io.Discard), tea.WithoutSignalHandler())...)
			if _, err := p.Run(); err != nil {
				t.Fatal(err)
			}
			if found != tt.want {
				t.Errorf("found a ticker: %t, want %t", found, tt.want)
			}
		})
	}
}

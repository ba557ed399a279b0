// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	tea "github.com/charmbracelet/bubbletea"
	"github.com/google/go-cmp/cmp"
)

func TestLife(t *testing.T) {
	tests := map[string]struct {
		returns time.Duration // when the program returns, after the reason
		forced  bool
	}{
		"in time":  {quitGrace - 1, false},
		"too late": {quitGrace + 1, true},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLife()
				asked := 0
				var forced []ending
				l.ask = func() { asked++ }
				l.force = func(e ending) { forced = append(forced, e) }
				l.end(ending{code: 1, message: "first"})
				l.end(ending{code: 2, message: "second"})
				l.run(func() { panic("third") })
				time.Sleep(tt.returns)
				synctest.Wait()
				if asked != 1 {
					t.Errorf("asked %d times, want once", asked)
				}
				if tt.forced {
					if len(forced) != 1 || forced[0].message != "first" {
						t.Errorf("forced with %v, want the first reason once", forced)
					}
					return
				}
				e, ok := l.returned()
				if !ok || e.code != 1 {
					t.Errorf("returned = %v, %t, want the first reason", e, ok)
				}
				time.Sleep(time.Hour)
				if len(forced) > 0 {
					t.Errorf("forced with %v after it had returned", forced)
				}
			})
		})
	}
	t.Run("by itself", func(t *testing.T) {
		l := newLife()
		if e, ok := l.returned(); ok {
			t.Errorf("returned = %v, want no reason", e)
		}
	})
}

func TestPump(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		b := newBell()
		stalled := make(chan struct{})
		sent := 0
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			pump(ctx, b, fakeNews{}, func(tea.Msg) { sent++; <-stalled })
		}()
		for range 100 { // none of these waits for the screen
			b.ring()
			synctest.Wait()
		}
		if sent != 1 {
			t.Errorf("sent %d messages to a stalled screen, want 1", sent)
		}
		close(stalled)
		synctest.Wait()
		if sent != 2 {
			t.Errorf("sent %d messages in all, want 2: the one under way and one for the rest", sent)
		}
		cancel()
		<-ended
	})
}

func TestProgressLine(t *testing.T) {
	for _, tt := range []struct {
		gone, span time.Duration
		width      int
		utf8       bool
		want       string
	}{
		{0, time.Minute, 80, true, "measuring " + strings.Repeat("░", 30) + " 01:00 left, ctrl+c reports now"},
		{30 * time.Second, time.Minute, 80, false, "measuring " + strings.Repeat("#", 15) + strings.Repeat(".", 15) + " 00:30 left, ctrl+c reports now"},
		{59500 * time.Millisecond, time.Minute, 80, false, "measuring " + strings.Repeat("#", 29) + ". 00:01 left, ctrl+c reports now"},
		{2 * time.Minute, time.Minute, 80, false, "measuring " + strings.Repeat("#", 30) + " 00:00 left, ctrl+c reports now"},
		{0, 3 * time.Hour, 200, false, "measuring " + strings.Repeat(".", 30) + " 3:00:00 left, ctrl+c reports now"},
		{30 * time.Second, time.Minute, 50, false, "measuring ####.... 00:30 left, ctrl+c reports now"},
		{30 * time.Second, time.Minute, 40, false, "measuring #########......... 00:30 left"},
		{30 * time.Second, time.Minute, 27, false, "measuring ##... 00:30 left"},
		{30 * time.Second, time.Minute, 26, false, "measuring 00:30 left"},
		{30 * time.Second, time.Minute, 20, false, "00:30 left"},
		{30 * time.Second, time.Minute, 6, false, "00:30"},
		{30 * time.Second, time.Minute, 0, false, ""},
	} {
		if got := progressLine("measuring", "ctrl+c reports now", tt.gone, tt.span, tt.width, tt.utf8); got != tt.want {
			t.Errorf("progressLine(%v, %v, %d) = %q, want %q", tt.gone, tt.span, tt.width, got, tt.want)
		}
	}
	for width := range 100 {
		if got := len([]rune(progressLine("recording", "ctrl+c ends it", time.Second, time.Minute, width, true))); got >= max(width, 1) {
			t.Errorf("in %d columns the bar takes %d", width, got)
		}
	}
}

// The commands in batches and sequences are wrapped too, and other messages come through as they are.
func TestGuardWrapsLists(t *testing.T) {
	var crashes []ending
	g := newGuard(nil, func(e ending) { crashes = append(crashes, e) })
	boom := func() tea.Msg { panic("boom") }
	fine := func() tea.Msg { return "fine" }

	batch, ok := g.wrap(tea.Batch(boom, fine, nil))().(tea.BatchMsg)
	if !ok {
		t.Fatal("a batch is no batch any more")
	}
	var got []tea.Msg
	for _, cmd := range batch {
		got = append(got, cmd())
	}
	if d := cmp.Diff([]tea.Msg{nil, "fine"}, got); d != "" {
		t.Errorf("messages (-want +got):\n%s", d)
	}
	if len(crashes) != 1 || !strings.Contains(crashes[0].message, "boom") || crashes[0].code != exitInternal {
		t.Errorf("crashes = %v, want one", crashes)
	}
	for _, msg := range []tea.Msg{nil, "text", []int{1}, tea.QuitMsg{}} {
		if d := cmp.Diff(msg, g.wrapList(msg)); d != "" {
			t.Errorf("wrapList(%v) (-want +got):\n%s", msg, d)
		}
	}
	if g.wrap(nil) != nil {
		t.Error("no command became one")
	}
}

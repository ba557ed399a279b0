// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"context"

	tea "github.com/charmbracelet/bubbletea"
)

// bell wakes the pump. It has one slot: rung again before somebody listens it rings once, so that
// measuring never waits for the screen and a stalled screen gets the newest state, not a queue.
type bell chan struct{}

func newBell() bell { return make(bell, 1) }

func (b bell) ring() {
	select {
	case b <- struct{}{}:
	default:
	}
}

// pump tells the screen of news until ctx ends. It is the one caller of send, which blocks while
// the output is stalled.
func pump(ctx context.Context, b bell, news tea.Msg, send func(tea.Msg)) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-b:
			send(news)
		}
	}
}

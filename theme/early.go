// SPDX-License-Identifier: Apache-2.0

package theme

import "github.com/charmbracelet/lipgloss"

// init answers the question that Bubble Tea v1's own init would ask the terminal: whether its
// background is dark. The question is an OSC 11 query that a silent terminal lets run into a
// time-out of five seconds, also for `bpf60 version`, and a late answer arrives as key strokes.
//
// This works because Go initialises packages in the order of their import paths, and bpf60/theme
// sorts before github.com/charmbracelet/bubbletea. So this package must not import bubbletea, and
// the module must not be renamed past it. A test runs the binary on a silent pty.
func init() { //nolint:gochecknoinits // the one init of the tree: see above
	lipgloss.SetHasDarkBackground(true)
}

// SPDX-License-Identifier: Apache-2.0

// Package panes draws. It knows no kernel and no clock: a pane is a pure function of a frame,
// which is a window on the history, and of its own cursor.
package panes

// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestWrapKeepsUnits(t *testing.T) {
	text := strings.Repeat("x", reportWidth-3) + " 23 %."
	want := []string{strings.Repeat("x", reportWidth-3), "23 %."}
	if diff := cmp.Diff(want, wrapText("", text)); diff != "" {
		t.Errorf("wrapText (-want +got):\n%s", diff)
	}
}

func TestClipNameKeepsPID(t *testing.T) {
	for name, want := range map[string]string{
		"short[12]":                     "short[12]",
		"qemu-system-x86[116671]":       "qemu-system…[116671]",
		"a-name-of-nobody-there-at-all": "a-name-of-nobody-th…",
		"odd[bracket-in-a-name-so-odd":  "odd[bracket-in-a-na…",
	} {
		if got := clipName(name, 20); got != want {
			t.Errorf("clipName(%q) = %q, want %q", name, got, want)
		}
	}
}

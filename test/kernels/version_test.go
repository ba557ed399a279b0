// SPDX-License-Identifier: Apache-2.0

package main

import "testing"

func TestCompareVersions(t *testing.T) {
	tests := map[string]struct {
		a, b string
		want int
	}{
		"equal":                    {"6.1.192-2", "6.1.192-2", 0},
		"number, not text":         {"5.10.262-1", "5.10.99-1", 1},
		"revision":                 {"6.1.192-1", "6.1.192-2", -1},
		"no revision is 0":         {"6.1", "6.1-0", 0},
		"backport is older":        {"6.12.95-1~bpo12+1", "6.12.95-1", -1},
		"tilde before the end":     {"7.0~rc1", "7.0", -1},
		"tilde twice":              {"1~~", "1~", -1},
		"plus after the end":       {"7.3.4+deb13", "7.3.4", 1},
		"letter before other sign": {"1a", "1+", -1},
		"letters in order":         {"1.0a", "1.0b", -1},
		"leading zeros":            {"1.010", "1.10", 0},
		"epoch wins":               {"1:1.0", "2.0", 1},
		"epoch 0 is none":          {"0:2.0", "2.0", 0},
		"hyphen in upstream":       {"1-2-3", "1-10-1", -1},
		"longer":                   {"6.1.0", "6.1", 1},
		"empty":                    {"", "0", 0},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			if got := compareVersions(tt.a, tt.b); got != tt.want {
				t.Errorf("compareVersions(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
			}
			if got := compareVersions(tt.b, tt.a); got != -tt.want {
				t.Errorf("compareVersions(%q, %q) = %d, want %d", tt.b, tt.a, got, -tt.want)
			}
		})
	}
}

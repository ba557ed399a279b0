// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"strings"
)

// compareVersions orders two Debian versions as dpkg does: epoch, upstream version, revision.
// "~" sorts before everything, even the end: 6.1~rc1 is older than 6.1.
func compareVersions(a, b string) int {
	aEpoch, aRest := cutEpoch(a)
	bEpoch, bRest := cutEpoch(b)
	aUp, aRev := cutRevision(aRest)
	bUp, bRev := cutRevision(bRest)
	return cmp.Or(comparePart(aEpoch, bEpoch), comparePart(aUp, bUp), comparePart(aRev, bRev))
}

func cutEpoch(v string) (epoch, rest string) {
	if epoch, rest, ok := strings.Cut(v, ":"); ok {
		return epoch, rest
	}
	return "0", v
}

func cutRevision(v string) (upstream, revision string) {
	if i := strings.LastIndexByte(v, '-'); i >= 0 {
		return v[:i], v[i+1:]
	}
	return v, "0"
}

// comparePart compares runs of non-digits and runs of digits in turn.
func comparePart(a, b string) int {
	for a != "" || b != "" {
		for a != "" && !digit(a[0]) || b != "" && !digit(b[0]) {
			if c := cmp.Compare(weight(a), weight(b)); c != 0 {
				return c
			}
			a, b = a[1:], b[1:] // equal weights that are not a digit's: neither is at its end
		}
		var an, bn string
		an, a = cutDigits(a)
		bn, b = cutDigits(b)
		if c := cmp.Or(cmp.Compare(len(an), len(bn)), cmp.Compare(an, bn)); c != 0 {
			return c
		}
	}
	return 0
}

// weight of the first byte among non-digits: "~", then the end or a digit, letters, the rest.
func weight(s string) int {
	switch {
	case s == "" || digit(s[0]):
		return 0
	case s[0] == '~':
		return -1
	case s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z':
		return int(s[0])
	}
	return int(s[0]) + 256
}

// cutDigits cuts a number off the front, without its leading zeros.
func cutDigits(s string) (number, rest string) {
	n := 0
	for n < len(s) && digit(s[n]) {
		n++
	}
	return strings.TrimLeft(s[:n], "0"), s[n:]
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

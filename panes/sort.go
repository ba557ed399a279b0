// SPDX-License-Identifier: Apache-2.0

package panes

import "sort"

// sortBy sorts as slices.SortFunc does. That is compiled anew for each type, twelve functions each,
// which for our many rows is a tenth of the program; this is compiled once and as fast for thousands.
func sortBy[E any](s []E, compare func(a, b E) int) {
	sort.Slice(s, func(i, j int) bool { return compare(s[i], s[j]) < 0 })
}

// sortStably keeps the order of what is equal.
func sortStably[E any](s []E, compare func(a, b E) int) {
	sort.SliceStable(s, func(i, j int) bool { return compare(s[i], s[j]) < 0 })
}

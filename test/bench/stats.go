// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"slices"
)

// quantile is the q-th of values, between the two nearest; NaN of none.
func quantile(values []float64, q float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	v := slices.Sorted(slices.Values(values))
	at := q * float64(len(v)-1)
	low := int(at)
	high := min(low+1, len(v)-1)
	return v[low] + (v[high]-v[low])*(at-float64(low))
}

func median(values []float64) float64 { return quantile(values, 0.5) }

// differ is how far apart two measurements of the same thing are, as a part of them.
func differ(a, b float64) float64 { return math.Abs(a-b) / ((a + b) / 2) }

// paired are the differences b−a of rounds, so that what slows a whole round falls out.
func paired(a, b []float64) []float64 {
	var out []float64
	for i := range min(len(a), len(b)) {
		out = append(out, b[i]-a[i])
	}
	return out
}

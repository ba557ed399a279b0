// SPDX-License-Identifier: Apache-2.0

package triage

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Limit is a number that a rule compares with. A person may choose another one.
type Limit struct {
	Name        string // within its rule: "wait"; its full name is "cpu.saturated.wait"
	Default     float64
	Unit        string
	Least, Most float64 // what may be chosen, both included
	Says        string  // what is compared with it
}

// Range is what may be chosen, in words.
func (l *Limit) Range() string {
	return strings.TrimSpace(number(l.Least) + " to " + number(l.Most) + " " + l.Unit)
}

func number(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// Limits are the limits that somebody chose, by full name. The others have their defaults.
type Limits map[string]float64

// limit declares a limit of r and returns its value.
func (r *Rule) limit(chosen Limits, l Limit) float64 {
	r.Limits = append(r.Limits, l)
	if v, ok := chosen[r.ID+"."+l.Name]; ok {
		return v
	}
	return l.Default
}

// CheckLimit says why a limit cannot have that value: there is no such finding, it has no such
// limit, or the value is out of its range. The message names what is possible.
func CheckLimit(name string, value float64) error {
	var ids, names []string
	for _, r := range All(nil) {
		ids = append(ids, r.ID)
		own, ok := strings.CutPrefix(name, r.ID+".")
		if !ok {
			continue
		}
		for _, l := range r.Limits {
			if names = append(names, l.Name); l.Name != own {
				continue
			}
			if math.IsNaN(value) || value < l.Least || value > l.Most {
				return fmt.Errorf("%v is out of range: use %s", value, l.Range())
			}
			return nil
		}
		return fmt.Errorf("%s has no such limit: use %s", r.ID, strings.Join(names, ", "))
	}
	slices.Sort(ids)
	return fmt.Errorf("there is no such finding: use %s", strings.Join(ids, ", "))
}

// Markdown is the table of the findings in the README.
func Markdown() string {
	var b strings.Builder
	b.WriteString("| finding | says | limits and their defaults |\n|---|---|---|\n")
	for _, r := range All(nil) {
		var limits []string
		for _, l := range r.Limits {
			limits = append(limits, strings.TrimSpace(fmt.Sprintf("`%s` %s %s", l.Name, number(l.Default), l.Unit)))
		}
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", r.ID, r.Says, strings.Join(limits, ", "))
	}
	return b.String()
}

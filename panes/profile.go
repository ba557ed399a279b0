// SPDX-License-Identifier: Apache-2.0

package panes

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"

	pprof "github.com/google/pprof/profile"

	"bpf60/collectors"
)

// frameText is a frame as one word of a folded stack, where ; stands between two. The kernel's are marked
// as bcc's profile does.
func frameText(f collectors.ProfileFrame) string {
	text := strings.ReplaceAll(f.Name.String(), ";", ":")
	if f.Kernel {
		text += "_[k]"
	}
	return text
}

// Folded writes a profile as lines of command and frames, outermost first, and how often they were seen:
// what scripts for flame graphs take. The lines are sorted, so that two profiles can be compared.
func Folded(w io.Writer, p *collectors.Profile) error {
	count := make(map[string]uint64)
	var line []byte
	for i := range p.Stacks {
		s := &p.Stacks[i]
		line = append(line[:0], strings.ReplaceAll(s.Comm.String(), ";", ":")...)
		for _, f := range s.Frames {
			line = append(append(line, ';'), frameText(p.Frames[f])...)
		}
		count[string(line)] += s.Count
	}
	lines := make([]string, 0, len(count))
	for stack := range count {
		lines = append(lines, stack)
	}
	slices.Sort(lines)
	var b bytes.Buffer
	for _, stack := range lines {
		fmt.Fprintf(&b, "%s %d\n", stack, count[stack])
	}
	_, err := w.Write(b.Bytes())
	return err
}

// Pprof writes a profile as go tool pprof reads it: a gzip'd profile.proto.
func Pprof(w io.Writer, p *collectors.Profile) error {
	period := int64(1e9) / int64(max(p.Hz, 1))
	cpu := &pprof.ValueType{Type: "cpu", Unit: "nanoseconds"}
	out := &pprof.Profile{
		SampleType:        []*pprof.ValueType{{Type: "samples", Unit: "count"}, cpu},
		DefaultSampleType: cpu.Type, PeriodType: cpu, Period: period,
		TimeNanos: p.Started.UnixNano(), DurationNanos: p.Took.Nanoseconds(),
		Comments: []string{ProfileSummary(p)},
	}
	for i, f := range p.Frames {
		fn := &pprof.Function{ID: uint64(i) + 1, Name: f.Name.String(), SystemName: f.Name.String(), Filename: f.Module.String()}
		out.Function = append(out.Function, fn)
		out.Location = append(out.Location, &pprof.Location{ID: fn.ID, Line: []pprof.Line{{Function: fn}}})
	}
	for i := range p.Stacks {
		s := &p.Stacks[i]
		sample := &pprof.Sample{
			Value:    []int64{int64(s.Count), int64(s.Count) * period},
			Label:    map[string][]string{"comm": {s.Comm.String()}},
			NumLabel: map[string][]int64{"pid": {int64(s.Process.TGID)}},
		}
		for _, f := range slices.Backward(s.Frames) {
			sample.Location = append(sample.Location, out.Location[f])
		}
		out.Sample = append(out.Sample, sample)
	}
	if err := out.CheckValid(); err != nil {
		return fmt.Errorf("making the profile: %w", err)
	}
	return out.Write(w)
}

// ProfileSummary says in one line how good a profile is and what it cost.
func ProfileSummary(p *collectors.Profile) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s in %.1f s at %d Hz on %s, %d lost; %s", several(p.Samples, "sample"), p.Took.Seconds(), p.Hz, several(uint64(p.CPUs), "CPU"), p.Lost, several(uint64(p.Processes), "process"))
	if p.Gone > 0 {
		fmt.Fprintf(&b, ", %d ended before their maps were read", p.Gone)
	}
	if p.TooMany != nil {
		b.WriteString(", some cgroups left out")
	}
	fmt.Fprintf(&b, "; %.0f%% of frames unknown", 100*portion(p.Unnamed, p.Named+p.Unnamed))
	seconds := max(p.Took.Seconds(), 1e-3)
	fmt.Fprintf(&b, "; own cost %.1f%% of a CPU and %s, sampling ~%.2f%%", 100*p.OwnCPU.Seconds()/seconds, several(p.Own, "sample"), 100*p.OwnBPF.Seconds()/seconds)
	return b.String()
}

// portion is a part of a whole, 0 of nothing.
func portion(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// several is a count with its noun.
func several(n uint64, noun string) string {
	switch {
	case n == 1:
		return "1 " + noun
	case strings.HasSuffix(noun, "s"):
		return fmt.Sprintf("%d %ses", n, noun)
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

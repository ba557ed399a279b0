// SPDX-License-Identifier: Apache-2.0

package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"bpf60/collectors"
)

// doctorWait bounds how long doctor waits for probes to attach. The budget of all of them is
// 500 ms on a well host; an emulated one takes most of a minute.
const doctorWait = 100 * time.Second

// doctorInterval leaves a slow host time to attach probes between two measurements.
const doctorInterval = 500 * time.Millisecond

// doctorLook is how long doctor counts events once all probes have settled, and doctorPatience how long it
// looks for one that does not answer for the moment, as on a host that is out of breath.
const (
	doctorLook     = time.Second
	doctorPatience = 10 * time.Second
)

// Fact is one thing about the host that decides what can be measured.
type Fact struct {
	Name   string `json:"name"`   // "kernel BTF"
	Value  string `json:"value"`  // "present"
	Remedy string `json:"remedy"` // what would make more possible; empty when nothing is missing
}

// diagnosis is the JSON of doctor, schema bpf60.doctor/1; fields are only added.
type diagnosis struct {
	Schema  string        `json:"schema"`
	Version string        `json:"version"`
	Probes  []doctorProbe `json:"probes"`
	Facts   []Fact        `json:"facts"`
}

type doctorProbe struct {
	Name   string           `json:"name"`
	State  collectors.State `json:"state"`
	Hook   string           `json:"hook"`
	Reason string           `json:"reason"`
	Remedy string           `json:"remedy"`

	EventsPerSecond float64 `json:"events_per_second"` // over the second that doctor looks
	NsPerEvent      float64 `json:"ns_per_event"`      // as measured once elsewhere; 0: part of our own CPU time
	CPUPercent      float64 `json:"cpu_percent"`       // of one CPU: the product of the two
	Lost            uint64  `json:"lost"`
}

func (c *commands) doctor() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "say probe by probe what works here, how, and what would make the rest work",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			o, err := c.options(cmd)
			if err != nil {
				return err
			}
			o.Wide, o.Interval = true, doctorInterval
			d, err := c.diagnose(o)
			if err != nil {
				return err
			}
			write := writeDiagnosis
			if asJSON {
				write = writeDiagnosisJSON
			}
			return readerLeft(write(cmd.OutOrStdout(), d))
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	return cmd
}

// diagnose runs a session until every probe has settled.
func (c *commands) diagnose(o options) (diagnosis, error) {
	for _, w := range o.Warnings {
		c.complain("%s", w)
	}
	d := diagnosis{Schema: "bpf60.doctor/1", Version: c.version}
	s, err := c.parts.open(o)
	if err != nil {
		return d, err
	}
	defer c.tellCrashes(s)
	ctx, cancel := context.WithTimeout(context.Background(), doctorWait)
	defer cancel()
	stop, got := endBySignal(cancel)
	defer stop()
	var first, last []collectors.Probe
	var begun time.Time
	var span time.Duration
	err = s.Run(ctx, func() {
		if ctx.Err() != nil {
			return // closing probes are no diagnosis
		}
		last = s.Probes()
		switch {
		case !begun.IsZero():
			span = time.Since(begun)
			if span >= doctorLook && !slices.ContainsFunc(last, collectors.Probe.Silent) {
				cancel()
			}
		case settled(last):
			first, begun = last, time.Now()
			time.AfterFunc(doctorPatience, cancel)
		}
	})
	if sig := got(); sig != nil {
		c.code = bySignal(sig).code
	}
	if err != nil && ctx.Err() == nil {
		return d, err
	}
	if err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded) {
		c.complain("%v", err)
	}
	d.Probes = counted(first, last, span)
	d.Facts = c.parts.facts()
	return d, nil
}

// counted are the probes with what they counted between two looks.
func counted(first, last []collectors.Probe, span time.Duration) []doctorProbe {
	before := make(map[string]uint64)
	for _, p := range first {
		before[p.Name] = p.Events
	}
	var out []doctorProbe
	for _, p := range last {
		d := doctorProbe{Name: p.Name, State: p.State, Hook: p.Hook, Reason: p.Reason, Remedy: p.Remedy, NsPerEvent: p.NsPerEvent, Lost: p.Lost}
		if n := before[p.Name]; span > 0 && p.Events >= n { // else it was attached anew
			d.EventsPerSecond = float64(p.Events-n) / span.Seconds()
			d.CPUPercent = d.EventsPerSecond * d.NsPerEvent / 1e7
		}
		out = append(out, d)
	}
	return out
}

// settled says that no probe is still on its way.
func settled(probes []collectors.Probe) bool {
	for _, p := range probes {
		if p.State == collectors.Warming {
			return false
		}
	}
	return len(probes) > 0
}

func writeDiagnosisJSON(w io.Writer, d diagnosis) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(d)
}

// writeDiagnosis prints a line for each probe and fact; a reason and a remedy follow on lines of
// their own, because they are sentences.
func writeDiagnosis(w io.Writer, d diagnosis) error {
	var b strings.Builder
	safe := func(s string) string { return collectors.Clean(collectors.RawString(s)).String() }
	why := func(reason, remedy string) {
		if reason != "" {
			fmt.Fprintf(&b, "    %s\n", safe(reason))
		}
		if remedy != "" {
			fmt.Fprintf(&b, "    remedy: %s\n", safe(remedy))
		}
	}
	wide := len("PROBE")
	for _, p := range d.Probes {
		wide = max(wide, len(p.Name))
	}
	fmt.Fprintf(&b, "%-*s  %-8s  %8s  %8s  %5s  %4s  %s\n", wide, "PROBE", "STATE", "EVENTS/S", "NS/EVENT", "CPU%", "LOST", "HOOK")
	for _, p := range d.Probes {
		rate, ns, cost := "-", "-", "-"
		if p.EventsPerSecond > 0 || p.NsPerEvent > 0 {
			rate = fmt.Sprintf("%.0f", p.EventsPerSecond)
		}
		if p.NsPerEvent > 0 {
			ns, cost = fmt.Sprintf("%.0f", p.NsPerEvent), fmt.Sprintf("%.2f", p.CPUPercent)
		}
		fmt.Fprintf(&b, "%-*s  %-8s  %8s  %8s  %5s  %4d  %s\n", wide, safe(p.Name), p.State, rate, ns, cost, p.Lost, cmp.Or(safe(p.Hook), "-"))
		why(p.Reason, p.Remedy)
	}
	wide = len("HOST")
	for _, f := range d.Facts {
		wide = max(wide, len(f.Name))
	}
	fmt.Fprintf(&b, "\n%-*s  %s\n", wide, "HOST", "VALUE")
	for _, f := range d.Facts {
		fmt.Fprintf(&b, "%-*s  %s\n", wide, safe(f.Name), safe(f.Value))
		why("", f.Remedy)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
